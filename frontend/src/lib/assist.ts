/** What is asked of the chat model about a transcript, and how its answers are read. Pure. */
import type { ChatRequest } from "./chat";
import type { Segment } from "./transcript";

const MOST_CHARACTERS = 6_000;
export const BATCH = 12;

const object = (names: string[]) => ({
  type: "object",
  properties: Object.fromEntries(names.map((name) => [name, { type: "string" }])),
  required: names,
  additionalProperties: false,
});

const structured = (name: string, schema: unknown) => ({
  type: "json_schema",
  json_schema: { name, schema },
});

/** Asks for a role or a name of each speaker. */
export function rolesRequest(
  model: string,
  segments: Segment[],
  speakers: string[],
  language: string,
): ChatRequest {
  const lines = segments.map(({ speaker, text }) => `${speaker ?? "?"}: ${text}`).join("\n");
  return {
    model,
    messages: [
      {
        role: "system",
        content: `You read a transcript and say in a word or two who each speaker is: a name if one is said, else a role. Answer in the language "${language}" with a JSON object from speaker to role.`,
      },
      { role: "user", content: lines.slice(0, MOST_CHARACTERS) },
    ],
    temperature: 0,
    response_format: structured("roles", object(speakers)),
  };
}

/** Asks for a translation of some segments, by their numbers. */
export function translationRequest(
  model: string,
  lines: Record<number, string>,
  target: string,
): ChatRequest {
  return {
    model,
    messages: [
      {
        role: "system",
        content: `Translate each value into ${target}. Answer with a JSON object that has the same keys.`,
      },
      { role: "user", content: JSON.stringify(lines) },
    ],
    temperature: 0,
    response_format: structured("translation", object(Object.keys(lines))),
  };
}

/** The strings under the expected keys; null when the answer is no such object. */
export function readObject(answer: string, keys: string[]): Record<string, string> | null {
  const body = /\{[\s\S]*\}/.exec(answer)?.[0];
  if (!body) return null;
  try {
    const found = JSON.parse(body) as Record<string, unknown>;
    const entries = keys.flatMap((key): [string, string][] => {
      const value = found[key];
      return typeof value === "string" && value.trim() ? [[key, value.trim()]] : [];
    });
    return entries.length > 0 ? Object.fromEntries(entries) : null;
  } catch {
    return null;
  }
}
