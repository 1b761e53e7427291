import { Card, Group, Stack, Text } from "@mantine/core";
import { HISTORY_SAMPLES } from "../../api/queries";
import type { Gpu, Model } from "../../api/types";
import { Icon } from "../../components/Icon";
import { Meter } from "../../components/Meter";
import { Sparkline } from "../../components/Sparkline";
import { useText } from "../../i18n";
import { bytesOf, duration, number, percent, share } from "../../lib/format";
import { memoryParts, ownersOf } from "../../lib/gpu";

interface Props {
  gpu: Gpu;
  models: Model[];
  loads: (number | null)[];
  /** Age of the reading when it is too old to be believed. */
  staleMs: number | null;
}

/** Why the driver slows a GPU down, in the gateway's words. */
const REASONS = [
  "power cap",
  "hardware slowdown",
  "software thermal",
  "hardware thermal",
  "power brake",
] as const;
const GREY = "color-mix(in srgb, var(--mantine-color-text) 38%, transparent)";

export function GpuCard({ gpu, models, loads, staleMs }: Props) {
  const { t, language } = useText();
  const owners = ownersOf(gpu, models);
  const parts = memoryParts(gpu, models);
  const apart = owners.filter(({ model }) => !parts.some((part) => part.model === model));
  const ofMemory = (value: number) => share(value, gpu.memory_total, language);
  return (
    <Card padding="md" className={staleMs === null ? undefined : "stale"} data-gpu={gpu.index}>
      <Stack gap="sm">
        <Group justify="space-between" wrap="nowrap" align="flex-start">
          <div style={{ minWidth: 0 }}>
            <Text fw={650}>{t("overview.gpu", { index: gpu.index })}</Text>
            <Text size="xs" c="dimmed" truncate>
              {gpu.name}
            </Text>
          </div>
          <Text fz={26} fw={680} lh={1}>
            {gpu.load === null ? "–" : percent(gpu.load, language)}
          </Text>
        </Group>
        <Sparkline values={loads} most={100} slots={HISTORY_SAMPLES} label={sentence()} />
        <div>
          <Group justify="space-between" mb={4} gap={6} wrap="nowrap">
            <Text size="sm">{t("overview.memory")}</Text>
            <Text size="sm" c="dimmed" truncate>
              {bytesOf(gpu.memory_used, gpu.memory_total, language)}
            </Text>
          </Group>
          <Meter
            label={t("overview.memoryLabel", { percent: ofMemory(gpu.memory_used) })}
            total={gpu.memory_total}
            parts={parts.map((part) => ({
              name: part.model ?? t("overview.others"),
              value: part.bytes,
              colour: part.colour ?? GREY,
            }))}
          />
          <Group gap={10} mt={6}>
            {parts.map((part) => (
              <Group key={part.model ?? ""} gap={5} wrap="nowrap">
                <span className="swatch" style={{ background: part.colour ?? GREY }} />
                <Text size="xs">
                  {part.model ?? t("overview.others")} {part.estimated && "≈ "}
                  {ofMemory(part.bytes)}
                </Text>
              </Group>
            ))}
          </Group>
        </div>
        {apart.length > 0 && (
          <Group gap={6}>
            <Text size="xs" c="dimmed">
              {t("overview.placed")}
            </Text>
            {apart.map(({ model, colour }) => (
              <span key={model} className="tag" style={{ borderLeft: `4px solid ${colour}` }}>
                {model}
              </span>
            ))}
          </Group>
        )}
        <Group gap="lg">
          {gpu.temperature !== null && (
            <Figure
              name={t("overview.temperature")}
              value={`${number(gpu.temperature, language)} °C`}
            />
          )}
          {gpu.power !== null && (
            <Figure
              name={t("overview.power")}
              value={
                gpu.power_limit === null
                  ? `${number(gpu.power, language)} W`
                  : `${number(gpu.power, language)} / ${number(gpu.power_limit, language)} W`
              }
            />
          )}
        </Group>
        {gpu.throttling.length > 0 && (
          <span
            className="chip chip-line"
            style={{ "--tone": "var(--warn)" } as React.CSSProperties}
          >
            <Icon name="alert" size={15} />
            {t("overview.throttled", { reasons: gpu.throttling.map(reasonIn).join(", ") })}
          </span>
        )}
        {staleMs !== null && (
          <Text size="xs" c="var(--warn)" role="status">
            {t("overview.stale", { time: duration(Math.round(staleMs / 1000), language) })}
          </Text>
        )}
      </Stack>
    </Card>
  );

  function reasonIn(reason: string): string {
    const known = REASONS.find((one) => one === reason);
    return known ? t(`overview.reason.${known}`) : reason;
  }

  function sentence(): string {
    const known = loads.filter((load) => load !== null);
    if (gpu.load === null || known.length === 0) return t("overview.loadUnknown");
    return t("overview.loadNow", {
      value: percent(gpu.load, language),
      low: percent(Math.min(...known), language),
      high: percent(Math.max(...known), language),
    });
  }
}

function Figure({ name, value }: { name: string; value: string }) {
  return (
    <div>
      <Text size="xs" c="dimmed">
        {name}
      </Text>
      <Text size="sm" fw={600}>
        {value}
      </Text>
    </div>
  );
}
