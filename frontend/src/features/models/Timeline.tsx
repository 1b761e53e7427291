import { Text } from "@mantine/core";
import type { Action } from "../../api/types";
import { Icon, type IconName } from "../../components/Icon";
import { useText } from "../../i18n";
import { dateTime } from "../../lib/format";

const look = (action: string): [IconName, string] => {
  if (/fail|crash|refus/.test(action)) return ["alert", "--bad"];
  if (/restart|cancel|evict/.test(action)) return ["retry", "--warn"];
  if (/ready|downloaded|unloaded|complete|verified/.test(action)) return ["check", "--ok"];
  if (/load|start|download/.test(action)) return ["busy", "--busy"];
  return ["clock", "--quiet"];
};

/** The last actions with their outcome, newest first. */
export function Timeline({ actions }: { actions: Action[] }) {
  const { t, language } = useText();
  if (actions.length === 0)
    return (
      <Text size="sm" c="dimmed">
        {t("models.timeline.empty")}
      </Text>
    );
  return (
    <ol className="timeline">
      {[...actions].reverse().map((action, index) => {
        const [icon, tone] = look(action.action);
        return (
          <li key={`${action.at}-${index}`}>
            <span style={{ color: `var(${tone})` }}>
              <Icon name={icon} size={16} />
            </span>
            <div>
              <Text size="sm" className="break">
                <b>{action.action}</b>
                {action.replica && ` · ${action.replica}`}
                {action.detail && ` · ${action.detail}`}
              </Text>
              <Text size="xs" c="dimmed">
                {dateTime(action.at, language)}
              </Text>
            </div>
          </li>
        );
      })}
    </ol>
  );
}
