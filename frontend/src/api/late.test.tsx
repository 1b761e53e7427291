/** An answer that was overtaken by events must not take back what they told. */
import { QueryClient, QueryClientProvider } from "@tanstack/react-query";
import { act, renderHook, waitFor } from "@testing-library/react";
import type { ReactNode } from "react";
import { afterEach, beforeEach, expect, it, vi } from "vitest";
import { useCommand } from "./actions";
import { api } from "./client";
import { followEvents } from "./events";
import { setKey } from "./key";
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
  const before = answered;
  held[index]?.answer(data);
  await waitFor(() => expect(answered).toBe(before + 1));
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
  setKey("");
  vi.restoreAllMocks();
  vi.unstubAllGlobals();
});

it("takes the rest of a late status, but not its models", async () => {
  const { result } = renderHook(() => useStatus(), { wrapper });
  await answer(0, status(5, "ready"));
  await waitFor(() => expect(result.current.data?.models.a?.state).toBe("ready"));
  act(() => void client.refetchQueries({ queryKey: keys.status }));
  await waitFor(() => expect(held).toHaveLength(2));
  told(8, "snapshot", { models: { a: { key: "a", state: "idle" } }, draining: true });
  await waitFor(() => expect(shown()?.models.a.state).toBe("idle"));
  await answer(2, status(7, "unloading")); // the snapshot made it be asked for anew
  await waitFor(() => expect(shown()?.version).toBe("as of 7"));
  expect(shown()).toMatchObject({ draining: true, models: { a: { state: "idle" } } });

  told(9, "machine", { at: 0, gpus: [], system: {}, traffic: {} }); // says nothing of states
  act(() => void client.refetchQueries({ queryKey: keys.status }));
  await answer(3, status(8, "loading"));
  await waitFor(() => expect(shown()?.models.a.state).toBe("loading"));
});

it("asks again until the first status is not late", async () => {
  const { result } = renderHook(() => useStatus(), { wrapper });
  for (const [index, id] of [8, 9].entries()) {
    await waitFor(() => expect(held).toHaveLength(index + 1));
    told(id, "model", { key: "a", state: "idle" });
    await waitFor(() => expect(client.getQueryData(keys.heard)).toBe(id));
    await answer(index, status(id - 1, "unloading"));
  }
  await answer(2, status(9, "idle"));
  await waitFor(() => expect(result.current.data?.models.a?.state).toBe("idle"));
});

it("believes a gateway that it meets anew, whatever the other one had told", async () => {
  renderHook(() => useStatus(), { wrapper });
  told(8, "model", { key: "a", state: "idle" });
  await waitFor(() => expect(client.getQueryData(keys.heard)).toBe(8));
  act(() => setKey("another"));
  expect(client.getQueryData(keys.heard)).toBe(0);
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

it("asks for the served models again when something has changed meanwhile", async () => {
  const { result } = renderHook(() => useServed(), { wrapper });
  await waitFor(() => expect(held).toHaveLength(1));
  told(8, "removed", { key: "b" });
  await waitFor(() => expect(client.getQueryData(keys.heard)).toBe(8));
  await answer(0, { data: [{ id: "a" }, { id: "b" }] });
  await answer(1, { data: [{ id: "a" }] });
  await waitFor(() => expect(result.current.data).toEqual([{ id: "a" }]));
  expect(held).toHaveLength(2);
});
