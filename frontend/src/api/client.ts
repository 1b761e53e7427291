/** Every request to the gateway: typed by its OpenAPI document, with the key, failing as ApiError. */
import createClient, { type Middleware } from "openapi-fetch";
import { errorOf, toApiError } from "./errors";
import { currentKey } from "./key";
import type { paths } from "./schema.gen";

export function authorization(): Record<string, string> {
  const key = currentKey();
  return key ? { authorization: `Bearer ${key}` } : {};
}

const guard: Middleware = {
  onRequest({ request }) {
    for (const [name, value] of Object.entries(authorization())) request.headers.set(name, value);
    return request;
  },
  async onResponse({ response }) {
    if (!response.ok) throw await errorOf(response);
    return response;
  },
  onError({ error }) {
    return toApiError(error);
  },
};

export const api = createClient<paths>({ baseUrl: window.location.origin });
api.use(guard);

/** The body of an answer that is known to be good, since anything else was thrown. */
export async function data<T>(answer: Promise<{ data?: T }>): Promise<T> {
  return (await answer).data as T;
}

/** A request outside the typed client: streams, forms. Throws ApiError. */
export async function send(path: string, init: RequestInit = {}): Promise<Response> {
  let response: Response;
  try {
    response = await fetch(path, { ...init, headers: { ...authorization(), ...init.headers } });
  } catch (error) {
    if (error instanceof DOMException && error.name === "AbortError") throw error;
    throw toApiError(error);
  }
  if (!response.ok) throw await errorOf(response);
  return response;
}
