/** The API key: in `localStorage`, or only in memory when the browser refuses to keep it. */
import { useSyncExternalStore } from "react";
import { keep, kept } from "../lib/storage";

const NAME = "gateway.key";

export interface KeyState {
  key: string;
  /** False: it is forgotten when the page is closed. */
  stored: boolean;
}

let state: KeyState = { key: kept(NAME) ?? "", stored: true };
const listeners = new Set<() => void>();

export const currentKey = (): string => state.key;

export function setKey(key: string): void {
  const wanted = key.trim();
  state = { key: wanted, stored: keep(NAME, wanted || null) };
  for (const listener of listeners) listener();
}

function subscribe(listener: () => void): () => void {
  listeners.add(listener);
  return () => listeners.delete(listener);
}

export const onKeyChange = subscribe;

export function useKey(): KeyState {
  return useSyncExternalStore(subscribe, () => state);
}

/** Take the key from a `#key=` link and remove it from the address bar and the history. */
export function takeKeyFromAddress(): boolean {
  const found = /^#(?:.*&)?key=([^&]+)/.exec(window.location.hash);
  if (!found?.[1]) return false;
  let key = found[1];
  try {
    key = decodeURIComponent(key);
  } catch {
    // A percent sign that was meant literally.
  }
  setKey(key);
  window.history.replaceState(null, "", window.location.pathname + window.location.search);
  return true;
}
