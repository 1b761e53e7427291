/** What the gateway knows, as queries. The event stream writes into the same cache. */
import {
  focusManager,
  keepPreviousData,
  QueryClient,
  type QueryState,
  useQuery,
  useQueryClient,
} from "@tanstack/react-query";
import { api, data } from "./client";
import { ApiError } from "./errors";
import type {
  Connection,
  Gpu,
  Machine,
  MachineEvent,
  Model,
  Requests,
  ServedModel,
  Status,
} from "./types";

/** The stream brings every change; without it the status is asked for. */
const STATUS_MS = 2_000;
/** In case a change was missed; sooner while the libraries are still being looked at. */
const STATUS_LIVE_MS = 60_000;
const DEPENDENCIES_MS = 5_000;
const SERVED_MS = 15_000;
const HISTORY_MS = 300_000;

export const keys = {
  status: ["status"],
  history: ["local", "history"],
  ahead: ["local", "ahead"],
  recalled: ["recalled"],
  connection: ["local", "connection"],
  /** The newest event that was about a model. */
  heard: ["local", "heard"],
  /** When the status was asked for last, by a clock that nobody sets. */
  asked: ["local", "asked"],
  served: ["served"],
  requests: ["requests"],
} as const;

export function createQueryClient(): QueryClient {
  return new QueryClient({
    defaultOptions: {
      queries: {
        retry: (count, error) => error instanceof ApiError && error.status === 0 && count < 1,
        staleTime: 1_000,
        gcTime: Number.POSITIVE_INFINITY,
        networkMode: "always",
      },
      mutations: { networkMode: "always" },
    },
  });
}

/** So many samples are in the history when it is full: one every 2 s. */
export const HISTORY_SAMPLES = HISTORY_MS / 2_000;

/** One reading of every GPU's load, for the sparklines. */
export interface Sample {
  at: number;
  load: Record<number, number | null>;
  cpu: number;
}

/** Put samples among those known already, in the order of time. */
function remember(client: QueryClient, samples: Sample[]): void {
  client.setQueryData<Sample[]>(keys.history, (old = []) => {
    const known = new Map([...samples, ...old].map((sample) => [sample.at, sample]));
    const all = [...known.values()].sort((a, b) => a.at - b.at);
    const newest = all[all.length - 1]?.at ?? 0;
    return all.filter((sample) => newest - sample.at < HISTORY_MS);
  });
}

type Trace = Pick<Machine, "at"> & { cpu_percent: number; gpus: Pick<Gpu, "index" | "load">[] };

function asSample({ at, cpu_percent, gpus }: Trace): Sample {
  const load = Object.fromEntries(gpus.map((gpu) => [gpu.index, gpu.load]));
  return { at: at * 1000, load, cpu: cpu_percent };
}

function ofMachine({ at, gpus, system }: Machine): Sample {
  return asSample({ at, gpus, cpu_percent: system.cpu_percent });
}

/** Two clocks are rarely set alike; a jump of more than this is a clock that was set anew. */
const CLOCK_JUMP_S = 5;

/** A sample is from the past by as long as it took to get here: the freshest one tells the most. */
function compareClocks(client: QueryClient, at: number): void {
  const ahead = at - Date.now() / 1000;
  client.setQueryData<number | null>(keys.ahead, (old) =>
    old == null || Math.abs(ahead - old) > CLOCK_JUMP_S ? ahead : Math.max(ahead, old),
  );
}

/** By how many seconds the gateway's clock is ahead of ours. */
export const useClockAhead = (): number => useCached<number | null>(keys.ahead, null) ?? 0;

/** Put a sample that the gateway has told us about where everybody looks. */
export function putMachine(client: QueryClient, event: MachineEvent): void {
  const { traffic, ...machine } = event;
  client.setQueryData<Status>(keys.status, (old) => {
    if (!old) return old;
    const models = Object.entries(old.models).map(([key, model]) => [
      key,
      { ...model, ...traffic?.[key] },
    ]);
    return { ...old, ...machine, models: Object.fromEntries(models) };
  });
  remember(client, [ofMachine(machine)]);
  compareClocks(client, machine.at);
}

const heard = (client: QueryClient) => client.getQueryData<number>(keys.heard) ?? 0;

/** In case events keep coming while it is asked for. */
const TRIES = 3;

/** An answer that events overtook is asked for again, unless the stream has told its news anyway. */
async function asked<T>(
  client: QueryClient,
  ask: () => Promise<T>,
  late: (answer: T, before: number) => boolean,
): Promise<T> {
  for (let tries = 1; ; tries += 1) {
    const before = heard(client);
    const answer = await ask();
    if (tries === TRIES || !late(answer, before)) return answer;
  }
}

async function newestStatus(client: QueryClient, signal: AbortSignal): Promise<Status> {
  const told = () => client.getQueryData<Status>(keys.status);
  const behind = (status: Status) => status.last_event_id < heard(client);
  const ask = () => data(api.GET("/api/admin/status", { signal }));
  const status = await asked(client, ask, (answer) => behind(answer) && !told());
  const newer = behind(status) && told();
  return newer ? { ...status, models: newer.models, draining: newer.draining } : status;
}

/** How often to ask. Events change the data all the time, which must not put that off. */
function statusPeriod({ state }: { state: QueryState<Status> }, client: QueryClient) {
  // A key that was refused stays refused until it is changed, which resets the queries.
  if (state.error instanceof ApiError && state.error.denied) return false;
  const connection = client.getQueryData<Connection>(keys.connection);
  if (connection?.phase !== "live" || !state.data) return STATUS_MS;
  return state.data.dependencies.length === 0 ? DEPENDENCIES_MS : STATUS_LIVE_MS;
}

export function useStatus() {
  const client = useQueryClient();
  return useQuery({
    queryKey: keys.status,
    queryFn: async ({ signal }) => {
      client.setQueryData(keys.asked, performance.now());
      const status = await newestStatus(client, signal);
      remember(client, [ofMachine(status)]);
      compareClocks(client, status.at);
      return status;
    },
    refetchInterval: (query) => {
      const period = statusPeriod(query, client);
      const waiting = query.state.fetchStatus === "fetching" || !focusManager.isFocused();
      if (!period || waiting) return period;
      const since = performance.now() - (client.getQueryData<number>(keys.asked) ?? 0);
      return Math.max(1, period - since);
    },
  });
}

/** The last five minutes: what the gateway remembers, and what has come since. */
export function useHistory(): Sample[] {
  const client = useQueryClient();
  useQuery({
    queryKey: keys.recalled,
    queryFn: async ({ signal }) => {
      const { samples } = await data(api.GET("/api/admin/history", { signal }));
      remember(client, samples.map(asSample));
      return samples.length;
    },
    staleTime: Number.POSITIVE_INFINITY,
  });
  return useCached<Sample[]>(keys.history, []);
}

export function useConnection(): Connection {
  return useCached<Connection>(keys.connection, { phase: "connecting", since: 0 });
}

/** Something that others write into the cache. */
export function useCached<T>(queryKey: readonly unknown[], initial: T): T {
  const client = useQueryClient();
  const query = useQuery<T>({
    queryKey,
    queryFn: () => client.getQueryData<T>(queryKey) ?? initial,
    initialData: initial,
    staleTime: Number.POSITIVE_INFINITY,
    enabled: false,
  });
  return query.data ?? initial;
}

export function useServed() {
  const client = useQueryClient();
  return useQuery({
    queryKey: keys.served,
    queryFn: ({ signal }) =>
      asked(
        client,
        async () => {
          const answer = await data(api.GET("/v1/models", { signal }));
          return (answer as unknown as { data: ServedModel[] }).data;
        },
        (_, before) => heard(client) !== before,
      ),
    // An operator hears of changes by the stream; who has an inference key only has to ask.
    refetchInterval: SERVED_MS,
  });
}

export interface RequestFilter {
  model?: string;
  outcome?: "completed" | "failed" | "cancelled" | "rejected";
  request_id?: string;
}

export function useRequests(filter: RequestFilter, limit: number) {
  return useQuery<Requests>({
    queryKey: [...keys.requests, filter, limit],
    queryFn: ({ signal }) =>
      data(api.GET("/api/admin/requests", { params: { query: { ...filter, limit } }, signal })),
    refetchInterval: 2_000,
    placeholderData: keepPreviousData,
  });
}

/** Forget a model that is not configured any more. */
export function dropModel(client: QueryClient, key: string): void {
  client.setQueryData<Status>(keys.status, (old) => {
    if (!old) return old;
    const { [key]: gone, ...models } = old.models;
    return gone ? { ...old, models } : old;
  });
  client.setQueryData<ServedModel[]>(keys.served, (old) => old?.filter(({ root }) => root !== key));
}

/** Put a model that the gateway has told us about where everybody looks. */
export function putModel(client: QueryClient, model: Model): void {
  client.setQueryData<Status>(keys.status, (old) =>
    old ? { ...old, models: { ...old.models, [model.key]: model } } : old,
  );
  client.setQueryData<ServedModel[]>(keys.served, (old) =>
    old?.map((entry) => (entry.root === model.key ? { ...entry, state: model.state } : entry)),
  );
}
