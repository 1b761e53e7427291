import { afterEach, beforeEach, expect, it, vi } from "vitest";

beforeEach(() => {
  vi.resetModules();
  localStorage.clear();
});
afterEach(() => vi.restoreAllMocks());

it("keeps the key, and forgets it", async () => {
  const { currentKey, setKey } = await import("./key");
  setKey("  secret ");
  expect(currentKey()).toBe("secret");
  expect(localStorage.getItem("gateway.key")).toBe("secret");
  setKey("");
  expect(localStorage.getItem("gateway.key")).toBeNull();
});

it("takes the key of a link out of the address", async () => {
  const { currentKey, takeKeyFromAddress } = await import("./key");
  window.history.replaceState(null, "", "/models?x=1#key=a%2Bb");
  expect(takeKeyFromAddress()).toBe(true);
  expect(currentKey()).toBe("a+b");
  expect(window.location.href).toMatch(/\/models\?x=1$/);
  expect(takeKeyFromAddress()).toBe(false);
});

it("works in memory where the browser keeps nothing", async () => {
  vi.spyOn(Storage.prototype, "setItem").mockImplementation(() => {
    throw new DOMException("refused", "SecurityError");
  });
  const { currentKey, setKey, onKeyChange } = await import("./key");
  let told = 0;
  onKeyChange(() => told++);
  setKey("secret");
  expect([currentKey(), told]).toEqual(["secret", 1]);
});
