import { useNavigate } from "@tanstack/react-router";
import { useEffect, useState } from "react";
import { typing } from "../lib/keys";
import { PAGES } from "./pages";

const SEQUENCE_MS = 1_200;

/** `?`, Ctrl-K and `g` followed by a page's letter; never while somebody types. */
export function useShortcuts() {
  const navigate = useNavigate();
  const [help, setHelp] = useState(false);
  const [palette, setPalette] = useState(false);

  useEffect(() => {
    let begun = 0;
    const onKey = (event: KeyboardEvent) => {
      if ((event.ctrlKey || event.metaKey) && event.key.toLowerCase() === "k") {
        event.preventDefault();
        setPalette((open) => !open);
        return;
      }
      if (typing(event.target) || event.ctrlKey || event.metaKey || event.altKey) return;
      const page = PAGES.find(({ letter }) => letter === event.key);
      if (event.key === "?") setHelp(true);
      else if (event.key === "g") begun = event.timeStamp;
      else if (page && begun && event.timeStamp - begun < SEQUENCE_MS)
        void navigate({ to: page.path });
      if (event.key !== "g") begun = 0;
    };
    window.addEventListener("keydown", onKey);
    return () => window.removeEventListener("keydown", onKey);
  }, [navigate]);

  return { help, palette, setHelp, setPalette };
}
