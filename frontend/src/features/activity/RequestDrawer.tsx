import { ActionIcon, Drawer, Group, Stack, Text, Tooltip } from "@mantine/core";
import type { RequestRecord } from "../../api/types";
import { CodeWell } from "../../components/Code";
import { CopyButton } from "../../components/CopyButton";
import { Facts } from "../../components/Facts";
import { Icon } from "../../components/Icon";
import { useText } from "../../i18n";
import { dateTime, duration, number } from "../../lib/format";
import { OutcomeBadge } from "./OutcomeBadge";
import { tokensText } from "./tokens";

interface Props {
  record: RequestRecord | null;
  onClose: () => void;
  onStep: (step: 1 | -1) => void;
}

export function RequestDrawer({ record, onClose, onStep }: Props) {
  const { t } = useText();
  const opened = record !== null;

  return (
    <Drawer
      opened={opened}
      onClose={onClose}
      position="right"
      size="lg"
      title={t("activity.detail")}
      closeButtonProps={{ "aria-label": t("common.close") }}
    >
      {record && (
        <Stack>
          <Group justify="space-between">
            <OutcomeBadge record={record} />
            <Group gap={4}>
              {([-1, 1] as const).map((step) => {
                const label = t(step === 1 ? "activity.next" : "activity.previous");
                return (
                  <Tooltip key={step} label={label}>
                    <ActionIcon variant="default" aria-label={label} onClick={() => onStep(step)}>
                      <Icon name={step === 1 ? "down" : "up"} size={16} />
                    </ActionIcon>
                  </Tooltip>
                );
              })}
            </Group>
          </Group>
          <Group gap={4} wrap="nowrap">
            <Text className="mono break">{record.request_id}</Text>
            <CopyButton value={record.request_id} what={record.request_id} />
          </Group>
          <Body record={record} />
        </Stack>
      )}
    </Drawer>
  );
}

function Body({ record }: { record: RequestRecord }) {
  const { t, language } = useText();
  const seconds = (value: number | null) => (value === null ? "–" : duration(value, language));
  const answering = record.seconds - (record.first_token_seconds ?? 0);
  const speed =
    record.completion_tokens && record.stream && answering > 0
      ? record.completion_tokens / answering
      : null;
  const rows: [string, string][] = [
    [t("activity.model"), record.model],
    [t("activity.route"), record.route],
    [t("activity.status"), String(record.status ?? "–")],
    [t("activity.key"), record.key],
    [t("activity.time"), dateTime(record.started_at, language)],
    [t("activity.streamed"), t(record.stream ? "activity.yes" : "activity.no")],
    [t("activity.ttft"), seconds(record.first_token_seconds)],
    [t("activity.total"), seconds(record.seconds)],
    [
      t("activity.tokens"),
      `${tokensText(record, language)}${record.approximate ? ` (${t("activity.approximate")})` : ""}`,
    ],
  ];
  if (speed)
    rows.push([t("activity.rate"), t("activity.rateValue", { value: number(speed, language, 1) })]);
  if (record.audio_seconds !== null)
    rows.push([t("activity.audio"), seconds(record.audio_seconds)]);
  if (record.cancelled_by)
    rows.push([t("activity.cancelledBy"), t(`activity.by.${record.cancelled_by}`)]);
  return (
    <>
      <Facts rows={rows} />
      {record.error && <CodeWell label={t("activity.error")} text={record.error} wrap />}
      {record.content ? (
        Object.entries(record.content).map(([name, text]) => (
          <div key={name}>
            <Text size="sm" fw={600} mb={4}>
              {name}
            </Text>
            <CodeWell label={name} text={text} wrap />
          </div>
        ))
      ) : (
        <Text size="xs" c="dimmed">
          {t("activity.noContent")}
        </Text>
      )}
    </>
  );
}
