import { useEffect, useState } from "react";
import { useText } from "../i18n";
import { duration } from "../lib/format";

/** Time since `since` (Unix seconds), every second. */
export function Elapsed({ since }: { since: number }) {
  const { language } = useText();
  const [now, setNow] = useState(() => Date.now() / 1000);
  useEffect(() => {
    const timer = window.setInterval(() => setNow(Date.now() / 1000), 1_000);
    return () => window.clearInterval(timer);
  }, []);
  return <>{duration(Math.max(0, Math.floor(now - since)), language).replace(/^0 ms$/, "0 s")}</>;
}
