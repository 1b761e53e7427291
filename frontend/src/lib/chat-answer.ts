/** What a streaming answer has come to so far. */
import type { ToolCall } from "./chat";

interface CallDelta {
  index?: number;
  id?: string;
  function?: { name?: string; arguments?: string };
}

interface Part {
  content?: string | null;
  reasoning?: string | null;
  reasoning_content?: string | null;
  tool_calls?: CallDelta[] | null;
}

export interface Chunk {
  choices?: { delta?: Part; message?: Part; finish_reason?: string | null }[];
  usage?: { completion_tokens?: number } | null;
  error?: { message?: string };
}

export class Answer {
  text = "";
  reasoning = "";
  finish: string | null = null;
  /** From the engine; null until it has said. */
  tokens: number | null = null;
  /** Pieces with content: about as many tokens. */
  pieces = 0;
  error: string | null = null;
  #calls = new Map<number, ToolCall>();

  get calls(): ToolCall[] {
    return [...this.#calls.values()];
  }

  get begun(): boolean {
    return this.pieces > 0;
  }

  /** Take in a chunk of a stream, or a whole answer. */
  add(chunk: Chunk): void {
    if (chunk.error) this.error = chunk.error.message ?? "error";
    if (chunk.usage?.completion_tokens !== undefined) this.tokens = chunk.usage.completion_tokens;
    const choice = chunk.choices?.[0];
    if (!choice) return;
    if (choice.finish_reason) this.finish = choice.finish_reason;
    const part = choice.delta ?? choice.message ?? {};
    const thought = part.reasoning ?? part.reasoning_content ?? "";
    this.text += part.content ?? "";
    this.reasoning += thought;
    for (const [position, delta] of (part.tool_calls ?? []).entries())
      this.#addCall(delta.index ?? position, delta);
    if (part.content || thought || part.tool_calls?.length) this.pieces += 1;
  }

  #addCall(index: number, delta: CallDelta): void {
    const call = this.#calls.get(index) ?? { id: "", name: "", arguments: "" };
    this.#calls.set(index, {
      id: delta.id ?? call.id,
      name: call.name + (delta.function?.name ?? ""),
      arguments: call.arguments + (delta.function?.arguments ?? ""),
    });
  }
}
