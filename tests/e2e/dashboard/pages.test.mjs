// Every page, in both languages and both themes, narrow and wide: reachable, accessible, whole.
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { eventually, launch, shot, violations, visit } from "./browser.mjs";
import { gateway } from "./gateway.mjs";

const PAGES = {
  "/": ["Overview", "Aperçu"],
  "/models": ["Models", "Modèles"],
  "/playground": ["Playground", "Essais"],
  "/audio": ["Audio", "Audio"],
  "/activity": ["Activity", "Activité"],
  "/reference": ["API", "API"],
};
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

for (const [path, names] of Object.entries(PAGES))
  for (const [column, language] of ["en", "fr"].entries())
    for (const scheme of ["light", "dark"])
      test(`${path} ${language} ${scheme}`, async () => {
        const { page, close } = await visit(browser, running.url, { path, language, scheme });
        await page.getByRole("heading", { level: 1, name: names[column], exact: true }).waitFor();
        await page.locator("[aria-busy=true]").waitFor({ state: "detached" });
        assert.equal(await page.locator("html").getAttribute("lang"), language);
        assert.equal(await page.locator("html").getAttribute("data-mantine-color-scheme"), scheme);
        assert.deepEqual(await violations(page), []);
        for (const width of [1600, 360]) {
          await page.setViewportSize({ width, height: width === 360 ? 780 : 1000 });
          // The layout follows a changed window within a few frames.
          const fits = () =>
            page.evaluate(() => document.documentElement.scrollWidth <= window.innerWidth);
          await eventually(fits, `nothing wider than ${width} px`, 3_000);
          await shot(page, `${path.slice(1) || "overview"}-${language}-${scheme}-${width}`);
        }
        assert.deepEqual(await violations(page), []);
        await close();
      });

test("language and theme are switched, and remembered", async () => {
  const { page, close } = await visit(browser, running.url);
  await page.getByRole("button", { name: /^Language/ }).click();
  await page.getByRole("heading", { level: 1, name: "Aperçu" }).waitFor();
  await page.getByRole("button", { name: /^Thème/ }).click();
  await page.getByRole("button", { name: /^Thème.*Clair/ }).click();
  await page.reload();
  await page.getByRole("heading", { level: 1, name: "Aperçu" }).waitFor();
  assert.equal(await page.locator("html").getAttribute("data-mantine-color-scheme"), "dark");
  await close();
});

test("the keyboard goes everywhere", async () => {
  const { page, close } = await visit(browser, running.url);
  await page.getByRole("heading", { level: 1, name: "Overview" }).waitFor();
  await page.keyboard.press("Tab");
  assert.equal(await page.evaluate(() => document.activeElement.textContent), "Skip to the content");
  await page.keyboard.press("Enter");
  await page.locator("#main:focus").waitFor();
  await page.keyboard.press("g");
  await page.keyboard.press("r");
  await page.getByRole("heading", { level: 1, name: "Activity" }).waitFor();
  await page.keyboard.press("?");
  await page.getByRole("dialog", { name: "Keyboard" }).waitFor();
  assert.deepEqual(await violations(page), []);
  await page.keyboard.press("Escape");
  await page.getByRole("dialog").waitFor({ state: "detached" });
  // Whatever a dialog was opened with has the focus again.
  const key = page.getByRole("button", { name: /^API key/ });
  await key.focus();
  await page.keyboard.press("Enter");
  await page.getByRole("dialog", { name: "API key" }).waitFor();
  await page.keyboard.press("Escape");
  await page.getByRole("dialog").waitFor({ state: "detached" });
  await eventually(() => key.evaluate((button) => button === document.activeElement), "the focus");
  await page.keyboard.press("Control+k");
  await page.getByRole("dialog").getByRole("combobox").fill("playg");
  assert.deepEqual(await violations(page), []);
  await page.keyboard.press("Enter");
  await page.getByRole("heading", { level: 1, name: "Playground" }).waitFor();
  await close();
});

test("the palette loads a model, and holds what the header holds", async () => {
  const { page, close } = await visit(browser, running.url);
  const run = async (words) => {
    await page.getByRole("button", { name: "Go anywhere, do anything" }).click();
    await page.getByRole("dialog").getByRole("combobox").fill(words);
    await page.keyboard.press("Enter");
  };
  await run("load qwen");
  await page.getByRole("heading", { level: 1, name: "Models" }).waitFor();
  await page.locator("[data-model=qwen] [data-state=ready]").first().waitFor();
  await run("keyboard");
  await page.getByRole("dialog", { name: "Keyboard" }).waitFor();
  await page.keyboard.press("Escape");
  await page.getByRole("dialog").waitFor({ state: "detached" });
  await run("dark");
  await page.locator('html[data-mantine-color-scheme="dark"]').waitFor();
  await run("français");
  await page.getByRole("heading", { level: 1, name: "Modèles" }).waitFor();
  await close();
});

test("the interactive reference needs no other host and no inline script", async () => {
  const { page, close } = await visit(browser, running.url, { path: "/docs" });
  await page.getByText("/v1/chat/completions").first().waitFor();
  await close();
});

test("a log follows until its reader scrolls up, and wraps on demand", async () => {
  const { page, close } = await visit(browser, running.url, { path: "/activity", height: 600 });
  await page.getByRole("tab", { name: "Logs" }).click();
  const log = page.getByRole("log");
  const follow = page.getByRole("switch", { name: "Follow" });
  await log.getByText("listening on").waitFor();
  await log.evaluate(async (box) => {
    box.style.height = "60px";
    box.scrollTop = box.scrollHeight;
    await new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)));
    box.scrollTop = 0;
  });
  await eventually(async () => !(await follow.isChecked()), "reading to stop the following");
  assert.deepEqual(await violations(page), []);
  await page.getByRole("button", { name: /Jump to the newest line/ }).click();
  const end = (box) => box.scrollHeight - box.scrollTop - box.clientHeight;
  await eventually(async () => (await log.evaluate(end)) < 24, "the end to be in sight");
  await eventually(() => follow.isChecked(), "it to follow again");
  const wide = (box) => box.scrollWidth > box.clientWidth;
  await page.setViewportSize({ width: 700, height: 600 });
  await eventually(async () => !(await log.evaluate(wide)), "lines to be wrapped");
  await page.getByRole("switch", { name: "Wrap lines" }).click();
  await eventually(() => log.evaluate(wide), "lines to be as long as they are");
  await close();
});

test("snippets follow the task, logs follow the gateway", async () => {
  const { page, close } = await visit(browser, running.url, { path: "/reference" });
  await page.getByText("Streaming", { exact: true }).click();
  await page.getByRole("region", { name: "curl" }).getByText('"stream": true').waitFor();
  await page.getByRole("tab", { name: "Python" }).click();
  await page.getByRole("region", { name: "Python" }).getByText("for chunk in answer").waitFor();
  await page.getByRole("link", { name: "Activity" }).click();
  await page.getByRole("tab", { name: "Logs" }).click();
  const log = page.getByRole("log");
  await log.getByText("listening on").waitFor();
  await fetch(`${running.url}/api/admin/models/qwen/load?wait=true`, { method: "POST" });
  await log.getByText("settled: ready").waitFor();
  await page.getByLabel(/^Filter/).fill("settled:.*ready");
  await eventually(async () => (await log.locator(".log-line").count()) === 1, "one line to be left");
  assert.deepEqual(await violations(page), []);
  await close();
});
