// What doc/frontend.md says in numbers: `node tests/e2e/dashboard/figures.mjs`, after `npm run build`.
// Every figure is taken from a real gateway with a real browser; nothing is asserted here.
import { readFileSync } from "node:fs";
import { launch, visit } from "./browser.mjs";
import { gateway } from "./gateway.mjs";
import { transcribed } from "./recording.mjs";

const LOADS = 10;
const IDLE_S = 60;
const STEPS = 240;
const HERTZ = 100;

const at = (list, share) => [...list].sort((one, other) => one - other)[Math.floor(share * (list.length - 1))];
const spread = (list) => ({ median: at(list, 0.5), p95: at(list, 0.95), worst: at(list, 1) });
const rounded = (figures) =>
  Object.fromEntries(Object.entries(figures).map(([name, value]) => [name, Math.round(value * 100) / 100]));

/** From `ready` in the gateway to the frame that shows it, in milliseconds. One clock: one machine. */
async function latency(browser) {
  const running = await gateway({}, "--fake-load-s 0.1");
  const { page, close } = await visit(browser, running.url, { path: "/models" });
  await page.locator('[data-phase="live"]').waitFor();
  await page.evaluate(() => {
    window.seen = {};
    const card = document.querySelector("[data-model=qwen]");
    new MutationObserver(() => {
      const state = card.querySelector("[data-state]")?.dataset.state;
      requestAnimationFrame(() => {
        window.seen[state] ??= Date.now() / 1000;
      });
    }).observe(card, { subtree: true, childList: true, attributes: true });
  });
  const found = [];
  for (let load = 0; load < LOADS; load += 1) {
    await page.evaluate(() => {
      window.seen = {};
    });
    await running.api("/api/admin/models/qwen/load?wait=true", { method: "POST" });
    const shown = await page.waitForFunction(() => window.seen.ready).then((value) => value.jsonValue());
    found.push((shown - (await running.model()).replicas[0].since) * 1000);
    await running.api("/api/admin/models/qwen/unload?wait=true", { method: "POST" });
  }
  await close();
  await running.close();
  return rounded(spread(found));
}

/** Percent of a core that the gateway takes, alone and with an open page. */
async function idle(browser) {
  const running = await gateway();
  const pid = /Started server process \[(\d+)\]/.exec(running.output())[1];
  const ticks = () => {
    const fields = readFileSync(`/proc/${pid}/stat`, "utf8").split(") ")[1].split(" ");
    return Number(fields[11]) + Number(fields[12]);
  };
  const share = async () => {
    const from = ticks();
    await new Promise((resolve) => setTimeout(resolve, IDLE_S * 1000));
    return ((ticks() - from) / HERTZ / IDLE_S) * 100;
  };
  const alone = await share();
  const { page, close } = await visit(browser, running.url);
  await page.locator('[data-phase="live"]').waitFor();
  const asked = () => page.evaluate(() => performance.getEntriesByType("resource").length);
  const before = await asked();
  const watched = await share();
  const requests = (await asked()) - before;
  await close();
  await running.close();
  return rounded({ alone, watched, page: watched - alone, "requests per minute": (requests / IDLE_S) * 60 });
}

/** Milliseconds of a CPU that the page's thread has taken, by what for: no other process counts here. */
async function threadClock(page) {
  const session = await page.context().newCDPSession(page);
  await session.send("Performance.enable", { timeDomain: "threadTicks" });
  return async () => {
    const { metrics } = await session.send("Performance.getMetrics");
    const taken = Object.fromEntries(metrics.map(({ name, value }) => [name, value * 1000]));
    const { TaskDuration, LayoutDuration, RecalcStyleDuration, ScriptDuration } = taken;
    return { all: TaskDuration, ours: LayoutDuration + RecalcStyleDuration + ScriptDuration };
  };
}

/** Milliseconds between frames while an hour of 10 000 words scrolls, and from a click to its frame. */
async function transcript(browser) {
  const running = await gateway();
  const { page, close } = await transcribed(browser, running.url, 10_000, 3600, { width: 1400, height: 1000 });
  const cpu = await threadClock(page);
  const before = await cpu();
  const scroll = await page.evaluate(async (steps) => {
    const list = document.querySelector(".transcript");
    const scroll = [];
    let last = performance.now();
    for (let step = 0; step < steps; step += 1) {
      list.scrollTop = (list.scrollHeight * step) / steps;
      await new Promise(requestAnimationFrame);
      const now = performance.now();
      scroll.push(now - last);
      last = now;
    }
    return scroll.slice(1);
  }, STEPS);
  const after = await cpu();
  const perFrame = (what) => (after[what] - before[what]) / STEPS;
  const seek = await page.evaluate(async () => {
    const spans = [...document.querySelectorAll("[data-word]")];
    const seek = [];
    for (let step = 0; step < 60; step += 1) {
      const from = performance.now();
      spans[(step * 7919) % spans.length].click();
      await new Promise(requestAnimationFrame);
      seek.push(performance.now() - from);
    }
    return seek;
  });
  await close();
  await running.close();
  const thread = rounded({ frame: perFrame("all"), "layout, style, script": perFrame("ours") });
  return { scroll: rounded(spread(scroll)), thread, seek: rounded(spread(seek)) };
}

const browser = await launch();
const only = process.argv.slice(2);
for (const measure of [latency, transcript, idle])
  if (only.length === 0 || only.includes(measure.name))
    console.log(measure.name, JSON.stringify(await measure(browser)));
await browser.close();
