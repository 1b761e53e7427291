/** The player's time, told to listeners and never kept in React state: it changes 60 times a second. */
import { type RefObject, useEffect, useMemo } from "react";

export interface Clock {
  subscribe: (listener: (time: number) => void) => () => void;
  now: () => number;
  seek: (time: number) => void;
  toggle: () => void;
}

export function useClock(audio: RefObject<HTMLAudioElement | null>): Clock {
  const listeners = useMemo(() => new Set<(time: number) => void>(), []);
  const clock = useMemo<Clock>(() => {
    const tell = () => {
      const time = audio.current?.currentTime ?? 0;
      for (const listener of listeners) listener(time);
    };
    return {
      subscribe(listener) {
        listeners.add(listener);
        listener(audio.current?.currentTime ?? 0);
        return () => listeners.delete(listener);
      },
      now: () => audio.current?.currentTime ?? 0,
      seek(time) {
        if (!audio.current) return;
        const { duration } = audio.current;
        const end = Number.isFinite(duration) ? duration : time;
        audio.current.currentTime = Math.max(0, Math.min(time, end));
        tell();
      },
      toggle() {
        if (audio.current?.paused) void audio.current.play();
        else audio.current?.pause();
      },
    };
  }, [audio, listeners]);

  useEffect(() => {
    const element = audio.current;
    if (!element) return;
    let frame = 0;
    const tick = () => {
      for (const listener of listeners) listener(element.currentTime);
      frame = element.paused ? 0 : requestAnimationFrame(tick);
    };
    const start = () => {
      if (!frame) frame = requestAnimationFrame(tick);
    };
    const events = ["play", "pause", "seeked", "loadedmetadata"] as const;
    for (const name of events) element.addEventListener(name, start);
    return () => {
      cancelAnimationFrame(frame);
      for (const name of events) element.removeEventListener(name, start);
    };
  }, [audio, listeners]);
  return clock;
}
