// Who gets in: open on this machine, a key asked for elsewhere, and which one is missing.
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { eventually, launch, visit } from "./browser.mjs";
import { gateway, ROOT } from "./gateway.mjs";

const REFUSED = [/status of 40[13]/];
const KEYS = { OPENAI_API_KEYS: "app:inference-key", ADMIN_API_KEYS: "ops:admin-key-0123456789" };
let browser;
before(async () => {
  browser = await launch();
});
after(() => browser.close());

const heading = (page, name) => page.getByRole("heading", { name });

describe("without keys", () => {
  let open;
  before(async () => {
    open = await gateway();
  });
  after(() => open.close());

  test("a first visit shows the machine at once", async () => {
    const { page, close } = await visit(browser, open.url);
    await heading(page, "No GPU detected").waitFor();
    await page.locator('[data-phase="live"]').waitFor();
    await page.getByText(/^Demonstration models:/).waitFor();
    assert.equal(await page.title(), "Overview · Gateway");
    await close();
  });

  test("unknown addresses are JSON, pages are the dashboard, assets are kept", async () => {
    for (const path of ["/v1/nothing", "/api/nothing", "/assets/nothing.js", "/nothing"]) {
      const answer = await fetch(open.url + path, { headers: { accept: "text/html" } });
      assert.match(answer.headers.get("content-type"), /^application\/json/, path);
      assert.equal(answer.status, 404, path);
    }
    for (const path of ["/", "/models", "/playground", "/audio", "/activity", "/reference"]) {
      const answer = await fetch(open.url + path);
      assert.equal(answer.headers.get("cache-control"), "no-cache", path);
      assert.match(answer.headers.get("content-security-policy"), /default-src 'self'/, path);
      const text = await answer.text();
      const asset = /src="(\/assets\/[^"]+\.js)"/.exec(text)?.[1];
      assert.ok(asset, path);
      const script = await fetch(open.url + asset);
      assert.match(script.headers.get("cache-control"), /immutable/);
    }
  });
});

test("the development server proxies to the gateway", async (t) => {
  const running = await gateway();
  t.after(() => running.close());
  const frontend = join(ROOT, "frontend");
  const vite = spawn(join(frontend, "node_modules", ".bin", "vite"), ["--host", "127.0.0.1", "--port", "0"], {
    cwd: frontend,
    env: { ...process.env, GATEWAY_URL: running.url, NO_COLOR: "1" },
    stdio: ["ignore", "pipe", "inherit"],
  });
  t.after(() => vite.kill("SIGKILL"));
  let said = "";
  vite.stdout.setEncoding("utf8").on("data", (piece) => {
    said += piece;
  });
  const found = await eventually(() => /http:\/\/127\.0\.0\.1:\d+/.exec(said), "an address", 60_000);
  for (const path of ["/api/admin/status", "/v1/models"])
    assert.ok(await (await fetch(found[0] + path)).json(), path);
});

describe("with keys", () => {
  let closed;
  before(async () => {
    closed = await gateway(KEYS);
  });
  after(() => closed.close());

  const give = async (page, key) => {
    await page.getByLabel("Key", { exact: true }).fill(key);
    await page.getByRole("button", { name: "Save" }).click();
  };

  test("the page says which key is missing, and a wrong one is told", async () => {
    const { page, close } = await visit(browser, closed.url, { expected: REFUSED });
    await heading(page, "An admin key is needed here").waitFor();
    await page.locator('[data-phase="denied"]').waitFor();
    await page.getByRole("button", { name: "Enter a key" }).click();
    await give(page, "wrong");
    await page.getByText("The gateway does not know the key that was given.").waitFor();
    await page.getByRole("button", { name: "Enter a key" }).click();
    await page.getByLabel("Key", { exact: true }).fill("admin-key-0123456789");
    await page.getByRole("button", { name: "Test" }).click();
    await page.getByText("Administration: works").waitFor();
    await page.getByText("Inference: works").waitFor();
    await page.getByRole("button", { name: "Save" }).click();
    await heading(page, "No GPU detected").waitFor();
    await page.locator('[data-phase="live"]').waitFor();
    await page.reload();
    await heading(page, "No GPU detected").waitFor();
    await close();
  });

  test("an inference key opens the playground but not the machine", async () => {
    const { page, close } = await visit(browser, closed.url, { expected: REFUSED });
    await page.getByRole("button", { name: "Enter a key" }).click();
    await give(page, "inference-key");
    await page.getByText("The key that was given is an inference key").waitFor();
    await page.getByRole("link", { name: "Playground" }).click();
    await page.getByLabel("Message").waitFor();
    await close();
  });

  test("the printed link opens it and leaves the address bar", async () => {
    const { page, close } = await visit(browser, closed.url, {
      path: "/#key=admin-key-0123456789",
    });
    await heading(page, "No GPU detected").waitFor();
    assert.equal(page.url(), `${closed.url}/`);
    assert.equal(await page.evaluate(() => localStorage.getItem("gateway.key")), "admin-key-0123456789");
    await close();
  });

  test("a browser that keeps nothing still works, and it is said", async () => {
    const init = () => {
      Storage.prototype.setItem = () => {
        throw new DOMException("refused", "SecurityError");
      };
    };
    const { page, close } = await visit(browser, closed.url, { expected: REFUSED, init });
    await page.getByRole("button", { name: "Enter a key" }).click();
    await give(page, "admin-key-0123456789");
    await heading(page, "No GPU detected").waitFor();
    await page.getByRole("button", { name: /API key/ }).click();
    await page.getByText("forgotten when the page is closed").waitFor();
    await close();
  });

  test("the key is in no address", async () => {
    const { page, close } = await visit(browser, closed.url, { path: "/models#key=admin-key-0123456789" });
    const addresses = [];
    page.on("request", (request) => addresses.push(request.url()));
    await page.locator("[data-model=qwen]").waitFor();
    await page.getByRole("link", { name: "Activity" }).click();
    await page.getByText("No request yet").waitFor();
    assert.ok(addresses.length > 0);
    assert.deepEqual(addresses.filter((url) => url.includes("admin-key")), []);
    await close();
  });
});
