import { expect, it } from "vitest";
import { readObject, rolesRequest, translationRequest } from "./assist";

it.each([
  ['{"A":"Host","B":" Guest "}', { A: "Host", B: "Guest" }],
  ['Sure:\n```json\n{"A":"Host","C":"x"}\n```', { A: "Host" }],
  ['{"A":5}', null],
  ["no idea", null],
  ["{broken}", null],
  ['{"A": "Host \\"one\\"", "B": "Gue', { A: 'Host "one"' }],
])("reads %s", (answer, wanted) => expect(readObject(answer, ["A", "B"])).toEqual(wanted));

it("bounds every string, so that a model that cannot stop still ends its answer", () => {
  const properties = (request: unknown) =>
    (request as { response_format: { json_schema: { schema: { properties: unknown } } } })
      .response_format.json_schema.schema.properties;
  const string = (maxLength: number) => ({ type: "string", maxLength });
  expect(properties(rolesRequest("m", [], ["A"], "en"))).toEqual({ A: string(60) });
  expect(properties(translationRequest("m", { 3: "hello" }, "French"))).toEqual({ 3: string(40) });
});
