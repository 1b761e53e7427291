import type { IconName } from "../components/Icon";

/** The six entries, their letters after `g`. The gateway knows the same addresses. */
export const PAGES = [
  { name: "overview", path: "/", letter: "o" },
  { name: "models", path: "/models", letter: "m" },
  { name: "playground", path: "/playground", letter: "p" },
  { name: "audio", path: "/audio", letter: "a" },
  { name: "activity", path: "/activity", letter: "r" },
  { name: "reference", path: "/reference", letter: "d" },
] as const satisfies readonly { name: IconName; path: string; letter: string }[];
