/** The Hugging Face token and the cache. A gateway without these answers 404: null here. */
import { useMutation, useQuery, useQueryClient } from "@tanstack/react-query";
import { send } from "./client";
import { ApiError } from "./errors";
import type { Cache, TokenStatus } from "./types";

const TOKEN = "/api/admin/huggingface/token";
const CACHE = "/api/admin/cache";

async function orNull<T>(answer: Promise<Response>): Promise<T | null> {
  try {
    return (await (await answer).json()) as T;
  } catch (error) {
    if (error instanceof ApiError && error.status === 404) return null;
    throw error;
  }
}

export function useToken() {
  return useQuery({
    queryKey: ["token"],
    queryFn: ({ signal }) => orNull<TokenStatus>(send(TOKEN, { signal })),
    staleTime: 60_000,
  });
}

/** Set the token, or with null remove it. */
export function useSetToken() {
  const client = useQueryClient();
  return useMutation({
    mutationFn: async (token: string | null) => {
      const json = { "content-type": "application/json" };
      const answer = await (token === null
        ? send(TOKEN, { method: "DELETE" })
        : send(TOKEN, { method: "POST", headers: json, body: JSON.stringify({ token }) }));
      return (await answer.json()) as TokenStatus;
    },
    onSuccess: (status) => client.setQueryData(["token"], status),
  });
}

export function useCache() {
  return useQuery({
    queryKey: ["cache"],
    queryFn: ({ signal }) => orNull<Cache>(send(CACHE, { signal })),
    refetchInterval: 15_000,
  });
}

export function useDeleteCached() {
  const client = useQueryClient();
  return useMutation({
    mutationFn: (repo: string) =>
      send(`${CACHE}/${repo.split("/").map(encodeURIComponent).join("/")}`, { method: "DELETE" }),
    onSettled: () => client.invalidateQueries({ queryKey: ["cache"] }),
  });
}
