/** A conversation and the request that is made from it. Pure. */

export interface ToolCall {
  id: string;
  name: string;
  arguments: string;
}

export interface Stats {
  /** Seconds until the first token, and in all. */
  first: number | null;
  total: number;
  tokens: number | null;
  /** Tokens were counted from what came, for want of a `usage`. */
  approximate: boolean;
  finish: string | null;
}

export type Turn =
  | { role: "user"; text: string; images: string[] }
  | {
      role: "assistant";
      text: string;
      reasoning: string;
      calls: ToolCall[];
      stats: Stats | null;
      error: string | null;
    }
  | { role: "tool"; id: string; name: string; text: string };

export interface Parameters {
  model: string;
  system: string;
  temperature: number | null;
  topP: number | null;
  maxTokens: number | null;
  seed: number | null;
  stream: boolean;
  /** A JSON array as it is typed. */
  tools: string;
}

export interface ChatRequest {
  model: string;
  messages: Record<string, unknown>[];
  [field: string]: unknown;
}

/** The object that is sent, and of which the snippets are made. Throws SyntaxError for bad tools. */
export function buildRequest(turns: Turn[], wanted: Parameters): ChatRequest {
  const system = wanted.system.trim();
  const messages = turns.filter((turn) => turn.role !== "assistant" || !turn.error).map(message);
  const tools = parseTools(wanted.tools);
  return {
    model: wanted.model,
    messages: system ? [{ role: "system", content: system }, ...messages] : messages,
    ...(wanted.temperature === null ? {} : { temperature: wanted.temperature }),
    ...(wanted.topP === null ? {} : { top_p: wanted.topP }),
    ...(wanted.maxTokens === null ? {} : { max_tokens: wanted.maxTokens }),
    ...(wanted.seed === null ? {} : { seed: wanted.seed }),
    ...(tools.length > 0 ? { tools } : {}),
    ...(wanted.stream ? { stream: true, stream_options: { include_usage: true } } : {}),
  };
}

function message(turn: Turn): Record<string, unknown> {
  if (turn.role === "tool") return { role: "tool", tool_call_id: turn.id, content: turn.text };
  if (turn.role === "assistant")
    return {
      role: "assistant",
      content: turn.text,
      ...(turn.calls.length > 0
        ? {
            tool_calls: turn.calls.map((call) => ({
              id: call.id,
              type: "function",
              function: { name: call.name, arguments: call.arguments },
            })),
          }
        : {}),
    };
  if (turn.images.length === 0) return { role: "user", content: turn.text };
  const images = turn.images.map((url) => ({ type: "image_url", image_url: { url } }));
  const text = turn.text ? [{ type: "text", text: turn.text }] : [];
  return { role: "user", content: [...images, ...text] };
}

export function parseTools(text: string): unknown[] {
  if (!text.trim()) return [];
  const tools: unknown = JSON.parse(text);
  if (!Array.isArray(tools)) throw new SyntaxError("[ … ]");
  return tools;
}

const ELIDED_FROM = 120;

/** The same with long data URLs cut, for the eye only. */
export function elide(json: string): string {
  return json.replace(/(data:[\w/+.-]+;base64,)([A-Za-z0-9+/=]+)/g, (whole, head: string, body) =>
    whole.length > ELIDED_FROM
      ? `${head}${String(body).slice(0, 24)}… (${Math.round(whole.length / 1000)} kB)`
      : whole,
  );
}
