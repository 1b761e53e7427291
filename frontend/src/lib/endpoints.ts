/** What each kind of model answers to. The texts are in the dictionaries. */
export type Kind = "chat" | "embedding" | "asr" | "diarization";

export interface Endpoint {
  method: "GET" | "POST";
  path: string;
  what: EndpointText;
}

export type EndpointText =
  | "models"
  | "chat"
  | "completions"
  | "responses"
  | "messages"
  | "tokenize"
  | "embeddings"
  | "transcriptions"
  | "translations"
  | "diarizations"
  | "shortTranscribe"
  | "shortDiarize";

const post = (path: string, what: EndpointText): Endpoint => ({ method: "POST", path, what });

export const ENDPOINTS: Record<Kind, Endpoint[]> = {
  chat: [
    post("/v1/chat/completions", "chat"),
    post("/v1/completions", "completions"),
    post("/v1/responses", "responses"),
    post("/v1/messages", "messages"),
    post("/tokenize", "tokenize"),
  ],
  embedding: [post("/v1/embeddings", "embeddings"), post("/tokenize", "tokenize")],
  asr: [
    post("/v1/audio/transcriptions", "transcriptions"),
    post("/v1/audio/translations", "translations"),
    post("/api/audio/transcribe", "shortTranscribe"),
  ],
  diarization: [
    post("/v1/audio/diarizations", "diarizations"),
    post("/api/diarization/process", "shortDiarize"),
  ],
};
