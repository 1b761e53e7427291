/** Ask a model and tell about the answer as it grows. */

import type { ChatRequest } from "../lib/chat";
import { Answer, type Chunk } from "../lib/chat-answer";
import { sseEvents } from "../lib/sse";
import { send } from "./client";

export interface Asked {
  answer: Answer;
  /** What came over the wire, for the raw view. */
  raw: string[];
  requestId: string | null;
  /** Milliseconds of `performance.now()`. */
  started: number;
  first: number | null;
}

/** Throws ApiError; an abort throws too, and what had come until then is in `asked`. */
export async function chat(
  request: ChatRequest,
  signal: AbortSignal,
  onChange: (asked: Asked) => void,
): Promise<Asked> {
  const asked: Asked = {
    answer: new Answer(),
    raw: [],
    requestId: null,
    started: performance.now(),
    first: null,
  };
  onChange(asked);
  const response = await send("/v1/chat/completions", {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify(request),
    signal,
  });
  asked.requestId = response.headers.get("x-request-id");
  const take = (data: string) => {
    asked.raw.push(data);
    if (data === "[DONE]") return;
    asked.answer.add(JSON.parse(data) as Chunk);
    if (asked.first === null && asked.answer.begun) asked.first = performance.now();
    onChange(asked);
  };
  if (request.stream && response.body)
    for await (const event of sseEvents(response.body)) take(event.data);
  else take(await response.text());
  return asked;
}
