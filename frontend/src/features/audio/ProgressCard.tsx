import { Button, Card, Group, Text, Title } from "@mantine/core";
import type { Stage } from "../../api/audio";
import type { ServedModel } from "../../api/types";
import { Stopwatch } from "../../components/Elapsed";
import { Icon } from "../../components/Icon";
import { ProgressBar } from "../../components/ProgressBar";
import { StateBadge } from "../../components/StateBadge";
import { useText } from "../../i18n";
import { bytes } from "../../lib/format";
import type { Work } from "./useTranscription";

const STAGES: Stage["name"][] = ["upload", "listen", "speakers"];
const SHOWN_CHARACTERS = 600;

interface Props {
  work: Work;
  served: ServedModel[];
  onStop: () => void;
}

/** Where the recording stands: counted while it is sent, later by what was understood. */
export function ProgressCard({ work, served, onStop }: Props) {
  const { t, language } = useText();
  const { stage } = work;
  const awaited = served.filter(
    ({ id, root, kind, state }) =>
      state !== "ready" &&
      (id === work.model || (work.diarize && kind === "diarization" && id === root)),
  );
  const stages = work.diarize ? STAGES : STAGES.slice(0, 2);
  const at = stages.indexOf(stage.name);
  const percent =
    stage.name === "upload" && stage.total > 0 ? (stage.done / stage.total) * 100 : null;
  const text = stage.name === "upload" ? "" : stage.text;
  const words = text.split(/\s+/).filter(Boolean).length;
  return (
    <Card data-testid="stages">
      <Group justify="space-between" mb="sm">
        <Title order={2} size="h4">
          {t("audio.stage.title")}
        </Title>
        <Button variant="default" leftSection={<Icon name="close" size={16} />} onClick={onStop}>
          {t("common.cancel")}
        </Button>
      </Group>
      <ol className="phases">
        {stages.map((name, index) => (
          <li
            key={name}
            data-done={index < at}
            aria-current={name === stage.name ? "step" : undefined}
          >
            {index < at && <Icon name="check" size={13} />}
            {t(`audio.stage.${name}`)}
          </li>
        ))}
      </ol>
      <ProgressBar percent={percent} label={t(`audio.stage.${stage.name}`)} />
      <Group justify="space-between">
        <Text size="sm">
          {stage.name === "upload"
            ? t("audio.stage.uploaded", {
                done: bytes(stage.done, language),
                total: bytes(stage.total, language),
              })
            : words > 0
              ? t("audio.stage.words", { count: words })
              : t(awaited.length > 0 ? "audio.stage.loads" : "audio.stage.works")}
        </Text>
        <Text size="sm" c="dimmed">
          <Stopwatch since={work.since} />
        </Text>
      </Group>
      {stage.name !== "upload" && awaited.length > 0 && (
        <Group gap="md" mt="sm">
          {awaited.map(({ id, state }) => (
            <Group key={id} gap={6}>
              <Text size="sm" fw={600}>
                {id}
              </Text>
              <StateBadge state={state} />
            </Group>
          ))}
        </Group>
      )}
      {text && (
        <Text mt="md" c="dimmed" className="break">
          {text.length > SHOWN_CHARACTERS ? `… ${text.slice(-SHOWN_CHARACTERS)}` : text}
        </Text>
      )}
    </Card>
  );
}
