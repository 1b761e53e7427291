/** What went wrong with a request, in the gateway's words. */
export class ApiError extends Error {
  constructor(
    /** 0: no answer came at all. */
    readonly status: number,
    message: string,
    readonly code: string | null = null,
    readonly requestId: string | null = null,
    readonly retryAfter: number | null = null,
    readonly param: string | null = null,
  ) {
    super(message);
    this.name = "ApiError";
  }

  /** A key is missing, unknown, or lacks the right. */
  get denied(): boolean {
    return this.status === 401 || this.status === 403;
  }

  /** Which key is wanted. */
  get wants(): "admin" | "inference" {
    return this.code === "admin_key_required" ? "admin" : "inference";
  }
}

interface Envelope {
  error?: { message?: string; code?: string | null; param?: string | null };
}

export function errorFrom(
  status: number,
  body: unknown,
  header: (name: string) => string | null,
): ApiError {
  const error = (body as Envelope | null)?.error;
  const retryAfter = Number(header("retry-after"));
  return new ApiError(
    status,
    error?.message ?? `HTTP ${status}`,
    error?.code ?? null,
    header("x-request-id"),
    Number.isFinite(retryAfter) && retryAfter > 0 ? retryAfter : null,
    error?.param ?? null,
  );
}

export async function errorOf(response: Response): Promise<ApiError> {
  const body = await response.json().catch(() => null);
  return errorFrom(response.status, body, (name) => response.headers.get(name));
}

export function toApiError(error: unknown): ApiError {
  if (error instanceof ApiError) return error;
  return new ApiError(0, error instanceof Error ? error.message : String(error));
}
