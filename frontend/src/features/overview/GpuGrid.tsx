import { Card } from "@mantine/core";
import { useEffect, useState } from "react";
import { useHistory } from "../../api/queries";
import type { Status } from "../../api/types";
import { EmptyState } from "../../components/EmptyState";
import { useText } from "../../i18n";
import { GpuCard } from "./GpuCard";

const STALE_MS = 5_000;

export function GpuGrid({ status, at }: { status: Status; at: number }) {
  const { t } = useText();
  const history = useHistory();
  const age = useAge(at);
  if (status.gpus.length === 0)
    return (
      <Card>
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

/** Milliseconds since `at`, looked at every second. */
function useAge(at: number): number {
  const [now, setNow] = useState(Date.now);
  useEffect(() => {
    const timer = window.setInterval(() => setNow(Date.now()), 1_000);
    return () => window.clearInterval(timer);
  }, []);
  return at === 0 ? 0 : Math.max(0, now - at);
}
