import { useEffect, useState } from "react";
import { useText } from "../i18n";
import { wholeSeconds } from "../lib/format";

/** Time since `since` (Unix seconds), every second. */
export function Elapsed({ since }: { since: number }) {
  const { language } = useText();
  const [now, setNow] = useState(() => Date.now() / 1000);
  useEffect(() => {
    const timer = window.setInterval(() => setNow(Date.now() / 1000), 1_000);
    return () => window.clearInterval(timer);
  }, []);
  return <>{wholeSeconds(now - since, language)}</>;
}
