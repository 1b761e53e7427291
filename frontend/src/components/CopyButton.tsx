import { ActionIcon, CopyButton as Copier, Tooltip } from "@mantine/core";
import { useText } from "../i18n";
import { Icon } from "./Icon";

/** Copies `value`; `what` says to a screen reader what it is. */
export function CopyButton({ value, what }: { value: string; what: string }) {
  const { t } = useText();
  return (
    <Copier value={value}>
      {({ copied, copy }) => (
        <Tooltip label={copied ? t("common.copied") : t("common.copy")}>
          <ActionIcon
            variant="subtle"
            color="gray"
            c={copied ? "var(--ok)" : "var(--mantine-color-dimmed)"}
            onClick={copy}
            aria-label={copied ? t("common.copied") : t("common.copyWhat", { what })}
          >
            <Icon name={copied ? "check" : "copy"} size={16} />
          </ActionIcon>
        </Tooltip>
      )}
    </Copier>
  );
}
