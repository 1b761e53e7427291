import { expect, it } from "vitest";
import { readObject } from "./assist";

it.each([
  ['{"A":"Host","B":" Guest "}', { A: "Host", B: "Guest" }],
  ['Sure:\n```json\n{"A":"Host","C":"x"}\n```', { A: "Host" }],
  ['{"A":5}', null],
  ["no idea", null],
  ["{broken}", null],
])("reads %s", (answer, wanted) => expect(readObject(answer, ["A", "B"])).toEqual(wanted));
