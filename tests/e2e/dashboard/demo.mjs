// The real engines with the demo models behind the dashboard; DASHBOARD_URL says where.
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { join } from "node:path";
import { eventually, launch, shot, violations, visit } from "./browser.mjs";
import { ROOT } from "./gateway.mjs";

const URL_ = process.env.DASHBOARD_URL;
/** Engines start on a processor that may be busy. */
const START_MS = 240_000;
const PIXEL =
  "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg==";
let browser;
before(async () => {
  browser = await launch();
});
after(() => browser.close());

test("a dialogue is transcribed, its speakers told apart, and its words lead into it", async (t) => {
  const { page, close } = await visit(browser, URL_, { path: "/audio", width: 1400, height: 1000 });
  await page.locator("input[type=file]").first().setInputFiles(join(ROOT, "demo", "audio", "dialogue-two.wav"));
  await page.getByRole("button", { name: "Transcribe", exact: true }).click();
  await page.getByTestId("stages").waitFor();
  await page.getByTestId("player").waitFor({ timeout: START_MS });
  assert.ok((await page.getByRole("button", { name: /^Hear only/ }).count()) >= 2, "two speakers");
  const words = page.locator("[data-word]");
  const at = Number(await words.nth(3).getAttribute("data-at"));
  await words.nth(3).click();
  await eventually(
    async () => Math.abs((await page.locator("audio").evaluate((one) => one.currentTime)) - at) < 0.05,
    "the player to stand at the word",
  );
  assert.match(await page.locator(".current").innerText(), /\w/);
  assert.equal(await page.getByText("There is no outline").count(), 0);
  await page.mouse.move(0, 0);
  assert.deepEqual(await violations(page), []);
  await shot(page, "demo-audio");
  t.diagnostic(await page.locator(".transcript").innerText());
  await close();
});

test("a question about an image is answered", async (t) => {
  const { page, close } = await visit(browser, URL_, { path: "/playground", width: 1400, height: 1000 });
  const chooser = page.waitForEvent("filechooser");
  await page.getByRole("button", { name: "Add images" }).click();
  const buffer = Buffer.from(PIXEL, "base64");
  await (await chooser).setFiles({ name: "dot.png", mimeType: "image/png", buffer });
  await page.getByLabel("Message").fill("What colour is the image?");
  await page.getByLabel("Max. tokens").fill("24");
  await page.getByRole("button", { name: "Send", exact: true }).click();
  await page.getByTestId("stats").waitFor({ timeout: START_MS });
  assert.equal(await page.locator(".message-assistant [role=alert]").count(), 0);
  await shot(page, "demo-image");
  t.diagnostic(await page.locator(".message-assistant .markdown").innerText());
  await close();
});

test("a tool is called, and its result is taken into account", async (t) => {
  const { page, close } = await visit(browser, URL_, { path: "/playground", width: 1400, height: 1000 });
  await page.getByRole("button", { name: "Tools" }).click();
  await page.getByRole("button", { name: "Insert an example" }).click();
  await page.getByLabel("Temperature").fill("0");
  await page.getByLabel("Message").fill("What is the weather in Paris?");
  await page.getByRole("button", { name: "Send", exact: true }).click();
  await page.getByText("Calls get_weather").waitFor({ timeout: START_MS });
  assert.match(await page.getByRole("region", { name: "get_weather" }).innerText(), /Paris/);
  await page.getByLabel(/^Result for the model/).fill('{"weather": "sunny"}');
  await page.getByRole("button", { name: "Send the results" }).click();
  await page.getByTestId("stats").nth(1).waitFor({ timeout: START_MS });
  assert.equal(await page.locator(".message-assistant [role=alert]").count(), 0);
  await page.mouse.move(0, 0);
  assert.deepEqual(await violations(page), []);
  await shot(page, "demo-tools");
  t.diagnostic(await page.locator(".message-assistant .markdown").last().innerText());
  await close();
});

test("what was loaded is unloaded, with a receipt", async (t) => {
  const { page, close } = await visit(browser, URL_, { path: "/models", width: 1400, height: 1000 });
  const card = page.locator("[data-model=pyannote]");
  await card.locator("[data-state=ready]").first().waitFor({ timeout: START_MS });
  await card.getByRole("button", { name: "Unload" }).click();
  const receipt = card.getByTestId("receipt");
  await receipt.waitFor({ timeout: START_MS });
  assert.match(await receipt.innerText(), /Unloaded in .* (came back|with the process)/);
  await card.locator("[data-state=idle]").first().waitFor();
  assert.deepEqual(await violations(page), []);
  await shot(page, "demo-models");
  t.diagnostic(await receipt.innerText());
  await close();
});
