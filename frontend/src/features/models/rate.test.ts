import { expect, it } from "vitest";
import { rateOf } from "./rate";

it("says nothing before it knows", () => {
  expect(rateOf([])).toBeNull();
  expect(rateOf([{ at: 0, done: 5 }])).toBeNull();
  expect(
    rateOf([
      { at: 0, done: 5 },
      { at: 100, done: 9 },
    ]),
  ).toBeNull();
});

it("is bytes per second between first and last", () => {
  expect(
    rateOf([
      { at: 0, done: 0 },
      { at: 500, done: 9 },
      { at: 2000, done: 100 },
    ]),
  ).toBe(50);
});
