import { Group, Text } from "@mantine/core";
import type { Model } from "../../api/types";
import { Icon } from "../../components/Icon";
import { useText } from "../../i18n";
import { bytes, duration } from "../../lib/format";

type Receipt = NonNullable<Model["receipt"]>;

/** What the last unload gave back. */
export function ReceiptLine({ receipt }: { receipt: Receipt }) {
  const { t, language } = useText();
  const parts = [
    t("models.receipt", { time: duration(receipt.seconds, language) }),
    receipt.freed_bytes === null
      ? t("models.freedUnknown")
      : t("models.freed", { bytes: bytes(receipt.freed_bytes, language) }),
    ...(receipt.escalated ? [t("models.escalated")] : []),
    ...(receipt.missing_bytes > 0
      ? [t("models.missing", { bytes: bytes(receipt.missing_bytes, language) })]
      : []),
  ];
  const clean = !receipt.escalated && receipt.missing_bytes === 0;
  return (
    <Group gap={8} wrap="nowrap" data-testid="receipt">
      <span style={{ color: clean ? "var(--ok)" : "var(--warn)" }}>
        <Icon name={clean ? "check" : "alert"} size={16} />
      </span>
      <Text size="sm">{parts.join(" · ")}</Text>
    </Group>
  );
}
