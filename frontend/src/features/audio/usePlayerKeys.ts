import { useEffect } from "react";
import type { Clock } from "./clock";

export const SEEK_S = 5;
/** What needs these keys for itself. */
const OWN_KEYS =
  "input, textarea, select, button, a, [role=tab], [role=slider], [role=dialog], [contenteditable]";

/** Space plays, the arrows go back and forward, wherever nothing else wants them. */
export function usePlayerKeys(clock: Clock): void {
  useEffect(() => {
    const onKey = (event: KeyboardEvent) => {
      const target = event.target;
      if (event.ctrlKey || event.metaKey || event.altKey) return;
      if (target instanceof Element && target.closest(OWN_KEYS)) return;
      const step = { ArrowLeft: -SEEK_S, ArrowRight: SEEK_S }[event.key];
      if (event.key === " ") clock.toggle();
      else if (step) clock.seek(clock.now() + step);
      else return;
      event.preventDefault();
    };
    window.addEventListener("keydown", onKey);
    return () => window.removeEventListener("keydown", onKey);
  }, [clock]);
}
