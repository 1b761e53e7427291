/** Logs of the gateway and of the engines, followed by asking for what is new. */
import { useQuery, useQueryClient } from "@tanstack/react-query";
import { api, data } from "./client";
import type { LogEntry } from "./types";

const FOLLOW_MS = 1_500;
const KEPT = 2_000;

export type Level = "debug" | "info" | "warning" | "error" | "critical";

export function useEngineLog(key: string) {
  return useQuery({
    queryKey: ["engine-log", key],
    queryFn: ({ signal }) =>
      data(
        api.GET("/api/admin/models/{key}/logs", {
          params: { path: { key }, query: { lines: KEPT } },
          signal,
        }),
      ),
    refetchInterval: FOLLOW_MS,
  });
}

/** The gateway's lines; after the first answer only those above the last id are asked for. */
export function useGatewayLog(level: Level) {
  const client = useQueryClient();
  const queryKey = ["gateway-log", level];
  return useQuery({
    queryKey,
    queryFn: async ({ signal }) => {
      const old = client.getQueryData<LogEntry[]>(queryKey) ?? [];
      const after = old[old.length - 1]?.id ?? 0;
      const query = { level, after, limit: KEPT };
      const fresh = await data(api.GET("/api/admin/logs", { params: { query }, signal }));
      return [...old, ...fresh].slice(-KEPT);
    },
    refetchInterval: FOLLOW_MS,
  });
}
