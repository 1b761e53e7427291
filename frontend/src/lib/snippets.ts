/** Code that makes the very request which the dashboard makes. Pure. */

export interface Target {
  /** As in `http://localhost:8000`. */
  origin: string;
  /** What stands for the key, as a shell variable's name. */
  keyName: string;
}

export interface Snippets {
  curl: string;
  python: string;
  javascript: string;
}

const OURS = "GATEWAY_API_KEY";
export const targetOf = (origin: string): Target => ({ origin, keyName: OURS });

const shellQuoted = (text: string): string => `'${text.replace(/'/g, `'\\''`)}'`;

/** JSON as Python writes it. */
export function pythonLiteral(value: unknown, indent = 0): string {
  const pad = " ".repeat(indent + 4);
  const end = " ".repeat(indent);
  if (value === null || value === undefined) return "None";
  if (value === true) return "True";
  if (value === false) return "False";
  if (typeof value === "string") return JSON.stringify(value);
  if (typeof value !== "object") return String(value);
  const list = Array.isArray(value);
  const parts = list
    ? value.map((item) => pad + pythonLiteral(item, indent + 4))
    : Object.entries(value).map(
        ([name, item]) => `${pad}${JSON.stringify(name)}: ${pythonLiteral(item, indent + 4)}`,
      );
  const [open, close] = list ? ["[", "]"] : ["{", "}"];
  return parts.length === 0 ? open + close : `${open}\n${parts.join(",\n")},\n${end}${close}`;
}

/** Chat completions through the OpenAI SDKs, and curl. */
export function chatSnippets(body: Record<string, unknown>, target: Target): Snippets {
  const stream = body.stream === true;
  const fields = Object.entries(body)
    .map(([name, value]) => `    ${name}=${pythonLiteral(value, 4)},`)
    .join("\n");
  const readPython = stream
    ? `for chunk in answer:
    if chunk.choices and chunk.choices[0].delta.content:
        print(chunk.choices[0].delta.content, end="", flush=True)`
    : "print(answer.choices[0].message)";
  const readJs = stream
    ? `for await (const chunk of answer) {
  process.stdout.write(chunk.choices[0]?.delta?.content ?? "");
}`
    : "console.log(answer.choices[0].message);";
  return {
    curl: `curl ${stream ? "-N " : ""}${target.origin}/v1/chat/completions \\
  -H "Authorization: Bearer $${target.keyName}" \\
  -H "Content-Type: application/json" \\
  -d ${shellQuoted(JSON.stringify(body, null, 2))}`,
    python: `import os

from openai import OpenAI

client = OpenAI(
    base_url="${target.origin}/v1",
    api_key=os.environ.get("${target.keyName}", "none"),
)
answer = client.chat.completions.create(
${fields}
)
${readPython}`,
    javascript: `import OpenAI from "openai";

const client = new OpenAI({
  baseURL: "${target.origin}/v1",
  apiKey: process.env.${target.keyName} ?? "none",
});
const answer = await client.chat.completions.create(${JSON.stringify(body, null, 2)});
${readJs}`,
  };
}

/** A form with a recording. Arrays are sent by repeating `name[]`. */
export interface FormRequest {
  path: string;
  file: string;
  fields: [string, string][];
}

export function formSnippets({ path, file, fields }: FormRequest, target: Target): Snippets {
  const parts = fields.map(([name, value]) => ` \\\n  -F ${shellQuoted(`${name}=${value}`)}`);
  const pairs = fields.map(
    ([name, value]) => `        (${JSON.stringify(name)}, ${JSON.stringify(value)}),`,
  );
  const appends = fields.map(
    ([name, value]) => `form.append(${JSON.stringify(name)}, ${JSON.stringify(value)});`,
  );
  return {
    curl: `curl ${target.origin}${path} \\
  -H "Authorization: Bearer $${target.keyName}" \\
  -F ${shellQuoted(`file=@${file}`)}${parts.join("")}`,
    python: `import os

import requests

with open(${JSON.stringify(file)}, "rb") as recording:
    answer = requests.post(
        "${target.origin}${path}",
        headers={"Authorization": f"Bearer {os.environ.get('${target.keyName}', 'none')}"},
        files={"file": recording},
        data=[
${pairs.join("\n")}
        ],
    )
answer.raise_for_status()
print(answer.text)`,
    javascript: `import { openAsBlob } from "node:fs";

const form = new FormData();
form.append("file", await openAsBlob(${JSON.stringify(file)}), ${JSON.stringify(file)});
${appends.join("\n")}
const answer = await fetch("${target.origin}${path}", {
  method: "POST",
  headers: { authorization: \`Bearer \${process.env.${target.keyName} ?? "none"}\` },
  body: form,
});
console.log(await answer.text());`,
  };
}
