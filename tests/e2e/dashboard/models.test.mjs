// Loading, unloading and failing, as the operator sees it.
import assert from "node:assert/strict";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { eventually, launch, shot, violations, visit } from "./browser.mjs";
import { gateway } from "./gateway.mjs";

const CONFLICT = [/status of (409|502|503)/];
let browser;
before(async () => {
  browser = await launch();
});
after(() => browser.close());

/** Ended with the test, however that ends. */
const started = async (t, ...how) => {
  const running = await gateway(...how);
  t.after(() => running.close());
  return running;
};
const card = (page) => page.locator("[data-model=qwen]");
const button = (page, name) => card(page).getByRole("button", { name, exact: true });
const state = (page, name) => card(page).locator(`[data-state=${name}]`).first().waitFor();

test("load, phases, ready, unload, receipt", async (t) => {
  const running = await started(t, {}, "--fake-load-s 5");
  const { page, close } = await visit(browser, running.url, { path: "/models" });
  await state(page, "idle");
  await button(page, "Load").click();
  await state(page, "loading");
  await page.getByTestId("progress").waitFor();
  const steps = await card(page).getByRole("listitem").allInnerTexts();
  assert.deepEqual(steps, ["Queued", "Starting", "Weights", "Compiling", "Warm-up", "Ready"]);
  assert.match(await page.getByTestId("progress").innerText(), /first load here/);
  // The browser says that its user wants no motion.
  assert.equal(await page.evaluate(() => document.getAnimations().length), 0);
  await shot(page, "models-loading");
  await state(page, "ready");
  await page.getByTestId("announcement").filter({ hasText: "qwen: Ready" }).waitFor();

  await page.getByRole("button", { name: "More about qwen" }).click();
  await page.getByRole("tab", { name: "Launch arguments" }).click();
  await page.getByRole("region", { name: "qwen-0" }).getByText("--uds").waitFor();
  await page.getByRole("tab", { name: "Log" }).click();
  await eventually(
    async () => (await card(page).getByRole("log").innerText()).length > 20,
    "lines of the engine",
  );
  await page.getByRole("tab", { name: "Timeline" }).click();
  await card(page).locator(".timeline").getByText("ready").first().waitFor();
  await page.getByRole("tab", { name: "Endpoints" }).click();
  await card(page).getByText(`${running.url}/v1/chat/completions`).waitFor();
  assert.deepEqual(await violations(page), []);

  await button(page, "Unload").click();
  await page.getByTestId("receipt").filter({ hasText: /Unloaded in .*came back/ }).waitFor();
  await state(page, "idle");
  await shot(page, "models-receipt");

  await button(page, "Load").click();
  await page.getByText(/usually about/).waitFor();
  await button(page, "Cancel").click();
  await state(page, "idle");
  await close();
});

test("a load that fails says why, with its last lines, and can be tried again", async (t) => {
  const running = await started(t, { CRASH_LIMIT: "1", CRASH_BACKOFF_S: "0.1" }, "--fake-exit-at-start 3");
  const { page, close } = await visit(browser, running.url, { path: "/models", expected: CONFLICT });
  await button(page, "Load").click();
  await state(page, "failed");
  const failure = page.getByTestId("failure");
  await failure.filter({ hasText: "exit code 3" }).waitFor();
  assert.deepEqual(await violations(page), []);
  await shot(page, "models-failed");
  const before = (await running.model()).runtime.last_error.at;
  await failure.getByRole("button", { name: "Retry" }).click();
  await eventually(async () => (await running.model()).runtime.last_error.at > before, "a new try");
  await page.getByRole("link", { name: "Overview" }).click();
  await page.getByRole("heading", { name: "Last errors" }).waitFor();
  await page.getByText("engine_crashed").or(page.getByText("model_failed")).first().waitFor();
  await close();
});

test("the placement dialog refuses what cannot be shared", async (t) => {
  const running = await started(t);
  const { page } = await visit(browser, running.url, { path: "/models" });
  const gpu = (index) => ({
    index, uuid: `GPU-${index}`, name: "NVIDIA H200", memory_total: 150e9, memory_used: 5e9,
    load: 0, temperature: 30, power: 80, power_limit: 700, throttling: [], processes: {},
    by_model: [], memory_other: 5e9,
  });
  await page.route("**/api/admin/events", (route) => route.abort());
  await page.route("**/api/admin/status", async (route) => {
    const answer = await route.fetch();
    const status = await answer.json();
    await route.fulfill({ json: { ...status, gpus: [0, 1, 2].map(gpu) } });
  });
  const asked = [];
  await page.route("**/models/qwen/load", (route) => {
    asked.push(route.request().postDataJSON());
    return route.continue();
  });
  await page.reload();
  await button(page, "Placement…").click();
  const dialog = page.getByRole("dialog");
  await dialog.getByText("These GPUs").click();
  for (const index of [0, 1, 2]) await dialog.getByLabel(`GPU ${index}`).check();
  await dialog.getByLabel("Replicas").fill("2");
  await dialog.getByText("3 GPUs cannot be shared equally by 2 replicas.").waitFor();
  const submit = dialog.getByRole("button", { name: "Load" });
  assert.ok(await submit.isDisabled());
  await dialog.getByLabel("GPU 1").uncheck();
  assert.deepEqual(await violations(page), []);
  await submit.click();
  await eventually(() => asked.length, "the request");
  assert.deepEqual(asked, [{ gpu_device_ids: [0, 2], replicas: 2 }]);
  await page.unrouteAll({ behavior: "ignoreErrors" });
  await page.context().close();
});

test("the models file is read again, and a mistake in it is told with its line", async (t) => {
  const directory = mkdtempSync(join(tmpdir(), "gw-models-"));
  t.after(() => rmSync(directory, { recursive: true, force: true }));
  const file = join(directory, "models.toml");
  writeFileSync(file, "[qwen]\nmax_queue = 10\n");
  const running = await started(t, { MODELS_FILE: file });
  const expected = [/status of 400/];
  const { page, close } = await visit(browser, running.url, { path: "/models", expected });
  await page.getByRole("button", { name: "Reload configuration" }).click();
  const dialog = page.getByRole("dialog");
  const reload = dialog.getByRole("button", { name: "Reload", exact: true });
  writeFileSync(file, "[qwen]\nmax_queue = 20\n");
  await reload.click();
  await dialog.getByText("qwen: changed (max_queue)").waitFor();
  assert.deepEqual(await violations(page), []);
  writeFileSync(file, "[qwen]\nmax_queu = 20\n");
  await reload.click();
  await dialog.getByText(/models\.toml:2: .*did you mean max_queue\?/).waitFor();
  await close();
});
