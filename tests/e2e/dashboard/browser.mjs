// Debian's Chromium, steered by playwright-core from the dashboard's own packages.
import assert from "node:assert/strict";
import { mkdirSync } from "node:fs";
import { createRequire } from "node:module";
import { join } from "node:path";
import { ROOT } from "./gateway.mjs";

const require = createRequire(join(ROOT, "frontend", "package.json"));
const { chromium } = require("playwright-core");
const { AxeBuilder } = require("@axe-core/playwright");

export const SHOTS = join(ROOT, "build", "screenshots");
const CHROMIUM = process.env.CHROMIUM ?? "/usr/bin/chromium";
const QUIET = [
  "--no-sandbox",
  "--disable-gpu",
  "--disable-background-networking",
  "--disable-component-update",
  "--disable-sync",
  "--autoplay-policy=no-user-gesture-required",
];

export function launch(...more) {
  return chromium.launch({ executablePath: CHROMIUM, args: [...QUIET, ...more] });
}

/**
 * A page that notes every mistake: uncaught errors, console errors, requests to other hosts.
 * `expected` are patterns of console errors that a test provokes.
 */
export async function visit(browser, url, options = {}) {
  const { path = "/", language = "en", scheme = "light", width = 1280, height = 860, expected = [], init } = options;
  const context = await browser.newContext({
    locale: language === "fr" ? "fr-FR" : "en-GB",
    colorScheme: scheme,
    viewport: { width, height },
    reducedMotion: "reduce",
  });
  context.setDefaultTimeout(15_000);
  if (init) await context.addInitScript(init);
  const page = await context.newPage();
  const mistakes = [];
  page.on("pageerror", (error) => mistakes.push(`uncaught: ${error.stack ?? error}`));
  page.on("console", (message) => {
    const text = `${message.text()} ${message.location().url}`;
    if (message.type() === "error" && !expected.some((pattern) => pattern.test(text)))
      mistakes.push(`console: ${text}`);
  });
  page.on("request", (request) => {
    const target = new URL(request.url());
    if (/^https?:$/.test(target.protocol) && target.origin !== new URL(url).origin)
      mistakes.push(`request to another host: ${request.url()}`);
  });
  await page.goto(url + path);
  return {
    page,
    mistakes,
    async close() {
      await context.close();
      assert.deepEqual(mistakes, []);
    },
  };
}

export async function shot(page, name, options = {}) {
  mkdirSync(SHOTS, { recursive: true });
  await page.screenshot({ path: join(SHOTS, `${name}.png`), ...options });
}

/** What axe finds, as readable lines; empty is what is wanted. */
export async function violations(page) {
  await page.mouse.move(0, 0); // a tooltip is in no landmark
  await page.getByRole("tooltip").first().waitFor({ state: "detached" });
  const more = { rules: { "target-size": { enabled: true } } };
  const { violations: found } = await new AxeBuilder({ page }).options(more).analyze();
  return found.map(({ id, nodes }) => {
    const shown = nodes.slice(0, 3).map(({ target, failureSummary }) => `${target} ${failureSummary}`);
    return `${id} (${nodes.length}): ${shown.join(" | ")}`;
  });
}

/** Until `check` gives something true; its last value is in the complaint. */
export async function eventually(check, what, ms = 15_000) {
  const deadline = Date.now() + ms;
  while (true) {
    const found = await check();
    if (found) return found;
    if (Date.now() > deadline) throw new Error(`not within ${ms} ms: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}
