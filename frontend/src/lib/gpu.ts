/** Which models stand on which GPU. Pure. */
import type { Gpu, Model } from "../api/types";

/** Okabe and Ito's colours: told apart by people who see few colours. */
export const PALETTE = [
  "#0072B2",
  "#E69F00",
  "#009E73",
  "#CC79A7",
  "#56B4E9",
  "#D55E00",
  "#F0E442",
  "#8A8F98",
] as const;

export const colourOf = (index: number): string => PALETTE[index % PALETTE.length] ?? PALETTE[0];

export interface Owner {
  model: string;
  colour: string;
}

/** Models with a replica on this GPU, in the order of all models, which fixes their colours. */
export function ownersOf(gpu: Gpu, models: Model[]): Owner[] {
  return models.flatMap((model, index) =>
    model.replicas.some((replica) => replica.gpu_ids.includes(gpu.index))
      ? [{ model: model.key, colour: colourOf(index) }]
      : [],
  );
}

export interface MemoryPart extends Partial<Owner> {
  bytes: number;
  /** Shared out by what was granted, not measured. */
  estimated: boolean;
}

/** Memory by model, as the gateway tells it apart, and what is nobody's of these. */
export function memoryParts(gpu: Gpu, models: Model[]): MemoryPart[] {
  const parts = new Map<string, MemoryPart>();
  for (const { model, bytes, by } of gpu.by_model) {
    const part = parts.get(model) ?? { model, bytes: 0, estimated: false };
    part.colour = colourOf(models.findIndex(({ key }) => key === model));
    part.bytes += bytes;
    part.estimated ||= by === "ledger";
    parts.set(model, part);
  }
  const all = [...parts.values(), { bytes: gpu.memory_other, estimated: false }];
  return all.filter(({ bytes }) => bytes > 0);
}

/** GPU memory that a model's engines take; null where none of it is known. */
export function memoryOf(model: Model): number | null {
  const known = model.replicas.flatMap(({ memory }) => memory?.used ?? []);
  return known.length === 0 ? null : known.reduce((sum, bytes) => sum + bytes, 0);
}
