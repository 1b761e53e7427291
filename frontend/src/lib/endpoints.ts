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
  | "countTokens"
  | "tokenize"
  | "detokenize"
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
    post("/v1/messages/count_tokens", "countTokens"),
    post("/tokenize", "tokenize"),
    post("/detokenize", "detokenize"),
  ],
  embedding: [
    post("/v1/embeddings", "embeddings"),
    post("/tokenize", "tokenize"),
    post("/detokenize", "detokenize"),
  ],
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
