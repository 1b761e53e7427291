import type { MantineColorScheme, MantineColorSchemeManager } from "@mantine/core";
import { keep, kept } from "../lib/storage";

/** The name that `before-paint.js` reads too. */
const NAME = "gateway.scheme";
const isScheme = (text: string | null): text is MantineColorScheme =>
  text === "light" || text === "dark" || text === "auto";

export const schemeManager: MantineColorSchemeManager = {
  get: (fallback) => {
    const chosen = kept(NAME);
    return isScheme(chosen) ? chosen : fallback;
  },
  set: (value) => {
    keep(NAME, value);
  },
  subscribe: () => undefined,
  unsubscribe: () => undefined,
  clear: () => {
    keep(NAME, null);
  },
};
