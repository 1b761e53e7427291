import { render } from "@testing-library/react";
import { expect, it } from "vitest";
import { runs, Sparkline } from "./Sparkline";

it("leaves a gap where nothing was measured", () => {
  expect(runs([null, 1, 2, null, null, 3])).toEqual([
    { from: 1, run: [1, 2] },
    { from: 5, run: [3] },
  ]);
  expect(runs([])).toEqual([]);
});

it("puts few samples where now is, not all over the five minutes", () => {
  const { container } = render(<Sparkline values={[0, 100]} most={100} slots={101} label="x" />);
  expect(container.querySelector("polyline")?.getAttribute("points")).toBe("297.0,34.0 300.0,2.0");
});
