/** What an operator does to a model. The stream may have told of more by the time of the answer. */
import { useMutation, useQueryClient } from "@tanstack/react-query";
import { api, data } from "./client";
import { keys } from "./queries";
import type { Model } from "./types";

export type Command = "download" | "load" | "unload" | "cancel";

export interface Placement {
  gpu_device_ids?: number[] | null;
  /** "auto": as many as fit. */
  replicas?: number | "auto" | null;
}

export function command(key: string, name: Command, placement?: Placement): Promise<Model> {
  const params = { path: { key } };
  if (name === "load")
    return data(api.POST("/api/admin/models/{key}/load", { params, body: placement ?? null }));
  if (name === "unload") return data(api.POST("/api/admin/models/{key}/unload", { params }));
  if (name === "cancel") return data(api.POST("/api/admin/models/{key}/cancel", { params }));
  return data(api.POST("/api/admin/models/{key}/download", { params }));
}

export function useCommand(key: string) {
  const client = useQueryClient();
  return useMutation({
    mutationFn: ({ name, placement }: { name: Command; placement?: Placement }) =>
      command(key, name, placement),
    onSettled: () => void client.invalidateQueries({ queryKey: keys.status }),
  });
}

/** Read MODELS_FILE again; with `restart`, engines that a change needs started anew are. */
export function useReload() {
  const client = useQueryClient();
  return useMutation({
    mutationFn: (restart: boolean) =>
      data(api.POST("/api/admin/models/reload", { params: { query: { restart } } })),
    onSettled: () => {
      void client.invalidateQueries({ queryKey: keys.status });
      void client.invalidateQueries({ queryKey: keys.served });
    },
  });
}

export function useCancelRequest() {
  const client = useQueryClient();
  return useMutation({
    mutationFn: (request_id: string) =>
      data(
        api.POST("/api/admin/requests/{request_id}/cancel", { params: { path: { request_id } } }),
      ),
    onSettled: () => client.invalidateQueries({ queryKey: keys.requests }),
  });
}
