import { expect, it } from "vitest";
import { chatSnippets, formSnippets, pythonLiteral, targetOf } from "./snippets";

const target = targetOf("http://gateway:8000");

it("writes Python", () => {
  expect(pythonLiteral({ a: [true, null, 'x"y'], b: {} })).toBe(
    '{\n    "a": [\n        True,\n        None,\n        "x\\"y",\n    ],\n    "b": {},\n}',
  );
});

it("gives curl the very object, whatever quotes it holds", () => {
  const body = { model: "qwen", messages: [{ role: "user", content: 'it\'s "so" $HOME' }] };
  const { curl } = chatSnippets(body, target);
  const quoted = /-d '([\s\S]*)'$/.exec(curl)?.[1] ?? "";
  expect(JSON.parse(quoted.replaceAll("'\\''", "'"))).toEqual(body);
  expect(curl).not.toContain("-N");
});

it("streams where the request does", () => {
  const { curl, python, javascript } = chatSnippets({ model: "m", stream: true }, target);
  expect(curl).toContain("curl -N ");
  expect(python).toContain("for chunk in answer:");
  expect(python).toContain("    stream=True,");
  expect(javascript).toContain("for await (const chunk of answer)");
});

it("sends forms with repeated fields", () => {
  const fields: [string, string][] = [
    ["model", "canary"],
    ["timestamp_granularities[]", "word"],
    ["timestamp_granularities[]", "segment"],
  ];
  const made = formSnippets({ path: "/v1/audio/transcriptions", file: "a.wav", fields }, target);
  expect(made.curl.match(/timestamp_granularities/g)).toHaveLength(2);
  expect(made.curl).toContain("-F 'file=@a.wav'");
  expect(made.python).toContain('("timestamp_granularities[]", "segment")');
});
