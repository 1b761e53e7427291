import { expect, it } from "vitest";
import { tokensText } from "./tokens";

it.each([
  [46, 2300, false, "46 / 2,300"],
  [null, 2002, true, "– / ~2,002"],
  [12, null, true, "12 / –"],
])("%s and %s tokens", (prompt_tokens, completion_tokens, approximate, text) =>
  expect(tokensText({ prompt_tokens, completion_tokens, approximate }, "en")).toBe(text),
);
