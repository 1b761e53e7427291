import { Group, Kbd, Modal, Stack, Text } from "@mantine/core";
import { Fragment } from "react";
import { useText } from "../i18n";
import { PAGES } from "./pages";

export default function Help({ onClose }: { onClose: () => void }) {
  const { t } = useText();
  const rows: [string[], string][] = [
    [["?"], t("shell.shortcuts.help")],
    [["Ctrl", "K"], t("shell.shortcuts.palette")],
    ...PAGES.map(({ name, letter }): [string[], string] => [
      ["g", letter],
      t("shell.shortcuts.go", { page: t(`shell.${name}`) }),
    ]),
    [["Ctrl", "Enter"], t("shell.shortcuts.send")],
    [["Esc"], t("shell.shortcuts.stop")],
    [["Space"], t("shell.shortcuts.play")],
    [["←", "→"], t("shell.shortcuts.seek")],
    [["j", "k"], t("shell.shortcuts.rows")],
  ];
  return (
    <Modal
      opened
      onClose={onClose}
      title={t("shell.shortcuts.title")}
      closeButtonProps={{ "aria-label": t("common.close") }}
    >
      <Stack gap={8}>
        {rows.map(([keys, label]) => (
          <Group key={label} justify="space-between" wrap="nowrap">
            <Text size="sm">{label}</Text>
            <Group gap={4} wrap="nowrap">
              {keys.map((name) => (
                <Fragment key={name}>
                  <Kbd>{name}</Kbd>
                </Fragment>
              ))}
            </Group>
          </Group>
        ))}
      </Stack>
    </Modal>
  );
}
