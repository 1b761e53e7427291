import { useRef } from "react";

const WINDOW_MS = 10_000;

export interface Mark {
  at: number;
  done: number;
}

/** Bytes per second over the last marks; null until two differ in time. */
export function rateOf(marks: Mark[]): number | null {
  const first = marks[0];
  const last = marks[marks.length - 1];
  if (!first || !last || last.at - first.at < 500 || last.done <= first.done) return null;
  return ((last.done - first.done) / (last.at - first.at)) * 1000;
}

/** How fast `done` grows, from what was seen here; null while that is not known. */
export function useRate(done: number | null): number | null {
  const marks = useRef<Mark[]>([]);
  const now = Date.now();
  const last = marks.current[marks.current.length - 1];
  if (done === null || (last && done < last.done)) marks.current = [];
  else if (!last || last.done !== done)
    marks.current = [...marks.current.filter(({ at }) => now - at < WINDOW_MS), { at: now, done }];
  return rateOf(marks.current);
}
