import { expect, it } from "vitest";
import { formOf, type Wanted } from "../../api/audio";

const WANTED: Wanted = {
  file: new File(["x"], "talk.wav"),
  model: "canary",
  translate: false,
  diarize: true,
  language: "fr",
  speakers: 2,
  known: [{ name: "Ann", sample: "data:audio/wav;base64,AA" }],
};

it("asks for a stream with speakers", () => {
  const { path, fields } = formOf(WANTED);
  expect(path).toBe("/v1/audio/transcriptions");
  expect(Object.fromEntries(fields)).toMatchObject({
    model: "canary",
    language: "fr",
    response_format: "diarized_json",
    stream: "true",
    num_speakers: "2",
    "known_speaker_names[]": "Ann",
  });
});

it("asks for a translation without speakers", () => {
  const { path, fields } = formOf({ ...WANTED, translate: true, diarize: false, language: null });
  const sent = Object.fromEntries(fields);
  expect(path).toBe("/v1/audio/translations");
  expect(sent.response_format).toBe("verbose_json");
  expect(Object.keys(sent)).not.toContain("stream");
  expect(Object.keys(sent)).not.toContain("num_speakers");
});
