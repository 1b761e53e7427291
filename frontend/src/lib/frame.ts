/** Calls `act` with the newest value at most once per animation frame. */
export function perFrame<T>(act: (value: T) => void): {
  push: (value: T) => void;
  stop: () => void;
} {
  let frame = 0;
  let latest: { value: T } | null = null;
  const run = () => {
    frame = 0;
    if (latest) act(latest.value);
    latest = null;
  };
  return {
    push(value) {
      latest = { value };
      if (!frame) frame = requestAnimationFrame(run);
    },
    stop() {
      cancelAnimationFrame(frame);
      frame = 0;
      latest = null;
    },
  };
}
