/** One small request per task. Pure. */
import type { Kind } from "../../lib/endpoints";
import { chatSnippets, formSnippets, type Snippets, type Target } from "../../lib/snippets";

const RED_SQUARE =
  "data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAACAAAAAgCAIAAAD8GO2jAAAAKElEQVR4nO3NsQ0AAAzCMP5/un0CNkuZ41wybXsHAAAAAAAAAAAAxR4yw/wuPL6QkAAAAABJRU5ErkJggg==";

export type Task =
  | "chat"
  | "stream"
  | "vision"
  | "tools"
  | "transcription"
  | "diarized"
  | "diarization";

/** Which kind of model a task wants, and how it is called where none is configured. */
export const TASKS: Record<Task, { kind: Kind; usual: string }> = {
  chat: { kind: "chat", usual: "qwen" },
  stream: { kind: "chat", usual: "qwen" },
  vision: { kind: "chat", usual: "qwen" },
  tools: { kind: "chat", usual: "qwen" },
  transcription: { kind: "asr", usual: "canary" },
  diarized: { kind: "asr", usual: "canary" },
  diarization: { kind: "diarization", usual: "pyannote" },
};

const user = (content: unknown) => [{ role: "user", content }];

export function snippetsOf(task: Task, model: string, target: Target): Snippets {
  const file = "meeting.wav";
  const transcribe = (fields: [string, string][]) =>
    formSnippets(
      { path: "/v1/audio/transcriptions", file, fields: [["model", model], ...fields] },
      target,
    );
  switch (task) {
    case "chat":
      return chatSnippets({ model, messages: user("What is the capital of France?") }, target);
    case "stream":
      return chatSnippets(
        { model, messages: user("Tell me a short story."), stream: true },
        target,
      );
    case "vision":
      return chatSnippets(
        {
          model,
          messages: user([
            { type: "image_url", image_url: { url: RED_SQUARE } },
            { type: "text", text: "What colour is this image?" },
          ]),
        },
        target,
      );
    case "tools":
      return chatSnippets(
        {
          model,
          messages: user("What is the weather in Lyon?"),
          tools: [
            {
              type: "function",
              function: {
                name: "get_weather",
                parameters: { type: "object", properties: { city: { type: "string" } } },
              },
            },
          ],
        },
        target,
      );
    case "transcription":
      return transcribe([
        ["response_format", "verbose_json"],
        ["timestamp_granularities[]", "word"],
        ["timestamp_granularities[]", "segment"],
      ]);
    case "diarized":
      return transcribe([["response_format", "diarized_json"]]);
    case "diarization":
      return formSnippets(
        { path: "/v1/audio/diarizations", file, fields: [["model", model]] },
        target,
      );
  }
}
