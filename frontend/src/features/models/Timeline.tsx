import { Text } from "@mantine/core";
import type { Action, Model } from "../../api/types";
import { Icon, type IconName } from "../../components/Icon";
import { useText } from "../../i18n";
import type { en } from "../../i18n/en";
import { dateTime } from "../../lib/format";

type Known = keyof (typeof en)["models"]["action"];
type Outcome = [IconName, string];

const GOOD: Outcome = ["check", "--ok"];
const BAD: Outcome = ["alert", "--bad"];
const ODD: Outcome = ["retry", "--warn"];
const BUSY: Outcome = ["busy", "--busy"];
const PLAIN: Outcome = ["clock", "--quiet"];

/** What the gateway notes, and how it went. What is not here is shown in the gateway's word. */
const OUTCOMES: Record<Known, Outcome> = {
  instantiated: PLAIN,
  configured: PLAIN,
  "placement preference": PLAIN,
  files: PLAIN,
  "download requested": PLAIN,
  downloading: BUSY,
  downloaded: GOOD,
  placing: BUSY,
  loading: BUSY,
  ready: GOOD,
  settled: PLAIN,
  idle: PLAIN,
  draining: BUSY,
  unloading: BUSY,
  stopped: PLAIN,
  unloaded: GOOD,
  evicted: ODD,
  "memory above grant": ODD,
  "memory missing": ODD,
  broken: BAD,
  restarting: ODD,
  failed: BAD,
};
const isKnown = (action: string): action is Known => action in OUTCOMES;

/** An action and what it was about, in the reader's language as far as it is known. */
export function ActionText({
  action,
  replica,
  detail,
}: Pick<Action, "action" | "replica" | "detail">) {
  const { t } = useText();
  const word = isKnown(action) ? t(`models.action.${action}`) : action;
  const about =
    action === "settled"
      ? t(`common.state.${detail as Model["state"]}`)
      : action === "files"
        ? t(`models.detail.${detail as Model["runtime"]["files"]}`)
        : detail;
  return (
    <>
      <b>{word}</b>
      {replica && ` · ${replica}`}
      {about && ` · ${about}`}
    </>
  );
}

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
      {[...actions].reverse().map(({ at, action, replica, detail }, index) => {
        const [icon, tone] = isKnown(action) ? OUTCOMES[action] : PLAIN;
        return (
          <li key={`${at}-${index}`}>
            <span style={{ color: `var(${tone})` }}>
              <Icon name={icon} size={16} />
            </span>
            <div>
              <Text size="sm" className="break">
                <ActionText action={action} replica={replica} detail={detail} />
              </Text>
              <Text size="xs" c="dimmed">
                {dateTime(at, language)}
              </Text>
            </div>
          </li>
        );
      })}
    </ol>
  );
}
