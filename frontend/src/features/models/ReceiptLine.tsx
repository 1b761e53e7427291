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
  ];
  return (
    <Group gap={8} wrap="nowrap" data-testid="receipt">
      <span style={{ color: receipt.escalated ? "var(--warn)" : "var(--ok)" }}>
        <Icon name={receipt.escalated ? "alert" : "check"} size={16} />
      </span>
      <Text size="sm">{parts.join(" · ")}</Text>
    </Group>
  );
}
