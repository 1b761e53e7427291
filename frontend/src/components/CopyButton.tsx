import { ActionIcon, Tooltip } from "@mantine/core";
import { useEffect, useState } from "react";
import { useText } from "../i18n";
import { copyText } from "../lib/clipboard";
import { Icon } from "./Icon";

const SAID_MS = 2_000;
const ICONS = { ready: "copy", copied: "check", refused: "alert" } as const;
const COLOURS = {
  ready: "var(--mantine-color-dimmed)",
  copied: "var(--ok)",
  refused: "var(--bad)",
} as const;

/** Copies `value`; `what` says to a screen reader what it is. */
export function CopyButton({ value, what }: { value: string; what: string }) {
  const { t } = useText();
  const [state, setState] = useState<keyof typeof ICONS>("ready");
  useEffect(() => {
    if (state === "ready") return;
    const timer = window.setTimeout(() => setState("ready"), SAID_MS);
    return () => window.clearTimeout(timer);
  }, [state]);
  const label = state === "ready" ? t("common.copy") : t(`common.${state}`);
  return (
    <Tooltip label={label}>
      <ActionIcon
        variant="subtle"
        color="gray"
        c={COLOURS[state]}
        onClick={() => void copyText(value).then((done) => setState(done ? "copied" : "refused"))}
        aria-label={state === "ready" ? t("common.copyWhat", { what }) : label}
      >
        <Icon name={ICONS[state]} size={16} />
      </ActionIcon>
    </Tooltip>
  );
}
