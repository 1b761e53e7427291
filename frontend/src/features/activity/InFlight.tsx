import { Button, Card, Group, Stack, Text } from "@mantine/core";
import { useCancelRequest } from "../../api/actions";
import type { RequestRecord } from "../../api/types";
import { Elapsed } from "../../components/Elapsed";
import { EmptyState } from "../../components/EmptyState";
import { Icon } from "../../components/Icon";
import { useText } from "../../i18n";
import { duration } from "../../lib/format";

export function InFlight({ records }: { records: RequestRecord[] }) {
  const { t, language } = useText();
  const { mutate, isPending, variables } = useCancelRequest();
  if (records.length === 0)
    return (
      <Card padding="md">
        <EmptyState
          compact
          icon="activity"
          title={t("activity.nothingRunning")}
          body={t("activity.nothingRunningBody")}
        />
      </Card>
    );
  return (
    <Stack gap="xs">
      {records.map((record) => (
        <Card key={`${record.request_id} ${record.started_at}`} padding="sm">
          <Group justify="space-between" gap="sm">
            <div style={{ flex: "1 1 240px", minWidth: 0 }}>
              <Text size="sm">
                <b>{record.model}</b> · {record.route} · <Elapsed since={record.started_at} />
                {record.first_token_seconds !== null &&
                  ` · ${t("activity.ttft")} ${duration(record.first_token_seconds, language)}`}
              </Text>
              <Text size="xs" c="dimmed" className="mono break">
                {record.request_id} · {record.key}
              </Text>
            </div>
            <Button
              size="xs"
              variant="default"
              leftSection={<Icon name="stop" size={14} />}
              loading={isPending && variables === record.request_id}
              onClick={() => mutate(record.request_id)}
              aria-label={t("activity.stop", { id: record.request_id })}
            >
              {t("common.cancel")}
            </Button>
          </Group>
        </Card>
      ))}
    </Stack>
  );
}
