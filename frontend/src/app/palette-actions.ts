import { useQueryClient } from "@tanstack/react-query";
import { useNavigate } from "@tanstack/react-router";
import { command } from "../api/actions";
import { keys, putModel, useStatus } from "../api/queries";
import type { Model } from "../api/types";
import type { IconName } from "../components/Icon";
import { useText } from "../i18n";
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
export function usePaletteActions(): PaletteAction[] {
  const { t } = useText();
  const navigate = useNavigate();
  const client = useQueryClient();
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
      command(key, wanted).then(
        (answer) => putModel(client, answer),
        () => client.invalidateQueries({ queryKey: keys.status }),
      );
    };
    const label = t(`shell.palette.${wanted}`, { model: key });
    return [{ id: `${wanted} ${key}`, icon: wanted === "load" ? "play" : "power", label, run }];
  });
  return [...pages, ...commands];
}
