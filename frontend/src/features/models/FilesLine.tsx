import { Group, Text } from "@mantine/core";
import type { Model } from "../../api/types";
import { Icon } from "../../components/Icon";
import { useText } from "../../i18n";
import { dateTime } from "../../lib/format";

/** What the last download or check found; until the model is loaded or goes wrong. */
export function FilesLine({ model }: { model: Model }) {
  const { t, language } = useText();
  const { files, timeline } = model.runtime;
  const last = timeline.findLast(({ action }) => !/settled|files/.test(action));
  if (files !== "complete" || last?.action !== "downloaded") return null;
  return (
    <Group gap={8} wrap="nowrap" role="status" data-testid="files">
      <span style={{ color: "var(--ok)" }}>
        <Icon name="check" size={16} />
      </span>
      <Text size="sm">{t("models.filesComplete", { time: dateTime(last.at, language) })}</Text>
    </Group>
  );
}
