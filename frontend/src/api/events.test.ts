import { QueryClient } from "@tanstack/react-query";
import { afterEach, beforeEach, expect, it, vi } from "vitest";
import { followEvents } from "./events";
import { setKey } from "./key";
import { keys } from "./queries";
import type { Connection, Status } from "./types";

type Answer = () => Response | Promise<Response>;
let calls: { headers: Record<string, string> }[] = [];
let answers: Answer[] = [];
let client: QueryClient;
let stop = () => undefined as unknown;
let line: ReadableStreamDefaultController | undefined;

const stream = (text: string, open = false) =>
  new Response(
    new ReadableStream({
      start(controller) {
        line = controller;
        controller.enqueue(new TextEncoder().encode(text));
        if (!open) controller.close();
      },
    }),
  );
const event = (id: number, kind: string, data: unknown) =>
  `id: ${id}\nevent: ${kind}\ndata: ${JSON.stringify(data)}\n\n`;
const phase = () => client.getQueryData<Connection>(keys.connection)?.phase;
const status = () => client.getQueryData<Status>(keys.status);

beforeEach(() => {
  vi.useFakeTimers();
  calls = [];
  answers = [];
  client = new QueryClient();
  client.setQueryData(keys.status, { models: {}, draining: false });
  vi.stubGlobal("fetch", (_path: string, init: RequestInit) => {
    calls.push({ headers: init.headers as Record<string, string> });
    init.signal?.addEventListener("abort", () => line?.error(init.signal?.reason));
    const answer = answers.shift() ?? (() => new Promise<Response>(() => undefined));
    return Promise.resolve().then(answer);
  });
});
afterEach(() => {
  stop();
  setKey("");
  vi.useRealTimers();
  vi.unstubAllGlobals();
});

const settle = () => vi.advanceTimersByTimeAsync(20);

it("writes snapshots and changes into the cache", async () => {
  answers = [
    () =>
      stream(
        event(5, "snapshot", { models: { a: { key: "a", state: "idle" } }, draining: true }) +
          event(6, "model", { key: "a", state: "loading", action: "load" }),
        true,
      ),
  ];
  const seen: string[] = [];
  stop = followEvents(client, (model) => seen.push(model.state));
  await settle();
  expect(phase()).toBe("live");
  expect(status()?.draining).toBe(true);
  expect(status()?.models.a?.state).toBe("loading");
  expect(seen).toEqual(["loading"]);
});

it("comes back after a pause, and says where it was", async () => {
  answers = [() => stream(event(9, "model", { key: "a" })), () => stream("", true)];
  stop = followEvents(client);
  await settle();
  expect(phase()).toBe("offline");
  await vi.advanceTimersByTimeAsync(600);
  expect(phase()).toBe("live");
  expect(calls[1]?.headers["last-event-id"]).toBe("9");
});

it("does not insist where it is refused, until the key changes", async () => {
  answers = [() => new Response("{}", { status: 401 }), () => stream("", true)];
  stop = followEvents(client);
  await settle();
  expect(phase()).toBe("denied");
  await vi.advanceTimersByTimeAsync(600_000);
  expect(calls).toHaveLength(1);
  setKey("right");
  await settle();
  expect(phase()).toBe("live");
  expect(calls[1]?.headers.authorization).toBe("Bearer right");
});

it("waits longer each time, but never beyond its limit", async () => {
  answers = Array.from({ length: 40 }, () => () => new Response("{}", { status: 503 }));
  stop = followEvents(client);
  await vi.advanceTimersByTimeAsync(120_000);
  const early = calls.length;
  expect(early).toBeLessThan(20);
  await vi.advanceTimersByTimeAsync(60_000);
  expect(calls.length - early).toBeGreaterThanOrEqual(4);
});

it("takes silence for a broken connection", async () => {
  answers = [() => stream("", true)];
  stop = followEvents(client);
  await vi.advanceTimersByTimeAsync(44_000);
  expect(phase()).toBe("live");
  await vi.advanceTimersByTimeAsync(2_000);
  expect(phase()).toBe("offline");
});
