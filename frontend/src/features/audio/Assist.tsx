import { Button, Card, Group, Select, Stack, Text, Title } from "@mantine/core";
import { useState } from "react";
import { useServed } from "../../api/queries";
import { ErrorState } from "../../components/ErrorState";
import { Icon } from "../../components/Icon";
import { useText } from "../../i18n";
import type { Segment } from "../../lib/transcript";
import { languageName, SPOKEN } from "./languages";
import { Suggestions } from "./Suggestions";
import { useAssist } from "./useAssist";

interface Props {
  segments: Segment[];
  speakers: { id: string }[];
  nameOf: (id: string) => string;
  onNames: (names: Record<string, string>) => void;
  onTranslations: (lines: Record<number, string>) => void;
}

/** Absent where no chat model is served. */
export function Assist({ segments, speakers, nameOf, onNames, onTranslations }: Props) {
  const { t, language } = useText();
  const model = useServed().data?.find(({ kind }) => kind === "chat")?.id ?? null;
  const [target, setTarget] = useState<string>(language === "fr" ? "fr" : "en");
  const assist = useAssist(model ?? "", segments);
  if (model === null) return null;
  const ids = speakers.map(({ id }) => id);
  return (
    <Card component="section" aria-labelledby="assist" padding="md">
      <Title order={2} size="h5" id="assist">
        {t("audio.assist.title")}
      </Title>
      <Text size="xs" c="dimmed" mb="sm">
        {t("audio.assist.hint")}
      </Text>
      <Stack gap="sm">
        {ids.length > 0 && (
          <Button
            size="sm"
            variant="default"
            leftSection={<Icon name="user" size={15} />}
            loading={assist.busy === "roles"}
            disabled={assist.busy !== null}
            onClick={() => void assist.roles(ids, languageName(language, "en"))}
          >
            {t("audio.assist.roles")}
          </Button>
        )}
        {assist.suggested && (
          <Suggestions
            suggested={assist.suggested}
            nameOf={nameOf}
            onApply={(names) => {
              onNames(names);
              assist.dismiss();
            }}
            onDismiss={assist.dismiss}
          />
        )}
        <Group gap="xs" align="flex-end" wrap="nowrap">
          <Select
            size="xs"
            style={{ flex: 1 }}
            label={t("audio.assist.translate")}
            data={SPOKEN.map((code) => ({ value: code, label: languageName(code, language) }))}
            value={target}
            allowDeselect={false}
            searchable
            onChange={(code) => setTarget(code ?? target)}
          />
          {assist.busy === "translate" ? (
            <Button size="xs" variant="default" onClick={assist.stop}>
              {t("audio.assist.stop")} ({t("audio.assist.progress", assist.progress)})
            </Button>
          ) : (
            <Button
              size="xs"
              variant="default"
              disabled={assist.busy !== null}
              onClick={() => void assist.translate(languageName(target, "en"), onTranslations)}
            >
              {t("audio.assist.go")}
            </Button>
          )}
        </Group>
        {assist.unusable && (
          <Text size="sm" c="var(--warn)" role="status">
            {t("audio.assist.unusable")}
          </Text>
        )}
        {assist.error !== null && <ErrorState error={assist.error} />}
      </Stack>
    </Card>
  );
}
