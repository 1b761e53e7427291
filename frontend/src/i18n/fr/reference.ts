import type { reference as en } from "../en/reference";
import type { Mirror } from "../mirror";

export const reference: Mirror<typeof en> = {
  hint: "Branchez ici n’importe quel SDK OpenAI",
  base: "URL de base",
  baseHint: "Ce qu’un SDK appelle base_url. Les SDK d’Anthropic prennent l’adresse sans /v1.",
  keyOpen:
    "Cette passerelle ne demande pas de clé d’inférence : n’importe quel texte convient là où un SDK en veut une.",
  keyWanted: "Envoyez une clé d’inférence : Authorization: Bearer CLÉ ou x-api-key: CLÉ.",
  keyMissing: "Cette passerelle veut une clé d’inférence, et aucune clé valable n’est définie ici.",
  models: "Modèles",
  modelsHint: "Les noms que prend le champ « model »",
  noModels: "Aucun modèle n’est servi",
  noModelsBody: "Sans modèle, il n’y a rien à appeler.",
  snippets: "Essayer",
  task: "Tâche",
  tasks: {
    chat: "Dialogue",
    stream: "En continu",
    vision: "Question sur une image",
    tools: "Outils",
    transcription: "Transcription",
    diarization: "Qui parle quand",
    diarized: "Transcription par locuteur",
  },
  noModelFor:
    "Aucun modèle n’est configuré pour cette tâche ; l’exemple nomme donc un modèle habituel.",
  endpoints: "Points d’accès",
  endpointsHint: "Ce à quoi répondent les modèles de cette passerelle",
  docs: "Référence interactive (OpenAPI)",
  docsHint: "Toutes les routes, tous les champs. Servie d’ici : sans internet.",
  openapi: "openapi.json",
  endpoint: {
    models: "Tous les noms qu’un client peut employer",
    chat: "Dialogue, images, outils, sortie structurée, flux",
    completions: "Complétion simple",
    responses: "L’API Responses d’OpenAI",
    messages: "L’API Messages d’Anthropic",
    tokenize: "Identifiants de jetons d’une invite ou d’un dialogue",
    embeddings: "Textes ou jetons en vecteurs",
    transcriptions: "Ce qui est dit : texte, sous-titres, mots, locuteurs, flux",
    translations: "Ce qui est dit, en anglais",
    diarizations: "Qui parle quand : JSON ou RTTM",
    shortTranscribe: "La forme courte pour curl : fichier en entrée, JSON en sortie",
    shortDiarize: "La forme courte pour curl : fichier en entrée, tours de parole en sortie",
  },
};
