import { Card, Text } from "@mantine/core";
import type { ReactNode } from "react";
import { HISTORY_SAMPLES, useHistory } from "../../api/queries";
import type { Status } from "../../api/types";
import { Meter } from "../../components/Meter";
import { Sparkline } from "../../components/Sparkline";
import { useText } from "../../i18n";
import { bytes, bytesOf, percent } from "../../lib/format";

const PETROL = "var(--mantine-color-petrol-5)";

/** What the machine is doing, in four figures. */
export function Tiles({ status }: { status: Status }) {
  const { t, language } = useText();
  const history = useHistory();
  const { system } = status;
  const models = Object.values(status.models);
  const running = models.reduce((sum, model) => sum + model.in_flight, 0);
  const queued = models.reduce((sum, model) => sum + model.queued, 0);
  const cpu = history.map((sample) => sample.cpu);
  const used = (part: number, total: number) => percent((part / total) * 100, language);
  const diskUsed =
    system.disk_total !== null && system.disk_free !== null
      ? system.disk_total - system.disk_free
      : null;
  return (
    <div className="grid-tiles">
      <Tile name={t("overview.requests")} value={String(running + queued)}>
        <Text size="xs" c="dimmed">
          {t("overview.running", { running, queued })}
        </Text>
      </Tile>
      <Tile name={t("overview.cpu")} value={percent(system.cpu_percent, language)}>
        <Sparkline
          values={cpu}
          most={100}
          slots={HISTORY_SAMPLES}
          height={26}
          label={t("overview.loadNow", {
            value: percent(system.cpu_percent, language),
            low: percent(Math.min(...cpu, 100), language),
            high: percent(Math.max(...cpu, 0), language),
          })}
        />
      </Tile>
      <Tile name={t("overview.ram")} value={used(system.memory_used, system.memory_total)}>
        <Meter
          label={t("overview.ram")}
          total={system.memory_total}
          parts={[{ name: t("overview.ram"), value: system.memory_used, colour: PETROL }]}
        />
        <Text size="xs" c="dimmed" mt={6}>
          {bytesOf(system.memory_used, system.memory_total, language)}
        </Text>
      </Tile>
      <Tile
        name={t("overview.disk")}
        value={
          diskUsed !== null && system.disk_total !== null ? used(diskUsed, system.disk_total) : "–"
        }
      >
        {diskUsed !== null && system.disk_total !== null && (
          <Meter
            label={t("overview.disk")}
            total={system.disk_total}
            parts={[{ name: t("overview.disk"), value: diskUsed, colour: PETROL }]}
          />
        )}
        <Text size="xs" c="dimmed" mt={6}>
          {system.disk_free === null
            ? t("overview.diskUnknown")
            : t("overview.diskFree", { free: bytes(system.disk_free, language) })}
        </Text>
      </Tile>
    </div>
  );
}

function Tile({ name, value, children }: { name: string; value: string; children: ReactNode }) {
  return (
    <Card padding="md">
      <Text size="sm" c="dimmed" fw={500}>
        {name}
      </Text>
      <Text fz={28} fw={680} lh={1.3} mb={4}>
        {value}
      </Text>
      {children}
    </Card>
  );
}
