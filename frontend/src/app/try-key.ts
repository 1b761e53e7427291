/** What a key opens, found out by asking. */
type Answer = "yes" | "open" | "no";

export interface Rights {
  inference: Answer;
  admin: Answer;
  /** Neither could be found out. */
  problem: string | null;
}

async function opens(path: string, key: string): Promise<boolean> {
  const headers: Record<string, string> = key ? { authorization: `Bearer ${key}` } : {};
  const answer = await fetch(path, { headers });
  if (answer.ok) return true;
  if (answer.status === 401 || answer.status === 403) return false;
  throw new Error(`HTTP ${answer.status}`);
}

async function right(path: string, key: string): Promise<Answer> {
  if (await opens(path, "")) return "open";
  return key !== "" && (await opens(path, key)) ? "yes" : "no";
}

export async function tryKey(key: string): Promise<Rights> {
  try {
    const [inference, admin] = await Promise.all([
      right("/v1/models", key),
      right("/api/admin/status", key),
    ]);
    return { inference, admin, problem: null };
  } catch (error) {
    const problem = error instanceof TypeError ? "offline" : String(error);
    return { inference: "no", admin: "no", problem };
  }
}
