import { describe, expect, it } from "vitest";
import { extremes, fromSamples, fromServer } from "./peaks";
import { indexAt, initials, nextHeard, parseTranscript, speakersOf } from "./transcript";
import { toJson, toRttm, toSrt, toText, toVtt } from "./transcript-files";

const SEGMENTS = [
  {
    start: 0,
    end: 1.5,
    text: " Hello there.",
    speaker: "A",
    words: [{ word: "Hello", start: 0, end: 0.5 }],
  },
  { start: 1.5, end: 2, text: "Hi <you>.", speaker: "B", overlap: true },
  { start: 3601, end: 3602.25, text: "Bye.", speaker: "A" },
];
const parsed = parseTranscript({ text: "…", language_code: "en" }, SEGMENTS);
const { segments } = parsed;
const name = (id: string) => ({ A: "Ann Lee" })[id] ?? id;

describe("parseTranscript", () => {
  it("reads a diarized stream", () => {
    expect(segments[0]).toMatchObject({ text: "Hello there.", speaker: "A", overlap: false });
    expect(segments[1]?.overlap).toBe(true);
    expect(parsed.duration).toBe(3602.25);
  });

  it("gives the words of verbose_json to their segments", () => {
    const { segments: found } = parseTranscript({
      duration: 4,
      segments: [
        { start: 0, end: 1, text: "a b" },
        { start: 1, end: 2, text: "c" },
      ],
      words: [
        { word: "a", start: 0, end: 0.4 },
        { word: "b", start: 0.5, end: 1 },
        { word: "c", start: 1.1, end: 1.9 },
      ],
    });
    expect(found.map(({ words }) => words.map(({ text }) => text))).toEqual([["a", "b"], ["c"]]);
    expect(found[0]?.speaker).toBeNull();
  });
});

it("adds up who speaks", () => {
  expect(speakersOf(segments)).toEqual([
    { id: "A", seconds: 2.75 },
    { id: "B", seconds: 0.5 },
  ]);
});

it.each([
  ["Ann Lee", "AL"],
  ["SPEAKER_00", "S0"],
  ["B", "B"],
  ["", "?"],
])("initials of %s", (whole, short) => expect(initials(whole)).toBe(short));

it("finds the current word by halving", () => {
  const starts = [0, 1, 1, 5];
  expect([-1, 0, 0.5, 1, 4.9, 5, 99].map((time) => indexAt(starts, time))).toEqual([
    -1, 0, 0, 2, 2, 3, 3,
  ]);
});

it("skips to the next wanted speaker", () => {
  expect(nextHeard(segments, new Set(), 1.6)).toBe(1.6);
  expect(nextHeard(segments, new Set(["A"]), 1)).toBe(1);
  expect(nextHeard(segments, new Set(["A"]), 1.6)).toBe(3601);
  expect(nextHeard(segments, new Set(["B"]), 3)).toBeNull();
});

describe("files", () => {
  it("srt", () => {
    expect(toSrt(segments, name)).toContain("3\n01:00:01,000 --> 01:00:02,250\nAnn Lee: Bye.\n");
  });
  it("vtt escapes and names voices", () => {
    const made = toVtt(segments, name);
    expect(
      made.startsWith("WEBVTT\n\n00:00:00.000 --> 00:00:01.500\n<v Ann Lee>Hello there.\n"),
    ).toBe(true);
    expect(made).toContain("Hi &lt;you&gt;.");
  });
  it("text joins what one speaker says in a row", () => {
    const twice = [segments[0], segments[2], segments[1]].filter((one) => one !== undefined);
    expect(toText(twice, name)).toBe("Ann Lee: Hello there. Bye.\n\nB: Hi <you>.\n");
  });
  it("rttm", () => {
    expect(toRttm(segments, name, "my talk").split("\n")[0]).toBe(
      "SPEAKER my_talk 1 0.000 1.500 <NA> <NA> Ann_Lee <NA> <NA>",
    );
  });
  it("json", () => {
    expect(JSON.parse(toJson(segments, name, 9)).segments[0].speaker).toBe("Ann Lee");
  });
});

describe("peaks", () => {
  it("reads the gateway's", () => {
    const peaks = fromServer({
      sample_rate: 16_000,
      samples_per_pixel: 8_000,
      bits: 8,
      length: 2,
      data: [-128, 64, 0, 127],
    });
    expect(peaks.duration).toBe(1);
    expect([...peaks.low]).toEqual([-1, 0]);
    expect(extremes(peaks, 0, 0.5)).toEqual([-1, 0.5]);
    expect(extremes(peaks, 0, 1)[1]).toBeCloseTo(127 / 128);
  });
  it("computes its own", () => {
    const samples = Float32Array.from([0, 0.5, -1, 0.25]);
    const peaks = fromSamples(samples, 2, 2);
    expect([[...peaks.low], [...peaks.high], peaks.duration]).toEqual([[0, -1], [0.5, 0.25], 2]);
  });
});
