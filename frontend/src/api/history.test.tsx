import { QueryClient, QueryClientProvider } from "@tanstack/react-query";
import { renderHook, waitFor } from "@testing-library/react";
import type { ReactNode } from "react";
import { afterEach, expect, it, vi } from "vitest";
import { api } from "./client";
import { keys, putMachine, type Sample, useHistory } from "./queries";
import type { Machine } from "./types";

const trace = (at: number, load: number | null) => ({
  at,
  cpu_percent: at,
  memory_used: 1,
  gpus: [{ index: 0, load, memory_used: 1, temperature: null }],
});
const machine = (at: number) =>
  ({
    at,
    gpus_at: at,
    stale: false,
    gpus: [{ index: 0, load: 9 }],
    system: { cpu_percent: at },
  }) as Machine;

afterEach(() => vi.restoreAllMocks());

it("shows at once what the gateway remembers, each sample once and in order", async () => {
  const samples = [trace(1000, 1), trace(1002, null), trace(1004, 3)];
  vi.spyOn(api, "GET").mockResolvedValue({
    data: { interval_seconds: 2, samples },
    response: new Response(),
  } as never);
  const client = new QueryClient();
  putMachine(client, machine(1004));
  putMachine(client, machine(1006));
  const wrapper = ({ children }: { children: ReactNode }) => (
    <QueryClientProvider client={client}>{children}</QueryClientProvider>
  );
  const { result } = renderHook(() => useHistory(), { wrapper });
  await waitFor(() => expect(result.current).toHaveLength(4));
  expect(result.current.map((sample) => sample.at / 1000)).toEqual([1000, 1002, 1004, 1006]);
  expect(result.current.map((sample) => sample.load[0])).toEqual([1, null, 9, 9]);
});

it("forgets what is older than five minutes", () => {
  const client = new QueryClient();
  putMachine(client, machine(1000));
  putMachine(client, machine(1299));
  putMachine(client, machine(1301));
  const kept = client.getQueryData<Sample[]>(keys.history);
  expect(kept?.map((sample) => sample.at / 1000)).toEqual([1299, 1301]);
});

it("knows by how much the gateway's clock is ahead, whatever the way here took", () => {
  const client = new QueryClient();
  const ahead = () => client.getQueryData<number>(keys.ahead);
  vi.spyOn(Date, "now").mockReturnValue(1_000_000);
  for (const late of [2, 0, 1]) putMachine(client, machine(1_600 - late));
  expect(ahead()).toBe(600);
  putMachine(client, machine(1_000)); // somebody has set it
  expect(ahead()).toBe(0);
});
