// The stream: a change is seen, a gateway goes and comes back, an open page asks next to nothing.
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { eventually, launch, shot, visit } from "./browser.mjs";
import { gateway } from "./gateway.mjs";

let browser;
before(async () => {
  browser = await launch();
});
after(() => browser.close());

/** Until the pages that nobody has opened yet have been fetched, with all that they import. */
async function pagesFetched(page) {
  const names = ["OverviewPage", "PlaygroundPage", "AudioPage", "ActivityPage", "ReferencePage"];
  const fetched = () =>
    page.evaluate(
      (names) =>
        performance
          .getEntriesByType("resource")
          .map(({ name }) => name)
          .filter((url) => names.some((name) => url.includes(`/assets/${name}-`) && url.endsWith(".js"))),
      names,
    );
  const urls = await eventually(async () => {
    const found = await fetched();
    return found.length >= names.length && found;
  }, "the other pages to be fetched");
  await page.evaluate((urls) => Promise.all(urls.map((url) => import(url))), urls);
}

test("it comes back by itself after a restart of the gateway", async (t) => {
  const running = await gateway();
  t.after(() => running.close());
  const expected = [/ERR_CONNECTION_REFUSED|ERR_INCOMPLETE_CHUNKED|ERR_CONNECTION_RESET|ERR_EMPTY_RESPONSE/];
  const { page, close } = await visit(browser, running.url, { path: "/models", expected });
  await page.locator('[data-phase="live"]').waitFor();
  await pagesFetched(page);
  await running.stop();
  await page.locator('[data-phase="offline"]').waitFor();
  await page.getByText(/The connection is lost. What you see is from/).waitFor();
  await page.locator("[data-model=qwen]").waitFor();
  assert.match(await page.title(), /^⚠ /);
  await shot(page, "models-offline");
  // Pages that nobody has opened yet are there too, and what was known is on them.
  for (const name of ["Overview", "Playground", "Audio", "Activity", "API"]) {
    await page.getByRole("link", { name, exact: true }).click();
    await page.getByRole("heading", { level: 1, name }).waitFor();
    await page.getByText(/The connection is lost. What you see is from/).waitFor();
  }
  await page.getByRole("link", { name: "Models", exact: true }).click();
  await running.start();
  await page.locator('[data-phase="live"]').waitFor({ timeout: 30_000 });
  await fetch(`${running.url}/api/admin/models/qwen/load`, { method: "POST" });
  await page.locator("[data-model=qwen] [data-state=ready]").first().waitFor();
  assert.doesNotMatch(await page.title(), /⚠/);
  await close();
});

test("a model that nobody asks anything counts down, and goes", async (t) => {
  const running = await gateway({ QWEN_IDLE_UNLOAD_S: "6" });
  t.after(() => running.close());
  // The browser's clock is ten minutes slow; what is told is told by the gateway's.
  const init = "const right = Date.now; Date.now = () => right() - 600_000;";
  const { page, close } = await visit(browser, running.url, { path: "/models", init });
  await page.locator('[data-phase="live"]').waitFor();
  await fetch(`${running.url}/api/admin/models/qwen/load`, { method: "POST" });
  const left = page.getByTestId("idle");
  await left.getByText(/unloaded in [0-6] s/).waitFor();
  const seen = await left.innerText();
  await eventually(async () => (await left.innerText()) !== seen, "a second to pass");
  await left.waitFor({ state: "detached" });
  await page.getByTestId("receipt").waitFor();
  await close();
});

test("the log goes on with the lines of the gateway's next life", async (t) => {
  const running = await gateway();
  t.after(() => running.close());
  const expected = [/ERR_CONNECTION_REFUSED|ERR_INCOMPLETE_CHUNKED|ERR_CONNECTION_RESET|ERR_EMPTY_RESPONSE/];
  const { page, close } = await visit(browser, running.url, { path: "/activity", expected });
  await page.getByRole("tab", { name: "Logs" }).click();
  const log = page.getByRole("log");
  const started = log.getByText("listening on");
  await started.waitFor();
  await running.stop();
  await page.locator('[data-phase="offline"]').waitFor();
  await running.start();
  await started.nth(1).waitFor({ timeout: 30_000 });
  await close();
});

test("a change in the gateway is on the screen at once", async (t) => {
  const running = await gateway({}, "--fake-load-s 0.3");
  t.after(() => running.close());
  const { page, close } = await visit(browser, running.url, { path: "/models" });
  await page.locator('[data-phase="live"]').waitFor();
  await page.locator("[data-model=qwen]").waitFor();
  await page.evaluate(() => {
    window.seen = [];
    const card = document.querySelector("[data-model=qwen]");
    new MutationObserver(() => {
      const state = card.querySelector("[data-state]")?.dataset.state;
      if (window.seen.at(-1)?.state !== state)
        requestAnimationFrame(() => window.seen.push({ state, at: Date.now() / 1000 }));
    }).observe(card, { subtree: true, childList: true, attributes: true });
  });
  await fetch(`${running.url}/api/admin/models/qwen/load`, { method: "POST" });
  await page.locator("[data-model=qwen] [data-state=ready]").first().waitFor();
  const seen = await page.evaluate(() => window.seen);
  // Polled, it could not be seen before the next question.
  assert.ok(seen.some(({ state }) => state === "loading"));
  await close();
});

test("an open page asks next to nothing: the stream brings it", async (t) => {
  const running = await gateway();
  t.after(() => running.close());
  const { page, close } = await visit(browser, running.url);
  await page.locator('[data-phase="live"]').waitFor();
  await page.getByRole("heading", { name: "No GPU detected" }).waitFor();
  await pagesFetched(page);
  const asked = () => page.evaluate(() => performance.getEntriesByType("resource").length);
  const samples = async () => (await running.api("/api/admin/history")).samples.length;
  const looked = async () => (await running.api("/api/admin/status")).dependencies.length > 0;
  await eventually(looked, "the gateway to have looked at its libraries", 60_000);
  const [before, seen] = [await asked(), await samples()];
  await eventually(async () => (await samples()) >= seen + 5, "five samples of the machine", 60_000);
  const requests = (await asked()) - before;
  assert.ok(requests <= 3, `${requests} requests while five samples came`);
  await close();
});
