/** How often the status is asked for, whatever the stream brings meanwhile. */
import { focusManager, QueryClient, QueryClientProvider } from "@tanstack/react-query";
import { renderHook } from "@testing-library/react";
import type { ReactNode } from "react";
import { afterEach, beforeEach, expect, it, vi } from "vitest";
import { api } from "./client";
import { ApiError } from "./errors";
import { keys, putMachine, useStatus } from "./queries";
import type { Connection, Machine } from "./types";

let client: QueryClient;
let answer: () => Promise<unknown>;
let dependencies: unknown[];

const machine = () => ({ at: Date.now() / 1000, gpus: [], system: {} }) as unknown as Machine;
const connected = (phase: "live" | "offline") =>
  client.setQueryData<Connection>(keys.connection, { phase, since: 0 } as Connection);
/** How often it was asked for in so many seconds, with a sample every two. */
async function asked(seconds: number) {
  const before = vi.mocked(api.GET).mock.calls.length;
  for (let at = 0; at < seconds; at += 2) {
    await vi.advanceTimersByTimeAsync(2_000);
    putMachine(client, machine());
  }
  return vi.mocked(api.GET).mock.calls.length - before;
}

beforeEach(() => {
  vi.useFakeTimers();
  client = new QueryClient({ defaultOptions: { queries: { retry: false } } });
  dependencies = [{}];
  answer = async () => ({
    data: { ...machine(), last_event_id: 1, models: {}, dependencies },
    response: new Response(),
  });
  vi.spyOn(api, "GET").mockImplementation((() => answer()) as never);
  connected("live");
});
afterEach(() => {
  vi.useRealTimers();
  vi.restoreAllMocks();
});

const start = async () => {
  const wrapper = ({ children }: { children: ReactNode }) => (
    <QueryClientProvider client={client}>{children}</QueryClientProvider>
  );
  renderHook(() => useStatus(), { wrapper });
  await vi.advanceTimersByTimeAsync(0);
};

it("asks once a minute while events come", async () => {
  await start();
  expect(await asked(300)).toBe(5);
});

it("asks sooner while the libraries are being looked at", async () => {
  dependencies = [];
  await start();
  expect(await asked(30)).toBe(6);
});

it("asks every other second while the stream opens and ends again and again", async () => {
  await start();
  const before = vi.mocked(api.GET).mock.calls.length;
  for (let at = 0; at < 10; at += 0.25) {
    connected("live");
    connected("offline");
    putMachine(client, machine());
    await vi.advanceTimersByTimeAsync(250);
  }
  expect(vi.mocked(api.GET).mock.calls.length - before).toBeGreaterThanOrEqual(4);
});

it("does not wait a minute when the first answer was an error", async () => {
  const right = answer;
  answer = () => Promise.reject(new ApiError(503, "Not yet."));
  await start();
  await vi.advanceTimersByTimeAsync(2_500);
  answer = right;
  await vi.advanceTimersByTimeAsync(2_500);
  expect(client.getQueryData(keys.status)).toBeTruthy();
});

it("goes on when an answer takes longer than the pause between two", async () => {
  const right = answer;
  answer = async () => {
    await new Promise((resolve) => setTimeout(resolve, 3_000));
    return right();
  };
  connected("offline");
  await start();
  await vi.advanceTimersByTimeAsync(60_000);
  expect(vi.mocked(api.GET).mock.calls.length).toBeGreaterThan(10);
});

it("goes on when the clock is set back", async () => {
  await start();
  vi.setSystemTime(Date.now() - 3_600_000);
  expect(await asked(120)).toBe(2);
});

it("asks no more once it was refused", async () => {
  connected("offline");
  answer = () => Promise.reject(new ApiError(401, "No key."));
  await start();
  expect(await asked(120)).toBe(0);
});

it("sets no timer after timer while nobody looks", async () => {
  await start();
  focusManager.setFocused(false);
  const timers = vi.spyOn(window, "setInterval");
  expect(await asked(120)).toBe(0);
  expect(timers.mock.calls.filter(([, ms]) => (ms ?? 0) < 1_000)).toEqual([]);
  focusManager.setFocused(undefined);
});
