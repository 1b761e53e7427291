import { useCallback, useEffect, useRef, useState } from "react";
import { type Stage, transcribe, type Wanted } from "../../api/audio";
import type { Transcript } from "../../lib/transcript";

export interface Work {
  stage: Stage;
  /** Unix seconds. */
  since: number;
  diarize: boolean;
  model: string;
}

export function useTranscription(onDone: (wanted: Wanted, transcript: Transcript) => void) {
  const [work, setWork] = useState<Work | null>(null);
  const [error, setError] = useState<unknown>(null);
  const abort = useRef<AbortController | null>(null);

  const start = useCallback(
    async (wanted: Wanted) => {
      const controller = new AbortController();
      abort.current = controller;
      const since = Date.now() / 1000;
      const { diarize, model } = wanted;
      const tell = (stage: Stage) => setWork({ stage, since, diarize, model });
      setError(null);
      tell({ name: "upload", done: 0, total: wanted.file.size });
      try {
        const transcript = await transcribe(wanted, controller.signal, tell);
        onDone(wanted, transcript);
      } catch (problem) {
        if (!controller.signal.aborted) setError(problem);
      }
      setWork(null);
    },
    [onDone],
  );
  const stop = useCallback(() => abort.current?.abort(), []);
  useEffect(() => stop, [stop]);
  return { work, error, start, stop };
}
