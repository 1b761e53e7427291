import { describe, expect, it } from "vitest";
import { buildRequest, elide, type Parameters, type Turn } from "./chat";
import { Answer } from "./chat-answer";

const PARAMETERS: Parameters = {
  model: "qwen",
  system: "",
  temperature: null,
  topP: null,
  maxTokens: null,
  seed: null,
  stream: false,
  tools: "",
};
const asks = (text: string, images: string[] = []): Turn => ({ role: "user", text, images });

describe("buildRequest", () => {
  it("sends nothing that was not chosen", () => {
    expect(buildRequest([asks("hi")], PARAMETERS)).toEqual({
      model: "qwen",
      messages: [{ role: "user", content: "hi" }],
    });
  });

  it("sends what was chosen, 0 too", () => {
    const request = buildRequest([asks("hi")], {
      ...PARAMETERS,
      system: " Be brief. ",
      temperature: 0,
      seed: 0,
      maxTokens: 5,
      topP: 0.5,
      stream: true,
      tools: '[{"type":"function"}]',
    });
    expect(request.messages[0]).toEqual({ role: "system", content: "Be brief." });
    expect(request).toMatchObject({
      temperature: 0,
      seed: 0,
      max_tokens: 5,
      top_p: 0.5,
      stream: true,
      stream_options: { include_usage: true },
      tools: [{ type: "function" }],
    });
  });

  it("puts images before the question", () => {
    const { messages } = buildRequest([asks("what?", ["data:image/png;base64,AA"])], PARAMETERS);
    expect(messages[0]?.content).toEqual([
      { type: "image_url", image_url: { url: "data:image/png;base64,AA" } },
      { type: "text", text: "what?" },
    ]);
  });

  it("carries calls and results, and leaves out answers that failed", () => {
    const base = { role: "assistant", text: "", reasoning: "", stats: null } as const;
    const call = { id: "c1", name: "f", arguments: "{}" };
    const { messages } = buildRequest(
      [
        asks("hi"),
        { ...base, calls: [], error: "gone" },
        { ...base, calls: [call], error: null },
        { role: "tool", id: "c1", name: "f", text: "42" },
      ],
      PARAMETERS,
    );
    expect(messages).toEqual([
      { role: "user", content: "hi" },
      {
        role: "assistant",
        content: "",
        tool_calls: [{ id: "c1", type: "function", function: { name: "f", arguments: "{}" } }],
      },
      { role: "tool", tool_call_id: "c1", content: "42" },
    ]);
  });

  it.each(["{", "{}", "5"])("refuses tools that are no array: %s", (tools) => {
    expect(() => buildRequest([], { ...PARAMETERS, tools })).toThrow(SyntaxError);
  });
});

it("cuts long data URLs only", () => {
  const long = `data:image/png;base64,${"A".repeat(5000)}`;
  expect(elide(`x ${long} y`)).toMatch(/^x data:image\/png;base64,A{24}… \(5 kB\) y$/);
  expect(elide("data:image/png;base64,AA")).toBe("data:image/png;base64,AA");
});

describe("Answer", () => {
  it("puts together text, thoughts, calls, usage", () => {
    const answer = new Answer();
    answer.add({ choices: [{ delta: { content: "" } }] });
    expect(answer.begun).toBe(false);
    answer.add({ choices: [{ delta: { reasoning_content: "hm" } }] });
    answer.add({ choices: [{ delta: { content: "Hel" } }] });
    answer.add({ choices: [{ delta: { content: "lo" }, finish_reason: "stop" }] });
    const part = (text: string, id?: string) => ({
      index: 0,
      id,
      function: { name: id ? "f" : undefined, arguments: text },
    });
    answer.add({ choices: [{ delta: { tool_calls: [part('{"a"', "c1")] } }] });
    answer.add({ choices: [{ delta: { tool_calls: [part(":1}")] } }] });
    answer.add({ choices: [], usage: { completion_tokens: 9 } });
    expect(answer).toMatchObject({ text: "Hello", reasoning: "hm", finish: "stop", tokens: 9 });
    expect(answer.calls).toEqual([{ id: "c1", name: "f", arguments: '{"a":1}' }]);
  });

  it("reads a whole answer and an error", () => {
    const answer = new Answer();
    answer.add({ choices: [{ message: { content: "all" }, finish_reason: "length" }] });
    answer.add({ error: { message: "died" } });
    expect(answer).toMatchObject({ text: "all", finish: "length", error: "died" });
  });
});
