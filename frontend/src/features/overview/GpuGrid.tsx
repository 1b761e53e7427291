import { Card, Group } from "@mantine/core";
import { useEffect, useRef, useState } from "react";
import { useHistory } from "../../api/queries";
import type { Status } from "../../api/types";
import { EmptyState } from "../../components/EmptyState";
import { Icon } from "../../components/Icon";
import { useText } from "../../i18n";
import { GpuCard } from "./GpuCard";

const STALE_MS = 5_000;

export function GpuGrid({ status }: { status: Status }) {
  const { t } = useText();
  const history = useHistory();
  const age = useAge(status);
  if (status.gpus.length === 0)
    return (
      <Card padding="md">
        <EmptyState icon="chip" title={t("overview.noGpu")} body={t("overview.noGpuBody")} compact>
          {status.system.gpu_problems.map((problem) => (
            <code key={problem} className="mono break">
              {problem}
            </code>
          ))}
        </EmptyState>
      </Card>
    );
  return (
    <div className="grid-cards">
      {status.system.gpu_problems.length > 0 && (
        <div className="gpu-problems">
          {status.system.gpu_problems.map((problem) => (
            <Group key={problem} gap={8} wrap="nowrap">
              <Icon name="alert" size={16} />
              <span className="break">{problem}</span>
            </Group>
          ))}
        </div>
      )}
      {status.gpus.map((gpu) => (
        <GpuCard
          key={gpu.uuid || gpu.index}
          gpu={gpu}
          models={Object.values(status.models)}
          loads={history.map((sample) => sample.load[gpu.index] ?? null)}
          staleMs={status.stale || age > STALE_MS ? age : null}
        />
      ))}
    </div>
  );
}

/** Milliseconds since the GPUs were read. The two clocks may differ: each is asked for its own part. */
function useAge({ at, gpus_at }: Status): number {
  const [now, setNow] = useState(Date.now);
  const arrival = useRef({ at, seen: Date.now() });
  if (arrival.current.at !== at) arrival.current = { at, seen: Date.now() };
  useEffect(() => {
    const timer = window.setInterval(() => setNow(Date.now()), 1_000);
    return () => window.clearInterval(timer);
  }, []);
  return (at - gpus_at) * 1000 + Math.max(0, now - arrival.current.seen);
}
