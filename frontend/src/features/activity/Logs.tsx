import { Card, Select } from "@mantine/core";
import { useMemo, useState } from "react";
import { type Level, useEngineLog, useGatewayLog } from "../../api/logs";
import type { LogEntry, Model } from "../../api/types";
import { ErrorState } from "../../components/ErrorState";
import { LogView } from "../../components/LogView";
import { useText } from "../../i18n";

const GATEWAY = "";
const LEVELS: Level[] = ["debug", "info", "warning", "error", "critical"];
const HEIGHT = "min(60vh, 720px)";

export function Logs({ models }: { models: Model[] }) {
  const { t } = useText();
  const [source, setSource] = useState(GATEWAY);
  const picker = (
    <Select
      size="xs"
      w={150}
      allowDeselect={false}
      aria-label={t("activity.source")}
      value={source}
      onChange={(value) => setSource(value ?? GATEWAY)}
      data={[
        { value: GATEWAY, label: t("activity.gateway") },
        ...models.map(({ key }) => ({ value: key, label: key })),
      ]}
    />
  );
  return (
    <Card padding="md">
      {source === GATEWAY ? (
        <GatewayLog>{picker}</GatewayLog>
      ) : (
        <EngineLog name={source}>{picker}</EngineLog>
      )}
    </Card>
  );
}

function GatewayLog({ children }: { children: React.ReactNode }) {
  const { t } = useText();
  const [level, setLevel] = useState<Level>("info");
  const { data, error } = useGatewayLog(level);
  const lines = useMemo(() => (data ?? []).flatMap(asLines), [data]);
  if (error && !data) return <ErrorState error={error} />;
  return (
    <LogView
      lines={lines}
      label={t("activity.logOf", { name: t("activity.gateway") })}
      height={HEIGHT}
    >
      {children}
      <Select
        size="xs"
        w={130}
        allowDeselect={false}
        aria-label={t("activity.level")}
        value={level}
        onChange={(value) => setLevel((value as Level | null) ?? "info")}
        data={LEVELS.map((value) => ({ value, label: t(`activity.levels.${value}`) }))}
      />
    </LogView>
  );
}

function EngineLog({ name, children }: { name: string; children: React.ReactNode }) {
  const { t } = useText();
  const { data, error } = useEngineLog(name);
  if (error && !data) return <ErrorState error={error} />;
  const replicas = Object.entries(data ?? {});
  const lines = replicas.flatMap(([replica, printed]) =>
    replicas.length > 1 ? printed.map((line) => `[${replica}] ${line}`) : printed,
  );
  return (
    <LogView lines={lines} label={t("activity.logOf", { name })} height={HEIGHT}>
      {children}
    </LogView>
  );
}

function asLines(entry: LogEntry): string[] {
  const at = new Date(entry.at * 1000).toISOString().slice(11);
  const id = entry.request_id ? ` [${entry.request_id}]` : "";
  const line = `${at} ${entry.level.toUpperCase().padEnd(7)} ${entry.logger}${id} ${entry.message}`;
  return entry.exception
    ? [line, ...entry.exception.split("\n").map((part) => `    ${part}`)]
    : [line];
}
