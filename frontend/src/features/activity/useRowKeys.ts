import { useEffect, useRef } from "react";
import { typing } from "../../lib/keys";

/** j and k go through the requests, whether one is open or not. */
export function useRowKeys(step: (by: 1 | -1) => void): void {
  const newest = useRef(step);
  newest.current = step;
  useEffect(() => {
    const onKey = (event: KeyboardEvent) => {
      if (event.ctrlKey || event.metaKey || event.altKey || typing(event.target)) return;
      if (event.key === "j") newest.current(1);
      else if (event.key === "k") newest.current(-1);
    };
    window.addEventListener("keydown", onKey);
    return () => window.removeEventListener("keydown", onKey);
  }, []);
}
