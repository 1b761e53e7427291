import { useCallback, useEffect, useRef, useState } from "react";
import { chat } from "../../api/chat";
import { BATCH, readObject, rolesRequest, translationRequest } from "../../lib/assist";
import type { ChatRequest } from "../../lib/chat";
import type { Segment } from "../../lib/transcript";

/** Asks the chat model about a transcript; what it says are suggestions. */
export function useAssist(model: string, segments: Segment[]) {
  const [busy, setBusy] = useState<"roles" | "translate" | null>(null);
  const [suggested, setSuggested] = useState<Record<string, string> | null>(null);
  const [progress, setProgress] = useState({ done: 0, total: 0 });
  const [unusable, setUnusable] = useState(false);
  const [error, setError] = useState<unknown>(null);
  const abort = useRef<AbortController | null>(null);

  const run = useCallback(
    async (what: "roles" | "translate", work: (signal: AbortSignal) => Promise<void>) => {
      const controller = new AbortController();
      abort.current = controller;
      setBusy(what);
      setUnusable(false);
      setError(null);
      try {
        await work(controller.signal);
      } catch (problem) {
        if (!controller.signal.aborted) setError(problem);
      }
      setBusy(null);
    },
    [],
  );

  const roles = (speakers: string[], language: string) =>
    run("roles", async (signal) => {
      const answer = await ask(rolesRequest(model, segments, speakers, language), signal);
      const names = readObject(answer, speakers);
      setSuggested(names);
      setUnusable(names === null);
    });

  const translate = (target: string, onLines: (lines: Record<number, string>) => void) =>
    run("translate", async (signal) => {
      for (let from = 0; from < segments.length; from += BATCH) {
        setProgress({ done: from, total: segments.length });
        const lines = Object.fromEntries(
          segments.slice(from, from + BATCH).map(({ text }, index) => [from + index, text]),
        );
        const answer = await ask(translationRequest(model, lines, target), signal);
        const found = readObject(answer, Object.keys(lines));
        if (found) onLines(found as Record<number, string>);
        if (Object.keys(found ?? {}).length < Object.keys(lines).length) setUnusable(true);
      }
    });

  const stop = useCallback(() => abort.current?.abort(), []);
  useEffect(() => stop, [stop]);
  const dismiss = () => setSuggested(null);
  return { busy, suggested, progress, unusable, error, roles, translate, stop, dismiss };
}

async function ask(request: ChatRequest, signal: AbortSignal): Promise<string> {
  const { answer } = await chat(request, signal, () => undefined);
  return answer.text;
}
