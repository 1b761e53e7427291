import type { RequestRecord } from "../../api/types";
import { number } from "../../lib/format";

type Counted = Pick<RequestRecord, "prompt_tokens" | "completion_tokens" | "approximate">;

/** Tokens in / out; `~` before what the gateway counted because the engine did not say. */
export function tokensText(record: Counted, language: string): string {
  const text = (count: number | null) => (count === null ? "–" : number(count, language));
  const about = record.approximate && record.completion_tokens !== null ? "~" : "";
  return `${text(record.prompt_tokens)} / ${about}${text(record.completion_tokens)}`;
}
