/** State that survives a change of page: it lives in the query cache, like everything else. */
import { useQueryClient } from "@tanstack/react-query";
import { useCallback } from "react";
import { useCached } from "./queries";

type Update<T> = T | ((old: T) => T);

export function useKept<T>(name: string, initial: T): [T, (update: Update<T>) => void] {
  const client = useQueryClient();
  const value = useCached<T>(["local", name], initial);
  const set = useCallback(
    (update: Update<T>) => {
      client.setQueryData<T>(["local", name], (old) =>
        typeof update === "function"
          ? (update as (old: T) => T)(old === undefined ? initial : old)
          : update,
      );
    },
    [client, name, initial],
  );
  return [value, set];
}
