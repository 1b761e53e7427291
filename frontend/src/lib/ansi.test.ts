import { expect, it } from "vitest";
import { ansi } from "./ansi";

const ESC = "\u001b";

it("leaves plain text alone, markup included", () => {
  expect(ansi("<b>1 < 2</b>")).toEqual([{ text: "<b>1 < 2</b>", className: "" }]);
});

it("colours, and stops colouring", () => {
  expect(ansi(`${ESC}[1;31mbad${ESC}[0m fine`)).toEqual([
    { text: "bad", className: "ansi-red ansi-bold" },
    { text: " fine", className: "" },
  ]);
});

it("drops every other sequence", () => {
  const line = `${ESC}[2K${ESC}]0;title\u0007a${ESC}[38;5;12mb\u0000c`;
  expect(
    ansi(line)
      .map(({ text }) => text)
      .join(""),
  ).toBe("abc");
});
