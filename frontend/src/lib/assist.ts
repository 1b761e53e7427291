/** What is asked of the chat model about a transcript, and how its answers are read. Pure. */
import type { ChatRequest } from "./chat";
import type { Segment } from "./transcript";

const MOST_CHARACTERS = 6_000;
export const BATCH = 12;

const ROLE_CHARACTERS = 60;
/** A translation may be twice as long as its source, and somewhat more where that is short. */
const LONGER = 2;
const LONGER_CHARACTERS = 30;

/** Strings by name, each with the most characters it may have: without, a model may never end one. */
const object = (most: Record<string, number>) => ({
  type: "object",
  properties: Object.fromEntries(
    Object.entries(most).map(([name, maxLength]) => [name, { type: "string", maxLength }]),
  ),
  required: Object.keys(most),
  additionalProperties: false,
});

const structured = (name: string, most: Record<string, number>) => ({
  type: "json_schema",
  json_schema: { name, schema: object(most) },
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
    response_format: structured(
      "roles",
      Object.fromEntries(speakers.map((name) => [name, ROLE_CHARACTERS])),
    ),
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
    response_format: structured(
      "translation",
      Object.fromEntries(
        Object.entries(lines).map(([key, text]) => [key, LONGER * text.length + LONGER_CHARACTERS]),
      ),
    ),
  };
}

/** The strings under the expected keys, from an answer that was cut off too; null: there are none. */
export function readObject(answer: string, keys: string[]): Record<string, string> | null {
  const found = wholeObject(answer) ?? pairs(answer);
  const entries = keys.flatMap((key): [string, string][] => {
    const value = found[key];
    return typeof value === "string" && value.trim() ? [[key, value.trim()]] : [];
  });
  return entries.length > 0 ? Object.fromEntries(entries) : null;
}

function wholeObject(answer: string): Record<string, unknown> | null {
  try {
    return JSON.parse(/\{[\s\S]*\}/.exec(answer)?.[0] ?? "") as Record<string, unknown>;
  } catch {
    return null;
  }
}

/** Every name with a string that is complete. */
function pairs(answer: string): Record<string, unknown> {
  const found = answer.matchAll(/"((?:[^"\\\n]|\\.)+)"\s*:\s*("(?:[^"\\\n]|\\.)*")/g);
  return Object.fromEntries(
    [...found].flatMap(([, name = "", value = ""]) => {
      try {
        return [[name, JSON.parse(value) as unknown]];
      } catch {
        return [];
      }
    }),
  );
}
