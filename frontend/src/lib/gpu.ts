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
}

/**
 * Memory by owner as far as it is known: all processes belong to the only model that stands here;
 * between several nobody can tell, so that what is used stays one part.
 */
export function memoryParts(gpu: Gpu, owners: Owner[]): MemoryPart[] {
  const inProcesses = Object.values(gpu.processes).reduce((sum, part) => sum + part, 0);
  const only = owners.length === 1 ? owners[0] : undefined;
  if (!only || inProcesses === 0) return [{ bytes: gpu.memory_used }];
  const own = Math.min(inProcesses, gpu.memory_used);
  return [{ ...only, bytes: own }, { bytes: gpu.memory_used - own }];
}
