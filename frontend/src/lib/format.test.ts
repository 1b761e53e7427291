import { expect, it } from "vitest";
import { bytes, bytesOf, clock, duration, percent, share, timeOfDay, wholeSeconds } from "./format";

it.each([
  [0, "0 B"],
  [1023, "1,023 B"],
  [1536, "1.5 KiB"],
  [150 * 1024 ** 3, "150 GiB"],
  [143_771 * 1024 ** 2, "140 GiB"],
  [3 * 1024 ** 5, "3,072 TiB"],
])("bytes %d", (value, text) => expect(bytes(value, "en")).toBe(text));

it("bytes in French", () => expect(bytes(1.5 * 1024 ** 3, "fr")).toBe("1,5 Gio"));

it.each([
  [595 * 1024 ** 2, 143_771 * 1024 ** 2, "0.6 / 140 GiB"],
  [0, 0, "0 / 0 B"],
  [1200, 1024 ** 2, "0.0 / 1.0 MiB"],
])("%d bytes of %d", (part, whole, text) => expect(bytesOf(part, whole, "en")).toBe(text));

it.each([
  [1, 1000, "< 1%"],
  [0, 1000, "0%"],
  [5, 1000, "1%"],
  [900, 1000, "90%"],
])("a share of %d in %d", (part, whole, text) => expect(share(part, whole, "en")).toBe(text));

it.each([
  [0.0412, "41 ms"],
  [0.9996, "1.0 s"],
  [3.24, "3.2 s"],
  [9.96, "10 s"],
  [75, "1 min 15 s"],
  [7260, "2 h 1 min"],
])("duration %d", (value, text) => expect(duration(value, "en")).toBe(text));

it.each([
  [0, false, "0:00"],
  [75.96, false, "1:15"],
  [75.96, true, "1:15.9"],
  [3661, false, "1:01:01"],
])("clock %d", (value, tenths, text) => expect(clock(value, tenths)).toBe(text));

it("percent", () => expect(percent(12.34, "en", 1)).toBe("12.3%"));

it.each([
  [-2, "0 s"],
  [3.9, "3 s"],
  [75.4, "1 min 15 s"],
])("a time that runs, %d", (value, text) => expect(wholeSeconds(value, "en")).toBe(text));

it("tells the time in 24 hours", () => {
  const evening = new Date(2026, 10, 25, 23, 4, 5).getTime() / 1000;
  expect(timeOfDay(evening, "en")).toBe("23:04:05");
});
