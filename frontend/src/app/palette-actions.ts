import { useMantineColorScheme } from "@mantine/core";
import { useQueryClient } from "@tanstack/react-query";
import { useNavigate } from "@tanstack/react-router";
import { command } from "../api/actions";
import { toApiError } from "../api/errors";
import { keys, useStatus } from "../api/queries";
import type { Model } from "../api/types";
import type { IconName } from "../components/Icon";
import { useOpenKeyDialog } from "../components/key-dialog";
import { useNotify } from "../components/notify";
import { setLanguage, useText } from "../i18n";
import { PAGES } from "./pages";

export interface PaletteAction {
  id: string;
  icon: IconName;
  label: string;
  run: () => void;
}

const POSSIBLE: Partial<Record<Model["state"], "load" | "unload">> = {
  absent: "load",
  idle: "load",
  failed: "load",
  ready: "unload",
};

/** Everything that can be done from anywhere. */
export function usePaletteActions(onHelp: () => void): PaletteAction[] {
  const { t, language } = useText();
  const { colorScheme, setColorScheme } = useMantineColorScheme();
  const openKeyDialog = useOpenKeyDialog();
  const navigate = useNavigate();
  const client = useQueryClient();
  const notify = useNotify();
  const models = Object.values(useStatus().data?.models ?? {});
  const pages = PAGES.map(({ name, path }) => ({
    id: name,
    icon: name,
    label: t(`shell.${name}`),
    run: () => void navigate({ to: path }),
  }));
  const commands = models.flatMap(({ key, state }): PaletteAction[] => {
    const wanted = POSSIBLE[state];
    if (!wanted) return [];
    const run = () => {
      void navigate({ to: "/models" });
      command(key, wanted)
        .catch((error) =>
          notify({
            title: t("models.failedCommand", { model: key }),
            message: toApiError(error).message || t("common.unreachable"),
            bad: true,
          }),
        )
        .finally(() => client.invalidateQueries({ queryKey: keys.status }));
    };
    const label = t(`shell.palette.${wanted}`, { model: key });
    return [{ id: `${wanted} ${key}`, icon: wanted === "load" ? "play" : "power", label, run }];
  });
  const other = language === "fr" ? "en" : "fr";
  const dark = colorScheme === "dark";
  const rest: PaletteAction[] = [
    { id: "key", icon: "key", label: t("shell.key.title"), run: openKeyDialog },
    {
      id: "language",
      icon: "language",
      label: t("common.pair", {
        name: t("shell.language"),
        value: other === "fr" ? "Français" : "English",
      }),
      run: () => void setLanguage(other),
    },
    {
      id: "theme",
      icon: dark ? "sun" : "moon",
      label: t("shell.theme.switch", { name: t(dark ? "shell.theme.light" : "shell.theme.dark") }),
      run: () => setColorScheme(dark ? "light" : "dark"),
    },
    { id: "help", icon: "keyboard", label: t("shell.shortcuts.title"), run: onHelp },
  ];
  return [...pages, ...commands, ...rest];
}
