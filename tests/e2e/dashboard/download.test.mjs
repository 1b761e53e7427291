// Downloading from a Hub, with the token it asks for, and getting rid of the files again.
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { eventually, launch, shot, violations, visit } from "./browser.mjs";
import { gateway } from "./gateway.mjs";
import { Hub } from "./hub.mjs";

const REPO = "acme/chat";
const SIZE = 30_000_000;
// So slow that it can be watched and stopped on a busy machine.
const RATE = 2_000_000;
let browser;
let hub;
const settings = () => ({ QWEN_MODEL: REPO, HF_ENDPOINT: hub.url, HF_XET: "false" });
before(async () => {
  browser = await launch();
  hub = await new Hub().start();
  hub.add(REPO, { "config.json": "{}", "tokenizer.json": '{"model": 1}', "model.safetensors": SIZE });
});
after(async () => {
  await browser.close();
  hub.close();
});

const card = (page) => page.locator("[data-model=qwen]");
const button = (page, name) => card(page).getByRole("button", { name, exact: true });
const state = (page, name) => card(page).locator(`[data-state=${name}]`).first().waitFor({ timeout: 30_000 });

test("bytes, rate and percent while it downloads; cancel; again; verify; delete", async (t) => {
  const running = await gateway(settings());
  t.after(() => running.close());
  await hub.set({ faults: [{ match: "model.safetensors", do: "slow", rate: RATE }] });
  const { page, close } = await visit(browser, running.url, { path: "/models" });
  await state(page, "absent");
  await button(page, "Download").click();
  await state(page, "downloading");
  const progress = page.getByTestId("progress");
  await progress.getByText(/MiB \/ 28\.6 MiB · \d+(\.\d)?% · [\d.]+ MiB\/s · about .* left/).waitFor();
  const bar = progress.getByRole("progressbar");
  const first = Number(await bar.getAttribute("aria-valuenow"));
  await eventually(async () => Number(await bar.getAttribute("aria-valuenow")) > first, "it to grow");
  await shot(page, "models-downloading");
  assert.deepEqual(await violations(page), []);
  await button(page, "Cancel").click();
  await state(page, "absent");

  await hub.set({ faults: [] });
  await button(page, "Download").click();
  await state(page, "idle");
  await button(page, "Verify / Repair").waitFor();
  const files = page.getByTestId("files");
  await files.getByText(/All files are there and complete/).waitFor();
  const row = page.getByRole("row", { name: /acme\/chat/ });
  await row.getByText("28.6 MiB").waitFor({ timeout: 30_000 });
  assert.deepEqual(await violations(page), []);
  await shot(page, "models-cache", { fullPage: true });

  await page.getByRole("button", { name: `Delete ${REPO}` }).click();
  const dialog = page.getByRole("dialog");
  const confirm = dialog.getByRole("button", { name: "Delete" });
  assert.ok(await confirm.isDisabled());
  await dialog.getByRole("textbox").fill("acme/cha");
  assert.ok(await confirm.isDisabled());
  await dialog.getByRole("textbox").fill(REPO);
  assert.deepEqual(await violations(page), []);
  await confirm.click();
  await page.getByText(`${REPO} was deleted`).waitFor();
  await page.getByRole("heading", { name: "The cache is empty" }).waitFor();
  await close();
});

test("a gated repository says what is missing; the token opens it", async (t) => {
  await hub.set({ gated: [REPO], accounts: { hf_right: { name: "ann", repos: [REPO] } } });
  const running = await gateway(settings());
  t.after(() => running.close());
  const expected = [/status of (400|401|403|409|502|503)/];
  const { page, close } = await visit(browser, running.url, { path: "/models", expected });
  await button(page, "Download").click();
  await state(page, "failed");
  const licence = page.getByTestId("failure").getByRole("link");
  assert.match(await licence.getAttribute("href"), /acme\/chat/);
  await page.getByRole("button", { name: "Hugging Face token" }).click();
  const dialog = page.getByRole("dialog");
  await dialog.getByText("No token is set").waitFor();
  await dialog.getByText(REPO).waitFor();
  await dialog.getByLabel(/^New token/).fill("hf_wrong");
  await dialog.getByRole("button", { name: "Save and check" }).click();
  await dialog.getByText(/does not know this token/).waitFor();
  await dialog.getByLabel(/^New token/).fill("hf_right");
  await dialog.getByRole("button", { name: "Save and check" }).click();
  await dialog.getByText("The Hub accepts it: ann").waitFor();
  await dialog.getByText("accessible", { exact: true }).waitFor();
  assert.deepEqual(await violations(page), []);
  await shot(page, "models-token");
  await page.keyboard.press("Escape");
  await state(page, "idle");
  await close();
});
