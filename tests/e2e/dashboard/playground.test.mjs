// Asking a model: streaming, stopping, images, tools, and the code that does the same.
import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { after, before, test } from "node:test";
import { promisify } from "node:util";
import { eventually, launch, shot, violations, visit } from "./browser.mjs";
import { gateway } from "./gateway.mjs";

const PIXEL =
  "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg==";
let browser;
let running;
before(async () => {
  browser = await launch();
  running = await gateway({}, "--fake-tps 25 --fake-tokens 50");
});
after(async () => {
  await browser.close();
  await running.close();
});

const open = () => visit(browser, running.url, { path: "/playground" });
const send = async (page, text) => {
  await page.getByLabel("Message").fill(text);
  await page.getByRole("button", { name: "Send", exact: true }).click();
};

test("an answer streams, is measured, and can be stopped", async () => {
  const { page, close } = await open();
  await send(page, "hello **there**");
  await page.getByTestId("live").getByText(/~\d+ tokens/).waitFor();
  await shot(page, "playground-streaming");
  await page.getByTestId("stats").waitFor();
  const stats = await page.getByTestId("stats").innerText();
  assert.match(stats, /first token .* · 50 tokens · [\d.]+ tokens\/s · .* in all · ended: stop/);
  await page.locator(".markdown strong", { hasText: /^there$/ }).first().waitFor();
  assert.deepEqual(await violations(page), []);

  await send(page, "again");
  await page.getByTestId("live").getByText(/~\d+ tokens/).waitFor();
  await page.getByRole("button", { name: "Stop" }).click();
  await page.getByText("ended: stopped").waitFor();
  await eventually(async () => {
    const { in_flight, recent } = await running.api("/api/admin/requests");
    return in_flight.length === 0 && recent[0].outcome === "cancelled";
  }, "the engine's work to end too");
  await close();
});

test("images are shown, sent, and named in the code", async () => {
  const { page, close } = await open();
  const chooser = page.waitForEvent("filechooser");
  await page.getByRole("button", { name: "Add images" }).click();
  await (await chooser).setFiles({ name: "dot.png", mimeType: "image/png", buffer: Buffer.from(PIXEL, "base64") });
  await page.getByAltText("Image 1").waitFor();
  await page.getByLabel("Message").fill("what is it?");
  const code = page.getByRole("region", { name: "curl" });
  await code.getByText("image_url").waitFor();
  const asked = page.waitForRequest("**/v1/chat/completions");
  await page.getByLabel("Message").press("Control+Enter");
  const body = (await asked).postDataJSON();
  assert.equal(body.messages[0].content[0].image_url.url, `data:image/png;base64,${PIXEL}`);
  assert.equal(body.messages[0].content[1].text, "what is it?");
  await page.getByTestId("stats").waitFor();
  await page.getByRole("tab", { name: "Request", exact: true }).click();
  const shown = await page.getByRole("region", { name: "Request", exact: true }).innerText();
  assert.match(shown, /"what is it\?"/);
  await close();
});

test("images are pasted and dropped, and what is no image is told", async () => {
  const { page, close } = await open();
  const hand = (kind, name, type) =>
    page.getByLabel("Message").evaluate(
      (field, [kind, name, type, pixel]) => {
        const bytes = Uint8Array.from(atob(pixel), (letter) => letter.charCodeAt(0));
        const transfer = new DataTransfer();
        transfer.items.add(new File([bytes], name, { type }));
        const event =
          kind === "paste"
            ? new ClipboardEvent("paste", { clipboardData: transfer, bubbles: true })
            : new DragEvent("drop", { dataTransfer: transfer, bubbles: true, cancelable: true });
        field.dispatchEvent(event);
      },
      [kind, name, type, PIXEL],
    );
  await hand("paste", "a.png", "image/png");
  await page.getByAltText("Image 1").waitFor();
  await hand("drop", "b.png", "image/png");
  await page.getByAltText("Image 2").waitFor();
  await hand("drop", "notes.txt", "text/plain");
  await page.getByText("notes.txt is not an image.").waitFor();
  await page.getByRole("button", { name: "Remove image 1" }).click();
  await page.getByAltText("Image 2").waitFor({ state: "detached" });
  assert.deepEqual(await violations(page), []);
  await close();
});

test("the conversation is still there after a look at another page", async () => {
  const { page, close } = await open();
  await send(page, "one");
  await page.getByTestId("stats").waitFor();
  await page.getByRole("link", { name: "Activity" }).click();
  await page.locator("tbody tr").first().waitFor();
  await page.getByRole("link", { name: "Playground" }).click();
  await page.getByTestId("stats").waitFor();
  await page.getByRole("button", { name: "New conversation" }).click();
  await page.getByRole("heading", { name: "Ask something" }).waitFor();
  await close();
});

test("tools that are no JSON are told before anything is sent", async () => {
  const { page, close } = await open();
  await page.getByRole("button", { name: "Tools" }).click();
  await page.getByLabel("Tools", { exact: true }).fill("{");
  await page.getByText("This is not a JSON array").waitFor();
  await page.getByRole("button", { name: "Insert an example" }).click();
  await page.getByLabel("Message").fill("weather?");
  await page.getByRole("region", { name: "curl" }).getByText("get_weather").waitFor();
  await close();
});

test("the code that is shown does what the page did", async () => {
  const { page, close } = await open();
  await page.getByLabel("Message").fill("it's a test");
  await page.getByLabel("Max. tokens").fill("3");
  const region = page.getByRole("region", { name: "curl" });
  await region.getByText('"max_tokens": 3').waitFor();
  const curl = await region.innerText();
  const { stdout } = await promisify(execFile)("bash", ["-c", curl], {
    env: { ...process.env, GATEWAY_API_KEY: "none" },
  });
  const chunks = stdout.split("\n\n").filter((event) => event.startsWith("data: {"));
  const { usage } = JSON.parse(chunks.at(-1).slice("data: ".length));
  assert.equal(usage.completion_tokens, 3);
  await close();
});

test("a request in flight is seen and stopped by the operator", async () => {
  const { page, close } = await visit(browser, running.url, { path: "/activity" });
  await page.getByText("No request in flight").waitFor();
  const body = { model: "qwen", messages: [{ role: "user", content: "hi" }], max_tokens: 2000, min_tokens: 2000, stream: true };
  const answer = fetch(`${running.url}/v1/chat/completions`, {
    method: "POST",
    headers: { "content-type": "application/json", "x-request-id": "ui-test-1" },
    body: JSON.stringify(body),
  }).then((response) => response.text());
  await page.getByRole("link", { name: "1 request in flight" }).waitFor();
  await page.getByRole("button", { name: "Stop ui-test-1" }).click();
  assert.match(await answer, /error/);
  await page.getByRole("button", { name: "Details of ui-test-1" }).click();
  await page.getByRole("dialog").getByText("an operator").waitFor();
  assert.deepEqual(await violations(page), []);
  await close();
});

test("the history is filtered, and read with j and k", async () => {
  const { page, close } = await visit(browser, running.url, { path: "/activity" });
  for (const [id, model] of [["hist-ok", "qwen"], ["hist-bad", "nobody"]])
    await fetch(`${running.url}/v1/chat/completions`, {
      method: "POST",
      headers: { "content-type": "application/json", "x-request-id": id },
      body: JSON.stringify({ model, messages: [{ role: "user", content: "hi" }], max_tokens: 2 }),
    });
  const details = (id) => page.getByRole("button", { name: `Details of ${id}` });
  await details("hist-ok").waitFor();
  await page.getByLabel("Request id").fill("hist-ok");
  await eventually(async () => (await page.locator("tbody tr").count()) === 1, "one row");
  await page.getByLabel("Request id").fill("no such request");
  await page.getByText("No request matches these filters").waitFor();
  await page.getByLabel("Request id").fill("");
  await details("hist-ok").waitFor();
  assert.ok((await page.locator("tbody tr").count()) > 1);
  await page.getByRole("heading", { name: "History" }).click();
  const shown = () => page.getByRole("dialog").locator(".mono").first().innerText();
  await page.keyboard.press("j");
  await page.getByRole("dialog").waitFor();
  const first = await shown();
  await page.keyboard.press("j");
  await eventually(async () => (await shown()) !== first, "the next request");
  await page.keyboard.press("k");
  await eventually(async () => (await shown()) === first, "the previous one");
  await close();
});
