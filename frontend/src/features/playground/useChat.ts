import { useCallback, useEffect, useRef, useState } from "react";
import { type Asked, chat } from "../../api/chat";
import { toApiError } from "../../api/errors";
import { useKept } from "../../api/kept-state";
import {
  buildRequest,
  type ChatRequest,
  type Parameters,
  type Stats,
  type Turn,
} from "../../lib/chat";
import { perFrame } from "../../lib/frame";

export interface Live {
  text: string;
  reasoning: string;
  pieces: number;
  started: number;
  first: number | null;
}

export interface Sent {
  request: ChatRequest;
  raw: string[];
  requestId: string | null;
}

const NO_TURNS: Turn[] = [];

/** The conversation: what was said, what is being said, and how to say and stop. */
export function useChat(parameters: Parameters) {
  const [turns, setTurns] = useKept<Turn[]>("turns", NO_TURNS);
  const [sent, setSent] = useKept<Sent | null>("sent", null);
  const [live, setLive] = useState<Live | null>(null);
  const abort = useRef<AbortController | null>(null);

  const ask = useCallback(
    async (more: Turn[]) => {
      const said = [...turns, ...more];
      const request = buildRequest(said, parameters);
      const controller = new AbortController();
      abort.current = controller;
      setTurns(said);
      let asked: Asked | null = null;
      const paint = perFrame((now: Asked) => {
        const { answer, started, first } = now;
        const { text, reasoning, pieces } = answer;
        setLive({ text, reasoning, pieces, started, first });
      });
      let error: string | null = null;
      try {
        asked = await chat(request, controller.signal, (now) => {
          asked = now;
          paint.push(now);
        });
        error = asked.answer.error;
      } catch (problem) {
        if (!controller.signal.aborted) error = describe(problem);
      }
      paint.stop();
      const end = asked as Asked | null;
      setLive(null);
      if (abort.current !== controller) return; // cleared meanwhile
      setSent({ request, raw: end?.raw ?? [], requestId: end?.requestId ?? null });
      setTurns([...said, turnOf(end, error, controller.signal.aborted)]);
    },
    [turns, parameters, setTurns, setSent],
  );

  const stop = useCallback(() => abort.current?.abort(), []);
  const clear = useCallback(() => {
    abort.current?.abort();
    abort.current = null;
    setTurns(NO_TURNS);
    setSent(null);
  }, [setTurns, setSent]);
  useEffect(() => () => abort.current?.abort(), []);

  return { turns, live, sent, ask, stop, clear };
}

function describe(problem: unknown): string {
  const { message, requestId } = toApiError(problem);
  return requestId ? `${message} (${requestId})` : message;
}

function turnOf(asked: Asked | null, error: string | null, stopped: boolean): Turn {
  const answer = asked?.answer;
  return {
    role: "assistant",
    text: answer?.text ?? "",
    reasoning: answer?.reasoning ?? "",
    calls: answer?.calls ?? [],
    stats: asked && answer ? statsOf(asked, stopped) : null,
    error,
  };
}

function statsOf(asked: Asked, stopped: boolean): Stats {
  const { answer, started, first } = asked;
  return {
    first: first === null ? null : (first - started) / 1000,
    total: (performance.now() - started) / 1000,
    tokens: answer.tokens ?? answer.pieces,
    approximate: answer.tokens === null,
    finish: answer.finish ?? (stopped ? "stopped" : null),
  };
}
