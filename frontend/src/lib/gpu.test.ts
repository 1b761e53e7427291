import { expect, it } from "vitest";
import type { Gpu, Model } from "../api/types";
import { memoryOf, memoryParts, ownersOf } from "./gpu";

const gpu = {
  index: 1,
  by_model: [
    { model: "b", replica: "b-0", bytes: 30, by: "process" },
    { model: "b", replica: "b-1", bytes: 20, by: "ledger" },
    { model: "a", replica: "a-0", bytes: 10, by: "process" },
  ],
  memory_other: 40,
} as unknown as Gpu;
const model = (key: string, gpu_ids: number[]) => ({ key, replicas: [{ gpu_ids }] }) as Model;

it("knows who stands where", () => {
  expect(ownersOf(gpu, [model("a", [0]), model("b", [1, 2])]).map((one) => one.model)).toEqual([
    "b",
  ]);
});

it("adds up the memory of a model's replicas, and says what was not measured", () => {
  const parts = memoryParts(gpu, [model("a", [1]), model("b", [1])]);
  expect(parts.map(({ model, bytes, estimated }) => [model, bytes, estimated])).toEqual([
    ["b", 50, true],
    ["a", 10, false],
    [undefined, 40, false],
  ]);
  expect(parts[0]?.colour).not.toBe(parts[1]?.colour);
});

it("does not say nothing is used where that is not known", () => {
  const replicas = [{ memory: { used: 5 } }, { memory: { used: null } }, { memory: null }];
  expect(memoryOf({ replicas } as Model)).toBe(5);
  expect(memoryOf({ replicas: [{ memory: null }] } as unknown as Model)).toBeNull();
});
