import { useEffect, useState } from "react";
import { useClockAhead } from "../api/queries";
import { useText } from "../i18n";
import { wholeSeconds } from "../lib/format";

/** Time since `since`, every second. All of these are Unix seconds, by the gateway's clock. */
export function Elapsed({ since }: { since: number }) {
  const { language } = useText();
  return <>{wholeSeconds(useNow() + useClockAhead() - since, language)}</>;
}

/** Time until `at`, every second. */
export function Remaining({ at }: { at: number }) {
  const { language } = useText();
  return <>{wholeSeconds(at - useNow() - useClockAhead(), language)}</>;
}

/** Time since `since` by this browser's clock: of what was begun here. */
export function Stopwatch({ since }: { since: number }) {
  const { language } = useText();
  return <>{wholeSeconds(useNow() - since, language)}</>;
}

function useNow(): number {
  const [now, setNow] = useState(() => Date.now() / 1000);
  useEffect(() => {
    const timer = window.setInterval(() => setNow(Date.now() / 1000), 1_000);
    return () => window.clearInterval(timer);
  }, []);
  return now;
}
