import type { RequestRecord } from "../../api/types";
import { Icon, type IconName } from "../../components/Icon";
import { useText } from "../../i18n";

const LOOK = {
  completed: ["check", "--ok"],
  failed: ["alert", "--bad"],
  cancelled: ["stop", "--warn"],
  rejected: ["close", "--warn"],
  running: ["busy", "--busy"],
} as const satisfies Record<string, [IconName, string]>;

export function OutcomeBadge({ record }: { record: RequestRecord }) {
  const { t } = useText();
  const outcome = record.outcome ?? "running";
  const [icon, tone] = LOOK[outcome];
  return (
    <span className="chip" style={{ "--tone": `var(${tone})` } as React.CSSProperties}>
      <Icon name={icon} size={14} />
      {t(`activity.outcome.${outcome}`)}
      {record.status !== null && record.status !== 200 && ` ${record.status}`}
    </span>
  );
}
