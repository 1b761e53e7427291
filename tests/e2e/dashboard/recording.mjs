// A recording whose transcript is known: the gateway's answer is given in its own wire format.
import { visit } from "./browser.mjs";

/** The lowest that browsers play. */
const RATE = 3_000;

/** A WAV file of tones that come and go: 8 bits, so that an hour is 10 MB. */
function wav(seconds) {
  const samples = Math.round(seconds * RATE);
  const out = Buffer.alloc(44 + samples);
  out.write("RIFF", 0);
  out.writeUInt32LE(36 + samples, 4);
  out.write("WAVEfmt ", 8);
  out.writeUInt32LE(16, 16);
  out.writeUInt16LE(1, 20);
  out.writeUInt16LE(1, 22);
  out.writeUInt32LE(RATE, 24);
  out.writeUInt32LE(RATE, 28);
  out.writeUInt16LE(1, 32);
  out.writeUInt16LE(8, 34);
  out.write("data", 36);
  out.writeUInt32LE(samples, 40);
  for (let at = 0; at < samples; at += 1) {
    const loud = Math.abs(Math.sin((at / RATE) * 1.3)) * (0.5 + 0.5 * Math.sin((at / RATE) * 7));
    out[44 + at] = Math.round(128 + 100 * loud * Math.sin(at * 0.5));
  }
  return out;
}

/** Segments of ten words that two or three speakers say in turn. */
function conversation(words, seconds) {
  const each = seconds / words;
  const segments = [];
  for (let from = 0; from < words; from += 10) {
    const list = Array.from({ length: Math.min(10, words - from) }, (_, index) => ({
      word: `word${from + index}`,
      start: (from + index) * each,
      end: (from + index + 0.8) * each,
    }));
    segments.push({
      type: "transcript.text.segment",
      id: `seg_${segments.length}`,
      start: list[0].start,
      end: list.at(-1).end,
      text: list.map(({ word }) => word).join(" "),
      speaker: "ABC"[segments.length % 3],
      ...(segments.length === 1 ? { overlap: true } : {}),
      words: list,
    });
  }
  return segments;
}

function peaks(seconds, columns) {
  const data = [];
  for (let at = 0; at < columns; at += 1) {
    const value = Math.round(100 * Math.abs(Math.sin(at / 9) * Math.sin(at / 71)));
    data.push(-value, value);
  }
  const samples_per_pixel = Math.round((seconds * 16_000) / columns);
  return { version: 2, channels: 1, sample_rate: 16_000, samples_per_pixel, bits: 8, length: columns, data };
}

/** Opens the page and hands it a recording whose transcript is known. */
export async function transcribed(browser, url, words, seconds, options = {}) {
  const opened = await visit(browser, url, { path: "/reference", ...options });
  const { page } = opened;
  await page.route("**/v1/models", async (route) => {
    const answer = await (await route.fetch()).json();
    const [chat] = answer.data;
    const others = [["canary", "asr"], ["pyannote", "diarization"]];
    const data = [chat, ...others.map(([id, kind]) => ({ ...chat, id, root: id, kind, state: "ready" }))];
    await route.fulfill({ json: { ...answer, data } });
  });
  const segments = conversation(words, seconds);
  const text = segments.map((segment) => segment.text).join(" ");
  const frames = [
    ...segments.slice(0, 3).map((segment) => ({ type: "transcript.text.delta", delta: `${segment.text} ` })),
    ...segments,
    {
      type: "transcript.text.done",
      text,
      language_code: "fr",
      peaks: peaks(seconds, 4_000),
      warnings: [{ code: "prompt_ignored", message: "'prompt' has no effect." }],
    },
  ];
  const sent = [];
  await page.route("**/v1/audio/transcriptions", (route) => {
    sent.push(route.request().postData() ?? "");
    return route.fulfill({
      contentType: "text/event-stream",
      body: frames.map((frame) => `data: ${JSON.stringify(frame)}\n\n`).join(""),
    });
  });
  await page.goto(`${url}/audio`);
  await page.locator("input[type=file]").first().setInputFiles({
    name: "talk.wav",
    mimeType: "audio/wav",
    buffer: wav(seconds),
  });
  await page.getByRole("button", { name: /^(Transcribe|Transcrire)$/ }).click();
  await page.getByTestId("player").waitFor();
  return { ...opened, sent };
}
