import { useEffect, useState } from "react";
import { useText } from "../i18n";
import { wholeSeconds } from "../lib/format";

/** Time since `since` (Unix seconds), every second. */
export function Elapsed({ since }: { since: number }) {
  const { language } = useText();
  return <>{wholeSeconds(useNow() - since, language)}</>;
}

/** Time until `at` (Unix seconds), every second. */
export function Remaining({ at }: { at: number }) {
  const { language } = useText();
  return <>{wholeSeconds(at - useNow(), language)}</>;
}

function useNow(): number {
  const [now, setNow] = useState(() => Date.now() / 1000);
  useEffect(() => {
    const timer = window.setInterval(() => setNow(Date.now() / 1000), 1_000);
    return () => window.clearInterval(timer);
  }, []);
  return now;
}
