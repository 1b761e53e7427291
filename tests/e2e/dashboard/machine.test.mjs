// Eight GPUs on a machine that has none: the gateway's answer is changed on its way to the page.
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { launch, shot, violations, visit } from "./browser.mjs";
import { gateway } from "./gateway.mjs";

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

const gpu = (index) => ({
  index,
  uuid: `GPU-${index}`,
  name: "NVIDIA H200",
  memory_total: 143771 * 2 ** 20,
  memory_used: (index < 4 ? 120_000 : 600) * 2 ** 20,
  load: index < 4 ? 60 + index * 9 : 0,
  temperature: 38 + index * 4,
  power: 210.4 + index * 40,
  power_limit: 700,
  throttling: index === 3 ? ["power cap"] : [],
  processes: index < 4 ? { 4242: 119_000 * 2 ** 20 } : {},
  by_model:
    index < 4
      ? [
          { model: "qwen", replica: "qwen-0", bytes: 100_000 * 2 ** 20, by: "process" },
          { model: "canary", replica: "canary-0", bytes: 14_000 * 2 ** 20, by: "ledger" },
        ]
      : [],
  memory_other: (index < 4 ? 6_000 : 600) * 2 ** 20,
});

for (const scheme of ["light", "dark"])
  test(`GPU cards, ${scheme}`, async () => {
    const { page } = await visit(browser, running.url, { path: "/reference", scheme, width: 1600, height: 1200 });
    let frozen = false;
    let hanging = false;
    await page.route("**/api/admin/events", (route) => route.abort());
    await page.route("**/api/admin/status", async (route) => {
      if (frozen) return;
      const status = await (await route.fetch()).json();
      const { qwen } = status.models;
      const replica = { name: "qwen-0", state: "ready", gpu_ids: [0, 1, 2, 3], in_flight: 2, memory: { granted: 480e9, used: 450e9, peak: 451e9, by: "process", over_grant: "" }, restarts: 0, since: 0, loading_since: null, progress: null, failure: null, argv: [] };
      status.models.qwen = { ...qwen, state: "ready", in_flight: 2, replicas: [replica] };
      const gpus = Array.from({ length: 8 }, (_, index) => gpu(index));
      // A driver that hangs: the gateway answers, but what it says of the GPUs is 20 s old.
      const old = hanging ? { stale: true, gpus_at: status.at - 20 } : {};
      await route.fulfill({ json: { ...status, gpus, ...old } });
    });
    await page.goto(running.url);
    const card = page.locator('[data-gpu="3"]');
    await card.waitFor();
    const text = await card.innerText();
    for (const part of ["NVIDIA H200", "87%", "qwen 70%", "canary ≈ 10%", "other 4%", "117 / 140 GiB", "50 °C", "330 / 700 W", "Throttled: power cap"])
      assert.ok(text.includes(part), `${part} in ${text}`);
    await card.getByRole("img", { name: /Load 87%; the last 5 minutes/ }).waitFor();
    assert.equal(await card.getByRole("meter").getAttribute("aria-valuenow"), "83");
    assert.deepEqual(await violations(page), []);
    await shot(page, `gpus-${scheme}`);
    hanging = true;
    await page.getByText(/stale: last reading 2\d s ago/).first().waitFor();
    hanging = false;
    await page.getByText(/stale: last reading/).first().waitFor({ state: "detached" });
    frozen = true;
    await page.getByText(/stale: last reading/).first().waitFor();
    assert.deepEqual(await violations(page), []);
    await shot(page, `gpus-stale-${scheme}`);
    await page.unrouteAll({ behavior: "ignoreErrors" });
    await page.context().close();
  });
