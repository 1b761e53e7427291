import type { State } from "../api/types";
import { useText } from "../i18n";
import { Icon, type IconName } from "./Icon";

const LOOK: Record<State, { icon: IconName; tone: string; spin?: boolean }> = {
  absent: { icon: "cloud", tone: "--quiet" },
  downloading: { icon: "download", tone: "--busy" },
  idle: { icon: "sleep", tone: "--quiet" },
  loading: { icon: "busy", tone: "--busy", spin: true },
  ready: { icon: "check", tone: "--ok" },
  unloading: { icon: "busy", tone: "--warn", spin: true },
  restarting: { icon: "retry", tone: "--warn" },
  failed: { icon: "alert", tone: "--bad" },
};

/** A state as icon, word and colour. */
export function StateBadge({ state }: { state: State }) {
  const { t } = useText();
  const { icon, tone, spin } = LOOK[state];
  return (
    <span
      className="chip"
      data-state={state}
      style={{ "--tone": `var(${tone})` } as React.CSSProperties}
    >
      <Icon name={icon} size={15} className={spin ? "spin" : undefined} />
      {t(`common.state.${state}`)}
    </span>
  );
}
