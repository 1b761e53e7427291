import { Button, Group, Tooltip } from "@mantine/core";
import { Fragment, useState } from "react";
import { type Command, type Placement, useCommand } from "../../api/actions";
import { toApiError } from "../../api/errors";
import type { Gpu, Model } from "../../api/types";
import { Icon, type IconName } from "../../components/Icon";
import { useNotify } from "../../components/notify";
import { useText } from "../../i18n";
import { LoadDialog } from "./LoadDialog";

/** The one thing that is most wanted in each state, then the others. */
const OFFERED: Record<Model["state"], Command[]> = {
  absent: ["download", "load"],
  downloading: ["cancel"],
  idle: ["load", "download"],
  loading: ["cancel"],
  ready: ["unload"],
  unloading: [],
  restarting: ["cancel"],
  // Its panel has the button that tries again.
  failed: ["download"],
};
const INVITING = new Set<Model["state"]>(["absent", "idle"]);
const ICONS: Record<Command, IconName> = {
  download: "download",
  load: "play",
  unload: "power",
  cancel: "close",
};

export function Actions({ model, gpus }: { model: Model; gpus: Gpu[] }) {
  const { t } = useText();
  const [dialog, setDialog] = useState(false);
  const { run, running } = useModelCommand(model);
  const offered = OFFERED[model.state];
  const placeable = /ready|failed/.test(model.state);

  const label = (name: Command) => {
    if (name === "download" && model.runtime.downloaded) return t("models.verify");
    return t(`models.${name}`);
  };

  const placement = (
    <Tooltip label={t(model.state === "ready" ? "models.move" : "models.place")}>
      <Button
        px="sm"
        variant="default"
        leftSection={<Icon name="chip" size={16} />}
        loading={running === "load" && !offered.includes("load")}
        onClick={() => setDialog(true)}
      >
        {t("models.placement")}
      </Button>
    </Tooltip>
  );

  return (
    <Group gap="xs">
      {offered.map((name, index) => (
        <Fragment key={name}>
          <Button
            px="sm"
            variant={index === 0 && INVITING.has(model.state) ? "filled" : "default"}
            leftSection={<Icon name={ICONS[name]} size={16} />}
            loading={running === name}
            onClick={() => run(name)}
          >
            {label(name)}
          </Button>
          {name === "load" && placement}
        </Fragment>
      ))}
      {placeable && placement}
      {dialog && (
        <LoadDialog
          model={model}
          gpus={gpus}
          onClose={() => setDialog(false)}
          onLoad={(placement) => run("load", placement)}
        />
      )}
    </Group>
  );
}

/** Runs commands; a refusal is told in the gateway's words. */
export function useModelCommand(model: Model) {
  const { t } = useText();
  const notify = useNotify();
  const { mutate, isPending, variables } = useCommand(model.key);
  const run = (name: Command, placement?: Placement) =>
    mutate(
      { name, placement },
      {
        onError: (error) =>
          notify({
            title: t("models.failedCommand", { model: model.key }),
            message: toApiError(error).message || t("common.unreachable"),
            bad: true,
          }),
      },
    );
  return { run, running: isPending ? variables.name : null };
}
