import { Group, Kbd, Stack, Text } from "@mantine/core";
import { Fragment } from "react";
import { Dialog } from "../components/Dialog";
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
    [["Ctrl", t("shell.keys.enter")], t("shell.shortcuts.send")],
    [[t("shell.keys.escape")], t("shell.shortcuts.stop")],
    [[t("shell.keys.space")], t("shell.shortcuts.play")],
    [["←", "→"], t("shell.shortcuts.seek")],
    [["j", "k"], t("shell.shortcuts.rows")],
  ];
  return (
    <Dialog onClose={onClose} title={t("shell.shortcuts.title")}>
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
    </Dialog>
  );
}
