// A recording with its transcript: seen, heard, named, searched by ear, taken away as files.
// The engines are tested elsewhere; here the gateway's answer is given in its own wire format.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { after, before, test } from "node:test";
import { eventually, launch, shot, violations, visit } from "./browser.mjs";
import { gateway } from "./gateway.mjs";

const RATE = 8_000;
let browser;
let running;
before(async () => {
  browser = await launch();
  running = await gateway();
});
after(async () => {
  await browser.close();
  await running.close();
});

/** A WAV file of tones that come and go. */
function wav(seconds) {
  const samples = Math.round(seconds * RATE);
  const out = Buffer.alloc(44 + samples * 2);
  out.write("RIFF", 0);
  out.writeUInt32LE(36 + samples * 2, 4);
  out.write("WAVEfmt ", 8);
  out.writeUInt32LE(16, 16);
  out.writeUInt16LE(1, 20);
  out.writeUInt16LE(1, 22);
  out.writeUInt32LE(RATE, 24);
  out.writeUInt32LE(RATE * 2, 28);
  out.writeUInt16LE(2, 32);
  out.writeUInt16LE(16, 34);
  out.write("data", 36);
  out.writeUInt32LE(samples * 2, 40);
  for (let at = 0; at < samples; at += 1) {
    const loud = Math.abs(Math.sin((at / RATE) * 1.3)) * (0.5 + 0.5 * Math.sin((at / RATE) * 7));
    out.writeInt16LE(Math.round(20_000 * loud * Math.sin(at * 0.2)), 44 + at * 2);
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
async function transcribed(words, seconds, options = {}) {
  const opened = await visit(browser, running.url, { path: "/reference", ...options });
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
  await page.goto(`${running.url}/audio`);
  await page.locator("input[type=file]").first().setInputFiles({
    name: "talk.wav",
    mimeType: "audio/wav",
    buffer: wav(Math.min(seconds, 60)),
  });
  await page.getByRole("button", { name: /^(Transcribe|Transcrire)$/ }).click();
  await page.getByTestId("player").waitFor();
  return { ...opened, sent };
}

const time = async (page) => {
  const [minutes, seconds] = (await page.getByTestId("time").innerText()).split(":").map(Number);
  return minutes * 60 + seconds;
};

test("words, lanes, names, files", async () => {
  const { page, sent, close } = await transcribed(60, 30, { width: 1400, height: 1000 });
  assert.match(sent[0], /name="response_format"\r\n\r\ndiarized_json/);
  assert.match(sent[0], /name="stream"\r\n\r\ntrue/);
  await page.getByRole("alert").getByText("'prompt' has no effect.").waitFor();
  await page.getByText("Language: French").waitFor();

  await page.getByText("word25", { exact: true }).click();
  assert.ok(Math.abs((await time(page)) - 12.5) < 0.2, `${await time(page)} s`);
  assert.equal(await page.locator(".current").innerText(), "word25");
  await page.getByRole("slider", { name: "Position in the recording" }).focus();
  await page.keyboard.press("ArrowRight");
  await eventually(async () => Math.abs((await time(page)) - 17.5) < 0.2, "5 s further");
  assert.equal(await page.locator(".current").innerText(), "word35");

  await page.keyboard.press("Space");
  await page.getByRole("button", { name: "Pause" }).waitFor();
  const before = await time(page);
  await eventually(async () => (await time(page)) > before + 0.3, "the recording to play");
  await page.getByRole("button", { name: "Pause" }).click();

  await page.getByLabel("Name of A").fill("Marie Curie");
  assert.ok((await page.locator(".segment-speaker").first().innerText()).includes("Marie Curie"));
  await page.getByRole("button", { name: "Hear only Marie Curie" }).click();
  assert.equal(await page.locator('.segment[data-muted="true"]').count(), 4);
  await page.mouse.move(0, 0); // a tooltip hangs outside of all landmarks
  await page.getByRole("tooltip").waitFor({ state: "detached" });
  assert.deepEqual(await violations(page), []);
  await shot(page, "audio-result");

  for (const [suffix, wanted] of [
    ["SRT", /1\n00:00:00,000 --> 00:00:04,900\nMarie Curie: word0 word1/],
    ["VTT", /^WEBVTT\n\n00:00:00\.000 --> .*\n<v Marie Curie>word0/],
    ["TXT", /^Marie Curie: word0/],
    ["RTTM", /^SPEAKER talk 1 0\.000 4\.900 <NA> <NA> Marie_Curie/],
    ["JSON", /"speaker": "Marie Curie"/],
  ]) {
    const coming = page.waitForEvent("download");
    await page.getByRole("button", { name: suffix, exact: true }).click();
    const download = await coming;
    assert.equal(download.suggestedFilename(), `talk.${suffix.toLowerCase()}`);
    assert.match(readFileSync(await download.path(), "utf8"), wanted);
  }
  await close();
});

test("suggestions are asked of the chat model and stay suggestions", async () => {
  const { page, close } = await transcribed(30, 15, { width: 1400 });
  await page.route("**/v1/chat/completions", (route) => {
    const { messages, response_format } = route.request().postDataJSON();
    assert.equal(response_format.type, "json_schema");
    const roles = /transcript/.test(messages[0].content);
    const content = roles
      ? '{"A":"Présentatrice","B":"Invité","C":"Auditeur"}'
      : JSON.stringify(Object.fromEntries(Object.keys(JSON.parse(messages[1].content)).map((key) => [key, `mot ${key}`])));
    return route.fulfill({ json: { choices: [{ message: { content }, finish_reason: "stop" }] } });
  });
  await page.getByRole("button", { name: "Suggest roles" }).click();
  await page.getByRole("textbox", { name: "B", exact: true }).fill("Invitée");
  assert.equal(await page.locator(".segment-speaker").nth(1).innerText(), "B");
  await page.getByRole("button", { name: "Apply" }).click();
  await page.locator(".segment-speaker").getByText("Invitée").waitFor();
  await page.getByRole("button", { name: "Translate", exact: true }).click();
  await page.getByText("mot 2", { exact: true }).click();
  await page.getByRole("textbox", { name: "Translation of segment 3" }).fill("corrigé");
  await page.getByRole("textbox", { name: "Translation of segment 3" }).blur();
  await page.getByText("corrigé").waitFor();
  assert.deepEqual(await violations(page), []);
  await close();
});

for (const [scheme, width] of [["dark", 1600], ["light", 360]])
  test(`a transcript in French, ${scheme}, ${width} px`, async () => {
    const { page, close } = await transcribed(90, 45, { language: "fr", scheme, width, height: 900 });
    await page.getByRole("heading", { name: "Transcription" }).waitFor();
    assert.deepEqual(await violations(page), []);
    assert.ok(await page.evaluate(() => document.documentElement.scrollWidth <= window.innerWidth));
    await shot(page, `audio-result-fr-${scheme}-${width}`, { fullPage: true });
    await close();
  });

test("an hour with 10 000 words scrolls and seeks without a hitch", async (t) => {
  const { page, close } = await transcribed(10_000, 3600, { width: 1400, height: 1000 });
  assert.equal(await page.locator("[data-word]").count(), 10_000);
  const frames = await page.evaluate(async () => {
    const list = document.querySelector(".transcript");
    const gaps = [];
    let last = performance.now();
    for (let step = 0; step < 120; step += 1) {
      list.scrollTop += list.scrollHeight / 120;
      await new Promise(requestAnimationFrame);
      const now = performance.now();
      gaps.push(now - last);
      last = now;
    }
    const spans = [...document.querySelectorAll("[data-word]")];
    const seeks = [];
    for (let step = 0; step < 40; step += 1) {
      const from = performance.now();
      spans[(step * 7919) % spans.length].click();
      await new Promise(requestAnimationFrame);
      seeks.push(performance.now() - from);
    }
    const sorted = (list) => list.sort((one, other) => one - other);
    const at = (list, share) => sorted(list)[Math.floor(share * (list.length - 1))];
    return { scroll: [at(gaps, 0.5), at(gaps, 0.95), at(gaps, 1)], seek: [at(seeks, 0.5), at(seeks, 0.95)] };
  });
  const shown = (list) => list.map((ms) => ms.toFixed(0)).join(" / ");
  t.diagnostic(`frame while scrolling, median / 95 % / worst: ${shown(frames.scroll)} ms`);
  t.diagnostic(`seek to the next frame, median / 95 %: ${shown(frames.seek)} ms`);
  await close();
});
