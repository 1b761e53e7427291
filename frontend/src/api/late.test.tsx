/** An answer that was overtaken by events must not take back what they told. */
import { QueryClient, QueryClientProvider } from "@tanstack/react-query";
import { act, renderHook, waitFor } from "@testing-library/react";
import type { ReactNode } from "react";
import { afterEach, beforeEach, expect, it, vi } from "vitest";
import { useCommand } from "./actions";
import { api } from "./client";
import { followEvents } from "./events";
import { keys, useServed, useStatus } from "./queries";

let client: QueryClient;
let events: ReadableStreamDefaultController<Uint8Array>;
let stop = () => undefined as unknown;
let answered: number;
/** What the next GETs answer, once they are let go. */
let held: { answer: (data: unknown) => void }[];

const wrapper = ({ children }: { children: ReactNode }) => (
  <QueryClientProvider client={client}>{children}</QueryClientProvider>
);
const told = (id: number, kind: string, data: unknown) =>
  events.enqueue(
    new TextEncoder().encode(`id: ${id}\nevent: ${kind}\ndata: ${JSON.stringify(data)}\n\n`),
  );
const status = (last_event_id: number, state: string) => ({
  last_event_id,
  draining: false,
  at: 0,
  gpus_at: 0,
  stale: false,
  gpus: [],
  system: { cpu_percent: 0 },
  dependencies: [{}],
  version: `as of ${last_event_id}`,
  models: { a: { key: "a", state } },
});
const shown = () => client.getQueryData<ReturnType<typeof status>>(keys.status);
const answer = async (index: number, data: unknown) => {
  await waitFor(() => expect(held.length).toBeGreaterThan(index));
  held[index]?.answer(data);
  await waitFor(() => expect(answered).toBeGreaterThan(index));
};

beforeEach(() => {
  client = new QueryClient();
  held = [];
  answered = 0;
  vi.stubGlobal("fetch", async () => {
    const body = new ReadableStream<Uint8Array>({
      start(controller) {
        events = controller;
      },
    });
    return new Response(body);
  });
  vi.spyOn(api, "GET").mockImplementation((async () => {
    const data = await new Promise((resolve) => held.push({ answer: resolve }));
    answered += 1;
    return { data, response: new Response() };
  }) as never);
  stop = followEvents(client);
});
afterEach(() => {
  stop();
  vi.restoreAllMocks();
  vi.unstubAllGlobals();
});

it("takes the rest of a late status, but not its models", async () => {
  const { result } = renderHook(() => useStatus(), { wrapper });
  await answer(0, status(5, "ready"));
  await waitFor(() => expect(result.current.data?.models.a?.state).toBe("ready"));
  act(() => void client.refetchQueries({ queryKey: keys.status }));
  await waitFor(() => expect(held).toHaveLength(2));
  told(8, "model", { key: "a", state: "idle" });
  await waitFor(() => expect(shown()?.models.a.state).toBe("idle"));
  await answer(1, status(7, "unloading"));
  await waitFor(() => expect(shown()?.version).toBe("as of 7"));
  expect(shown()?.models.a.state).toBe("idle");

  act(() => void client.refetchQueries({ queryKey: keys.status }));
  await answer(2, status(9, "loading"));
  await waitFor(() => expect(shown()?.models.a.state).toBe("loading"));
});

it("asks once more when the first status is late already", async () => {
  const { result } = renderHook(() => useStatus(), { wrapper });
  await waitFor(() => expect(held).toHaveLength(1));
  told(8, "model", { key: "a", state: "idle" });
  await waitFor(() => expect(client.getQueryData(keys.heard)).toBe(8));
  await answer(0, status(7, "unloading"));
  await answer(1, status(8, "idle"));
  await waitFor(() => expect(result.current.data?.models.a?.state).toBe("idle"));
});

it("asks for the status after a command, whose answer may be late", async () => {
  client.setQueryData(keys.status, status(5, "ready"));
  let finish = (_: unknown) => undefined as unknown;
  vi.spyOn(api, "POST").mockReturnValue(new Promise((resolve) => (finish = resolve)) as never);
  renderHook(() => useStatus(), { wrapper });
  const { result } = renderHook(() => useCommand("a"), { wrapper });
  await answer(0, status(6, "ready"));
  act(() => result.current.mutate({ name: "unload" }));
  told(8, "model", { key: "a", state: "idle" });
  await waitFor(() => expect(shown()?.models.a.state).toBe("idle"));
  finish({ data: { key: "a", state: "ready" }, response: new Response() });
  await waitFor(() => expect(held).toHaveLength(2));
  expect(shown()?.models.a.state).toBe("idle");
});

it("shows served models in the state that the live stream told", async () => {
  client.setQueryData(keys.status, status(5, "ready"));
  told(8, "model", { key: "a", state: "idle" });
  await waitFor(() => expect(shown()?.models.a.state).toBe("idle"));
  const { result } = renderHook(() => useServed(), { wrapper });
  await answer(0, {
    data: [
      { id: "x", root: "a", state: "ready" },
      { id: "y", root: "b", state: "ready" },
    ],
  });
  await waitFor(() =>
    expect(result.current.data?.map(({ state }) => state)).toEqual(["idle", "ready"]),
  );
});
