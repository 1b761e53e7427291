import { describe, expect, it } from "vitest";
import { SseParser, sseEvents } from "./sse";

const TEXT = 'id: 7\nevent: model\ndata: {"a":1}\n\n: keep-alive\n\ndata: one\ndata: two\r\n\r\n';

describe("SseParser", () => {
  const whole = new SseParser().feed(TEXT);

  it("reads names, ids, several lines and comments", () => {
    expect(whole).toEqual([
      { event: "model", data: '{"a":1}', id: "7" },
      { event: "message", data: "one\ntwo", id: "7" },
    ]);
  });

  it.each([1, 2, 3, 5, 11])("reads the same from pieces of %i characters", (size) => {
    const parser = new SseParser();
    const found = [];
    for (let at = 0; at < TEXT.length; at += size)
      found.push(...parser.feed(TEXT.slice(at, at + size)));
    expect(found).toEqual(whole);
  });

  it("keeps an event back until it is complete", () => {
    expect(new SseParser().feed("data: half")).toEqual([]);
  });
});

it("joins characters that were torn apart", async () => {
  const bytes = new TextEncoder().encode("data: é\n\n");
  const body = new ReadableStream<Uint8Array>({
    start(controller) {
      for (const byte of bytes) controller.enqueue(Uint8Array.of(byte));
      controller.close();
    },
  });
  const found = [];
  let pieces = 0;
  for await (const event of sseEvents(body, () => pieces++)) found.push(event.data);
  expect(found).toEqual(["é"]);
  expect(pieces).toBe(bytes.length);
});
