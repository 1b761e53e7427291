// A recording with its transcript: seen, heard, named, searched by ear, taken away as files.
// The engines are tested elsewhere.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { after, before, test } from "node:test";
import { eventually, launch, shot, violations, visit } from "./browser.mjs";
import { gateway } from "./gateway.mjs";
import { transcribed } from "./recording.mjs";

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

const time = async (page) => {
  const [minutes, seconds] = (await page.getByTestId("time").innerText()).split(":").map(Number);
  return minutes * 60 + seconds;
};

const at = (page, seconds) =>
  eventually(async () => Math.abs((await time(page)) - seconds) < 0.2, `the player to be at ${seconds} s`);
const current = (page, word) => page.locator(".current", { hasText: new RegExp(`^${word}$`) }).waitFor();
const firstSpeaker = (page, name) =>
  eventually(
    async () => (await page.locator(".segment-speaker").first().innerText()) === name,
    `the first segment to be of ${name}`,
  );

test("words, lanes, names, files", async () => {
  const { page, sent, close } = await transcribed(browser, running.url, 60, 30, { width: 1400, height: 1000 });
  assert.match(sent[0], /name="response_format"\r\n\r\ndiarized_json/);
  assert.match(sent[0], /name="stream"\r\n\r\ntrue/);
  await page.getByRole("alert").getByText("'prompt' has no effect.").waitFor();
  await page.getByText("Language: French").waitFor();

  await page.getByText("word25", { exact: true }).click();
  await at(page, 12.5);
  await current(page, "word25");
  await page.getByRole("slider", { name: "Position in the recording" }).focus();
  await page.keyboard.press("ArrowRight");
  await at(page, 17.5);
  await current(page, "word35");

  await page.keyboard.press("Space");
  await page.getByRole("button", { name: "Pause" }).waitFor();
  const before = await time(page);
  await eventually(async () => (await time(page)) > before + 0.3, "the recording to play");
  await page.getByRole("button", { name: "Pause" }).click();

  await page.getByLabel("Name of A").fill("Marie Curie");
  await firstSpeaker(page, "Marie Curie");
  await page.getByRole("button", { name: "Hear only Marie Curie" }).click();
  const muted = page.locator('.segment[data-muted="true"]');
  await eventually(async () => (await muted.count()) === 4, "the others to be muted");
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
  const { page, close } = await transcribed(browser, running.url, 30, 15, { width: 1400 });
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
    const { page, close } = await transcribed(browser, running.url, 90, 45, { language: "fr", scheme, width, height: 900 });
    await page.getByRole("heading", { name: "Transcription" }).waitFor();
    assert.deepEqual(await violations(page), []);
    assert.ok(await page.evaluate(() => document.documentElement.scrollWidth <= window.innerWidth));
    await shot(page, `audio-result-fr-${scheme}-${width}`, { fullPage: true });
    await close();
  });

test("a long transcript is there in whole, and each of its words leads into it", async () => {
  const { page, close } = await transcribed(browser, running.url, 10_000, 3600, { width: 1400, height: 1000 });
  assert.equal(await page.locator("[data-word]").count(), 10_000);
  await page.getByText("word7919", { exact: true }).click();
  await current(page, "word7919");
  await close();
});

test("the next recording begins without the names of the last, and space and arrows play it", async () => {
  const { page, close } = await transcribed(browser, running.url, 60, 30, { width: 1400 });
  await page.getByLabel("Name of A").fill("Marie Curie");
  await page.getByRole("button", { name: "Another recording" }).click();
  await page.getByText("talk.wav").waitFor();
  await page.getByRole("button", { name: "Transcribe", exact: true }).click();
  await page.getByTestId("player").waitFor();
  await firstSpeaker(page, "A");
  assert.equal(await page.getByLabel("Name of A").inputValue(), "");
  await page.getByRole("heading", { name: "Transcript" }).click();
  await page.keyboard.press("ArrowRight");
  await at(page, 5);
  await page.keyboard.press("Space");
  await page.getByRole("button", { name: "Pause" }).waitFor();
  await close();
});

test("a try that fails or is cancelled costs neither the recording nor the options", async () => {
  const expected = [/status of 503/];
  const { page, close } = await transcribed(browser, running.url, 10, 5, { expected });
  await page.unroute("**/v1/audio/transcriptions");
  let answer = (route) => route.fulfill({ status: 503, json: { error: { message: "It is loading." } } });
  await page.route("**/v1/audio/transcriptions", (route) => answer(route));
  await page.getByRole("button", { name: "Another recording" }).click();
  await page.getByLabel("Number of speakers").fill("3");
  const start = page.getByRole("button", { name: "Transcribe", exact: true });
  await start.click();
  await page.getByText("It is loading.").waitFor();
  await page.getByText("talk.wav").waitFor();
  assert.equal(await page.getByLabel("Number of speakers").inputValue(), "3");
  answer = () => undefined;
  await start.click();
  await page.getByTestId("stages").waitFor();
  await page.getByRole("button", { name: "Cancel" }).click();
  await start.waitFor();
  assert.ok(await start.isEnabled());
  assert.equal(await page.getByLabel("Number of speakers").inputValue(), "3");
  await page.unrouteAll({ behavior: "ignoreErrors" });
  await close();
});

test("a recording is made with the microphone, or it is said why it cannot be", async (t) => {
  const key = "admin-key-0123456789";
  const guarded = await gateway({ ADMIN_API_KEYS: `ops:${key}`, MODEL_SET: "demo" });
  t.after(() => guarded.close());
  const own = await launch(
    "--use-fake-device-for-media-stream",
    "--use-fake-ui-for-media-stream",
    "--host-resolver-rules=MAP gateway.test 127.0.0.1",
  );
  t.after(() => own.close());
  const path = `/audio#key=${key}`;
  const here = await visit(own, guarded.url, { path });
  await here.page.getByRole("button", { name: "Record", exact: true }).click();
  await here.page.getByRole("button", { name: /^Stop recording · 1 s/ }).click();
  await here.page.getByText("recording.webm").waitFor();
  assert.ok(await here.page.getByRole("button", { name: "Transcribe", exact: true }).isEnabled());
  await here.close();
  const far = await visit(own, guarded.url.replace("127.0.0.1", "gateway.test"), { path });
  await far.page.getByText(/Browsers give the microphone only to pages over HTTPS/).waitFor();
  assert.equal(await far.page.getByRole("button", { name: "Record", exact: true }).count(), 0);
  // Such a page has no clipboard of its own either, and its copy buttons work all the same.
  assert.equal(await far.page.evaluate(() => "clipboard" in navigator), false);
  await far.page.getByRole("link", { name: "API", exact: true }).click();
  await far.page.getByRole("button", { name: "Copy: Base URL" }).click();
  await far.page.getByRole("button", { name: "Copied" }).waitFor();
  await far.page.getByRole("link", { name: "Playground" }).click();
  const message = far.page.getByLabel("Message", { exact: true });
  await eventually(async () => {
    await message.fill("");
    await message.press("Control+v");
    return /^http:\/\/gateway\.test:\d+\/v1$/.test(await message.inputValue());
  }, "what was copied to be pasted");
  await far.close();
});
