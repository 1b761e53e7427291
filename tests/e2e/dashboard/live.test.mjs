// The stream: how fast a change is seen, a gateway that goes and comes back, what an open page costs.
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { readFileSync } from "node:fs";
import { launch, shot, visit } from "./browser.mjs";
import { gateway } from "./gateway.mjs";

let browser;
before(async () => {
  browser = await launch();
});
after(() => browser.close());

test("it comes back by itself after a restart of the gateway", async (t) => {
  const running = await gateway();
  t.after(() => running.close());
  const expected = [/ERR_CONNECTION_REFUSED|ERR_INCOMPLETE_CHUNKED|ERR_CONNECTION_RESET|ERR_EMPTY_RESPONSE/];
  const { page, close } = await visit(browser, running.url, { path: "/models", expected });
  await page.locator('[data-phase="live"]').waitFor();
  await running.stop();
  await page.locator('[data-phase="offline"]').waitFor();
  await page.getByText(/The connection is lost. What you see is from/).waitFor();
  await page.locator("[data-model=qwen]").waitFor();
  assert.match(await page.title(), /^⚠ /);
  await shot(page, "models-offline");
  await running.start();
  await page.locator('[data-phase="live"]').waitFor({ timeout: 30_000 });
  await fetch(`${running.url}/api/admin/models/qwen/load`, { method: "POST" });
  await page.locator("[data-model=qwen] [data-state=ready]").first().waitFor();
  assert.doesNotMatch(await page.title(), /⚠/);
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
  const { replicas } = await running.model();
  const shown = seen.find(({ state }) => state === "ready").at;
  const latency = (shown - replicas[0].since) * 1000;
  t.diagnostic(`from ready in the gateway to the frame that shows it: ${latency.toFixed(0)} ms`);
  // Polled, it could not be seen before the next question.
  assert.ok(seen.some(({ state }) => state === "loading"));
  await close();
});

test("an idle open page costs the gateway next to nothing", async (t) => {
  const running = await gateway();
  t.after(() => running.close());
  const { page, close } = await visit(browser, running.url);
  await page.locator('[data-phase="live"]').waitFor();
  const pid = /Started server process \[(\d+)\]/.exec(running.output())[1];
  const ticks = () => {
    const fields = readFileSync(`/proc/${pid}/stat`, "utf8").split(") ")[1].split(" ");
    return Number(fields[11]) + Number(fields[12]);
  };
  const samples = async () => (await page.evaluate(() => performance.getEntriesByType("resource"))).length;
  const [from, asked] = [ticks(), await samples()];
  const seconds = 20;
  await page.waitForTimeout(seconds * 1000);
  const share = ticks() - from; // of a hundredth of a second each
  t.diagnostic(`CPU of the gateway: ${(share / seconds).toFixed(2)} % of a core with a page open`);
  // How much it is depends on the machine; how often it is asked does not.
  const requests = (await samples()) - asked;
  assert.ok(requests <= 4, `${requests} requests in ${seconds} s: the stream brings the rest`);
  await close();
});
