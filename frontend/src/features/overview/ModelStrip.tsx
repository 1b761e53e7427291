import { Card, Group, Text } from "@mantine/core";
import { Link } from "@tanstack/react-router";
import type { Model } from "../../api/types";
import { Elapsed } from "../../components/Elapsed";
import { Icon } from "../../components/Icon";
import { StateBadge } from "../../components/StateBadge";
import { useText } from "../../i18n";
import { percent } from "../../lib/format";

export function ModelStrip({ models }: { models: Model[] }) {
  const { t } = useText();
  return (
    <div className="grid-strip">
      {models.map((model) => (
        <Card key={model.key} padding="md" component={Link} to="/models" className="link-card">
          <Group justify="space-between" wrap="nowrap" mb={6}>
            <Text fw={650}>{model.key}</Text>
            <StateBadge state={model.state} />
          </Group>
          <Text size="sm" c="dimmed">
            {t(`common.kind.${model.kind}`)}
          </Text>
          <Group gap={6} mt={6} c="dimmed">
            <Icon name="activity" size={14} />
            <Text size="xs">
              <Doing model={model} />
            </Text>
          </Group>
        </Card>
      ))}
    </div>
  );
}

/** How far it is while something is under way, else what it has to do. */
function Doing({ model }: { model: Model }) {
  const { t, language } = useText();
  const { progress } = model.runtime;
  if (!progress) return t("overview.running", { running: model.in_flight, queued: model.queued });
  const since = model.replicas.find((replica) => replica.loading_since !== null)?.loading_since;
  return (
    <>
      {t(`models.phase.${progress.phase}`)}
      {progress.percent !== null && ` · ${percent(progress.percent, language)}`}
      {since != null && (
        <>
          {" · "}
          <Elapsed since={since} />
        </>
      )}
    </>
  );
}
