import { Card, Group, Select, Stack, TextInput, Title } from "@mantine/core";
import { useDebouncedValue } from "@mantine/hooks";
import { useState } from "react";
import { type RequestFilter, useRequests } from "../../api/queries";
import type { Model, RequestRecord } from "../../api/types";
import { EmptyState } from "../../components/EmptyState";
import { ErrorState } from "../../components/ErrorState";
import { useText } from "../../i18n";
import { History } from "./History";
import { InFlight } from "./InFlight";
import { RequestDrawer } from "./RequestDrawer";
import { useRowKeys } from "./useRowKeys";

const LIMIT = 200;
const OUTCOMES = ["completed", "failed", "cancelled", "rejected"] as const;
type Outcome = (typeof OUTCOMES)[number];

export function RequestsPanel({ models }: { models: Model[] }) {
  const { t } = useText();
  const [model, setModel] = useState<string | null>(null);
  const [outcome, setOutcome] = useState<Outcome | null>(null);
  const [search, setSearch] = useState("");
  const [wanted] = useDebouncedValue(search.trim(), 300);
  const [open, setOpen] = useState<string | null>(null);
  const filter: RequestFilter = {
    ...(model ? { model } : {}),
    ...(outcome ? { outcome } : {}),
    ...(wanted ? { request_id: wanted } : {}),
  };
  const { data, error, refetch } = useRequests(filter, LIMIT);
  const recent = data?.recent ?? [];
  const filtered = Object.keys(filter).length > 0;
  const at = recent.findIndex((record) => rowId(record) === open);
  const step = (by: 1 | -1) => {
    const next = recent[at + by];
    if (next) setOpen(rowId(next));
  };
  useRowKeys(step);
  if (error && !data) return <ErrorState error={error} onRetry={() => void refetch()} />;

  return (
    <Stack gap="xl">
      <section aria-labelledby="in-flight">
        <Title order={2} size="h4" id="in-flight" mb="sm">
          {t("activity.inFlight")}
        </Title>
        <InFlight records={data?.in_flight ?? []} />
      </section>
      <section aria-labelledby="history">
        <Group justify="space-between" mb="sm" gap="sm">
          <Title order={2} size="h4" id="history">
            {t("activity.history")}
          </Title>
          <Group gap="xs">
            <TextInput
              size="xs"
              style={{ flex: "1 1 150px" }}
              placeholder={t("activity.search")}
              aria-label={t("activity.search")}
              value={search}
              onChange={(event) => setSearch(event.currentTarget.value)}
            />
            <Select
              size="xs"
              style={{ flex: "1 1 130px" }}
              clearable
              placeholder={t("activity.allModels")}
              aria-label={t("activity.model")}
              data={models.map(({ key }) => key)}
              value={model}
              onChange={setModel}
            />
            <Select
              size="xs"
              style={{ flex: "1 1 130px" }}
              clearable
              placeholder={t("activity.allOutcomes")}
              aria-label={t("activity.outcomeLabel")}
              data={OUTCOMES.map((value) => ({ value, label: t(`activity.outcome.${value}`) }))}
              value={outcome}
              onChange={(value) => setOutcome(value as Outcome | null)}
            />
          </Group>
        </Group>
        <Card padding={recent.length > 0 ? 0 : "md"}>
          {recent.length > 0 ? (
            <History records={recent} open={open} onOpen={setOpen} />
          ) : (
            <EmptyState
              compact
              icon="clock"
              title={t(filtered ? "activity.noMatch" : "activity.noHistory")}
              body={t(filtered ? "activity.noMatchBody" : "activity.noHistoryBody")}
            />
          )}
        </Card>
      </section>
      <RequestDrawer record={recent[at] ?? null} onClose={() => setOpen(null)} onStep={step} />
    </Stack>
  );
}

/** Clients choose request ids, so that two may share one. */
export const rowId = (record: RequestRecord): string => `${record.request_id} ${record.started_at}`;
