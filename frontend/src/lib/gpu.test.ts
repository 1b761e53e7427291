import { expect, it } from "vitest";
import type { Gpu, Model } from "../api/types";
import { memoryParts, ownersOf } from "./gpu";

const gpu = { index: 1, memory_used: 100, processes: { "7": 60, "8": 20 } } as unknown as Gpu;
const model = (key: string, gpu_ids: number[]) => ({ key, replicas: [{ gpu_ids }] }) as Model;

it("knows who stands where", () => {
  expect(ownersOf(gpu, [model("a", [0]), model("b", [1, 2])]).map((one) => one.model)).toEqual([
    "b",
  ]);
});

it("gives the memory of processes to a single owner, and to nobody where there are two", () => {
  const [one, two] = ownersOf(gpu, [model("a", [1]), model("b", [1])]);
  if (!one || !two) throw new Error("two owners");
  expect(memoryParts(gpu, [one])).toEqual([{ ...one, bytes: 80 }, { bytes: 20 }]);
  expect(memoryParts(gpu, [one, two])).toEqual([{ bytes: 100 }]);
});
