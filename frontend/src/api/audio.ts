/** Send a recording and tell how it goes. XMLHttpRequest, for `fetch` does not count an upload. */
import { SseParser } from "../lib/sse";
import {
  parseTranscript,
  type Transcript,
  type WireSegment,
  type WireTranscript,
} from "../lib/transcript";
import { authorization } from "./client";
import { ApiError, errorFrom } from "./errors";

export interface KnownSpeaker {
  name: string;
  /** A sample of the voice as a data URL. */
  sample: string;
}

export interface Wanted {
  file: File;
  model: string;
  translate: boolean;
  /** Needs a diarization model; not together with `translate`. */
  diarize: boolean;
  language: string | null;
  speakers: number | null;
  known: KnownSpeaker[];
}

/** What can be said truthfully while it works. */
export type Stage =
  | { name: "upload"; done: number; total: number }
  | { name: "listen"; text: string }
  | { name: "speakers"; text: string };

const PEAK_COLUMNS = 4_000;

/** Path and fields of the form, in the order in which they are sent. */
export function formOf(wanted: Wanted): { path: string; fields: [string, string][] } {
  const fields: [string, string][] = [["model", wanted.model]];
  if (wanted.language) fields.push(["language", wanted.language]);
  fields.push(["response_format", wanted.diarize ? "diarized_json" : "verbose_json"]);
  fields.push(["timestamp_granularities[]", "word"], ["timestamp_granularities[]", "segment"]);
  if (wanted.diarize) {
    fields.push(["stream", "true"]);
    if (wanted.speakers !== null) fields.push(["num_speakers", String(wanted.speakers)]);
    for (const { name, sample } of wanted.known)
      fields.push(["known_speaker_names[]", name], ["known_speaker_references[]", sample]);
  }
  fields.push(["peaks", String(PEAK_COLUMNS)]);
  return { path: `/v1/audio/${wanted.translate ? "translations" : "transcriptions"}`, fields };
}

/** Throws ApiError; an abort throws DOMException. */
export function transcribe(
  wanted: Wanted,
  signal: AbortSignal,
  onStage: (stage: Stage) => void,
): Promise<Transcript> {
  const { path, fields } = formOf(wanted);
  const form = new FormData();
  for (const [name, value] of fields) form.append(name, value);
  form.append("file", wanted.file, wanted.file.name);
  const events = new EventReader(onStage);

  return new Promise((resolve, reject) => {
    const request = new XMLHttpRequest();
    request.open("POST", path);
    for (const [name, value] of Object.entries(authorization()))
      request.setRequestHeader(name, value);
    request.upload.onprogress = ({ loaded, total }) =>
      onStage({ name: "upload", done: loaded, total });
    request.upload.onload = () => onStage({ name: "listen", text: "" });
    const streams = () =>
      request.getResponseHeader("content-type")?.startsWith("text/event-stream");
    request.onprogress = () => {
      if (request.status === 200 && streams()) events.feed(request.responseText);
    };
    request.onload = () => {
      try {
        if (request.status !== 200) {
          reject(
            errorFrom(request.status, tryJson(request.responseText), (name) =>
              request.getResponseHeader(name),
            ),
          );
        } else if (streams()) {
          events.feed(request.responseText);
          resolve(events.result());
        } else resolve(parseTranscript(JSON.parse(request.responseText) as WireTranscript));
      } catch (error) {
        reject(error);
      }
    };
    request.onerror = () => reject(new ApiError(0, "The connection broke."));
    request.onabort = () => reject(new DOMException("aborted", "AbortError"));
    signal.addEventListener("abort", () => request.abort(), { once: true });
    request.send(form);
  });
}

function tryJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return null;
  }
}

type Event =
  | { type: "transcript.text.delta"; delta: string }
  | ({ type: "transcript.text.segment" } & WireSegment)
  | ({ type: "transcript.text.done" } & WireTranscript)
  | { type: "error" | undefined; error?: { message?: string; code?: string } };

class EventReader {
  #parser = new SseParser();
  #read = 0;
  #text = "";
  #segments: WireSegment[] = [];
  #done: WireTranscript | null = null;
  #error: ApiError | null = null;
  #onStage: (stage: Stage) => void;

  constructor(onStage: (stage: Stage) => void) {
    this.#onStage = onStage;
  }

  /** `all` is everything that has come so far. */
  feed(all: string): void {
    const events = this.#parser.feed(all.slice(this.#read));
    this.#read = all.length;
    for (const { data } of events) this.#take(JSON.parse(data) as Event);
  }

  #take(event: Event): void {
    if (event.type === "transcript.text.delta") {
      this.#text += event.delta;
      this.#onStage({ name: "listen", text: this.#text });
    } else if (event.type === "transcript.text.segment") {
      this.#segments.push(event);
      if (this.#segments.length === 1) this.#onStage({ name: "speakers", text: this.#text });
    } else if (event.type === "transcript.text.done") this.#done = event;
    else if (event.error)
      this.#error = new ApiError(502, event.error.message ?? "error", event.error.code ?? null);
  }

  result(): Transcript {
    if (this.#error) throw this.#error;
    if (!this.#done) throw new ApiError(0, "The stream ended before its last event.");
    return parseTranscript(this.#done, this.#segments);
  }
}
