/** What surrounds all pages: the event stream, the key dialog, and what screen readers are told. */
import { useQueryClient } from "@tanstack/react-query";
import { lazy, type ReactNode, Suspense, useCallback, useEffect, useState } from "react";
import { followEvents } from "../api/events";
import type { State } from "../api/types";
import { OpenKeyDialog } from "../components/key-dialog";
import { useNotify } from "../components/notify";
import { useText } from "../i18n";

const KeyDialog = lazy(() => import("./KeyDialog"));

interface Change {
  model: string;
  state: State;
}

export function ShellState({
  children,
  keyFromLink,
}: {
  children: ReactNode;
  keyFromLink: boolean;
}) {
  const client = useQueryClient();
  const { t } = useText();
  const notify = useNotify();
  const [dialog, setDialog] = useState(false);
  const [change, setChange] = useState<Change | null>(null);
  const open = useCallback(() => setDialog(true), []);

  useEffect(() => {
    const states = new Map<string, State>();
    return followEvents(client, ({ key, state }) => {
      if (states.get(key) !== state) setChange({ model: key, state });
      states.set(key, state);
    });
  }, [client]);

  // biome-ignore lint/correctness/useExhaustiveDependencies: said once, in the language of then.
  useEffect(() => {
    if (keyFromLink) notify({ message: t("shell.key.fromLink") });
  }, [keyFromLink]);

  return (
    <OpenKeyDialog.Provider value={open}>
      {children}
      <div aria-live="polite" className="visually-hidden" data-testid="announcement">
        {change &&
          t("shell.announce", { model: change.model, state: t(`common.state.${change.state}`) })}
      </div>
      <Suspense>{dialog && <KeyDialog onClose={() => setDialog(false)} />}</Suspense>
    </OpenKeyDialog.Provider>
  );
}
