/** The gateway's event stream, read with `fetch` because EventSource cannot send a key. */
import type { QueryClient } from "@tanstack/react-query";
import { type SseEvent, sseEvents } from "../lib/sse";
import { send } from "./client";
import { ApiError } from "./errors";
import { onKeyChange } from "./key";
import { dropModel, keys, putMachine, putModel } from "./queries";
import type { Connection, MachineEvent, Model, Status } from "./types";

const BACKOFF_FIRST_MS = 500;
const BACKOFF_MOST_MS = 15_000;
/** The gateway sends a comment every 15 s: after three of them the connection is dead. */
const SILENCE_MS = 45_000;

/** After these a model may answer to other names. */
const RENAMING = new Set(["instantiated", "configured"]);

export type ModelEvent = Model & { action: string };

/** Follow the stream until the returned function is called. */
export function followEvents(
  client: QueryClient,
  onModel: (event: ModelEvent) => void = () => undefined,
): () => void {
  let stopped = false;
  let lastId: string | null = null;
  let failures = 0;
  let connection = new AbortController();
  let wake: () => void = () => undefined;

  const tell = (next: Connection) => client.setQueryData(keys.connection, next);

  const apply = ({ event, data, id }: SseEvent) => {
    if (id !== null) {
      lastId = id;
      if (event !== "machine") client.setQueryData(keys.heard, Number(id));
    }
    if (event === "machine") putMachine(client, JSON.parse(data) as MachineEvent);
    else if (event === "snapshot") {
      const { models, draining } = JSON.parse(data) as Pick<Status, "models" | "draining">;
      client.setQueryData<Status>(keys.status, (old) => (old ? { ...old, models, draining } : old));
      void client.invalidateQueries({ queryKey: keys.status });
      void client.invalidateQueries({ queryKey: keys.recalled });
      void client.invalidateQueries({ queryKey: keys.served });
    } else if (event === "model") {
      const model = JSON.parse(data) as ModelEvent;
      putModel(client, model);
      if (RENAMING.has(model.action)) void client.invalidateQueries({ queryKey: keys.served });
      onModel(model);
    } else if (event === "removed") {
      dropModel(client, (JSON.parse(data) as { key: string }).key);
    }
  };

  const read = async () => {
    const headers: Record<string, string> = lastId ? { "last-event-id": lastId } : {};
    let silence = 0;
    const heard = () => {
      window.clearTimeout(silence);
      silence = window.setTimeout(() => connection.abort(), SILENCE_MS);
    };
    heard();
    try {
      const response = await send("/api/admin/events", { headers, signal: connection.signal });
      if (!response.body) throw new ApiError(0, "The stream has no body.");
      tell({ phase: "live", since: Date.now() });
      failures = 0;
      for await (const event of sseEvents(response.body, heard)) apply(event);
    } finally {
      window.clearTimeout(silence);
    }
  };

  const pause = (ms: number) =>
    new Promise<void>((resolve) => {
      const timer = ms === Number.POSITIVE_INFINITY ? 0 : window.setTimeout(resolve, ms);
      wake = () => {
        window.clearTimeout(timer);
        resolve();
      };
    });

  const run = async () => {
    while (!stopped) {
      connection = new AbortController();
      let denied = false;
      try {
        await read();
      } catch (error) {
        denied = error instanceof ApiError && error.denied;
      }
      if (stopped) return;
      failures += 1;
      if (denied) {
        tell({ phase: "denied", since: Date.now() });
        await pause(Number.POSITIVE_INFINITY);
      } else {
        const most = Math.min(BACKOFF_MOST_MS, BACKOFF_FIRST_MS * 2 ** (failures - 1));
        const wait = most * (0.5 + Math.random() / 2);
        tell({ phase: "offline", since: Date.now(), retryAt: Date.now() + wait });
        await pause(wait);
      }
    }
  };

  const restart = () => {
    failures = 0;
    connection.abort();
    wake();
  };
  const newKey = () => {
    lastId = null;
    client.setQueryData(keys.heard, 0);
    tell({ phase: "connecting", since: Date.now() });
    void client.resetQueries({ predicate: (query) => query.queryKey[0] !== "local" });
    restart();
  };
  const forgetKey = onKeyChange(newKey);
  const online = () => wake();
  window.addEventListener("online", online);
  tell({ phase: "connecting", since: Date.now() });
  void run();
  return () => {
    stopped = true;
    forgetKey();
    window.removeEventListener("online", online);
    connection.abort();
    wake();
  };
}
