import { Card, Collapse, Group, Stack, Text, Title, Tooltip, UnstyledButton } from "@mantine/core";
import { useState } from "react";
import type { Gpu, Model } from "../../api/types";
import { Remaining } from "../../components/Elapsed";
import { Icon } from "../../components/Icon";
import { StateBadge } from "../../components/StateBadge";
import { useText } from "../../i18n";
import { bytes } from "../../lib/format";
import { memoryOf } from "../../lib/gpu";
import { Actions } from "./Actions";
import { FailurePanel } from "./FailurePanel";
import { FilesLine } from "./FilesLine";
import { ModelTabs } from "./ModelTabs";
import { ProgressPanel } from "./ProgressPanel";
import { ReceiptLine } from "./ReceiptLine";

const WORKING = new Set(["downloading", "loading", "restarting"]);

export function ModelCard({ model, gpus }: { model: Model; gpus: Gpu[] }) {
  const { t } = useText();
  const [open, setOpen] = useState(false);
  const failure =
    model.runtime.last_error ?? model.replicas.find((replica) => replica.failure)?.failure ?? null;
  const failed =
    /failed|restarting/.test(model.state) || model.replicas.some(({ state }) => state === "failed");
  return (
    <Card data-model={model.key} component="article" aria-labelledby={`model-${model.key}`}>
      <Stack gap="md">
        <Group justify="space-between" align="flex-start" gap="md">
          <div style={{ flex: "1 1 260px", minWidth: 0 }}>
            <Group gap="sm" mb={4}>
              <Title order={2} size="h3" id={`model-${model.key}`}>
                {model.key}
              </Title>
              <StateBadge state={model.state} />
              {model.demo && <span className="tag">{t("common.demo")}</span>}
              {model.pinned && (
                <Tooltip label={t("models.pinnedHint")}>
                  <span className="tag">{t("models.pinned")}</span>
                </Tooltip>
              )}
            </Group>
            <Text size="sm" c="dimmed" className="break">
              {t(`common.kind.${model.kind}`)} · {model.source}
            </Text>
            <Facts model={model} />
            {model.waiting.length > 0 && (
              <Text size="sm" c="var(--warn)" mt={6} className="break">
                {t("models.waiting", { names: model.waiting.join(", ") })}
              </Text>
            )}
            <Replicas model={model} />
          </div>
          <Actions model={model} gpus={gpus} />
        </Group>
        {WORKING.has(model.state) && <ProgressPanel model={model} />}
        {model.receipt && (model.state === "idle" || model.state === "absent") && (
          <ReceiptLine receipt={model.receipt} />
        )}
        <FilesLine model={model} />
        {failure && failed && <FailurePanel model={model} failure={failure} />}
        <div>
          <UnstyledButton
            className="more"
            onClick={() => setOpen(!open)}
            aria-expanded={open}
            aria-label={t("models.more", { model: model.key })}
          >
            <Icon name={open ? "up" : "down"} size={16} />
            <Text size="sm" fw={550}>
              {[t("models.tabs.details"), t("models.tabs.log"), t("models.tabs.endpoints")].join(
                " · ",
              )}
            </Text>
          </UnstyledButton>
          <Collapse expanded={open}>{open && <ModelTabs model={model} />}</Collapse>
        </div>
      </Stack>
    </Card>
  );
}

function Facts({ model }: { model: Model }) {
  const { t, language } = useText();
  if (model.replicas.length === 0) return null;
  const memory = memoryOf(model);
  const gpus = [...new Set(model.replicas.flatMap((replica) => replica.gpu_ids))].sort(
    (one, other) => one - other,
  );
  const restarts = model.replicas.reduce((sum, replica) => sum + replica.restarts, 0);
  const facts = [
    t("models.replicas", { count: model.replicas.length }),
    gpus.length > 0 ? t("models.onGpus", { ids: gpus.join(", ") }) : t("models.onCpu"),
    ...(memory === null ? [] : [t("models.memory", { size: bytes(memory, language) })]),
    t("models.inFlight", { running: model.in_flight, queued: model.queued }),
    ...(restarts > 0 ? [t("models.restarts", { count: restarts })] : []),
  ];
  return (
    <>
      <Text size="sm" mt={6}>
        {facts.join(" · ")}
      </Text>
      {model.idle_unload_at !== null && (
        <Text size="sm" c="dimmed" mt={2} data-testid="idle">
          {t("models.idleUnload")} <Remaining at={model.idle_unload_at} />
        </Text>
      )}
    </>
  );
}

/** Where there are several, each with its state and place. */
function Replicas({ model }: { model: Model }) {
  const { t } = useText();
  if (model.replicas.length < 2) return null;
  return (
    <ul className="replicas" aria-label={t("models.detail.replicas")}>
      {model.replicas.map(({ name, state, gpu_ids, in_flight }) => (
        <li key={name}>
          <b>{name}</b>
          {gpu_ids.length > 0 && <span>GPU {gpu_ids.join(", ")}</span>}
          {in_flight > 0 && <span>{t("models.busy", { count: in_flight })}</span>}
          <StateBadge state={state} />
        </li>
      ))}
    </ul>
  );
}
