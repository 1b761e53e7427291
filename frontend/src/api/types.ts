/** Names for the generated shapes. */
import type { components } from "./schema.gen";

type Schemas = components["schemas"];

export type Status = Schemas["Status"];
export type Model = Schemas["Model"];
export type Replica = Schemas["Replica"];
export type Progress = Schemas["Progress"];
export type Failure = Schemas["Failure"];
export type Action = Schemas["Action"];
export type Gpu = Schemas["Gpu"];
export type System = Schemas["System"];
export type State = Schemas["State"];
export type Phase = Schemas["Phase"];
export type LogEntry = Schemas["LogEntry"];
export type RequestRecord = Schemas["Request"];
export type Requests = Schemas["Requests"];
export type Cache = Schemas["Cache"];
export type CachedRepository = Schemas["CachedRepository"];
export type TokenStatus = Schemas["TokenStatus"];
/** A sample of GPUs and system. */
export type Machine = Pick<Status, "at" | "stale" | "gpus_at" | "gpus" | "system">;
/** What `machine` events bring: a sample, and what each model has to do. */
export type MachineEvent = Machine & {
  traffic?: Record<string, Pick<Model, "in_flight" | "queued" | "idle_unload_at">>;
};

/** An entry of GET /v1/models. */
export interface ServedModel {
  id: string;
  root: string;
  kind: Model["kind"];
  state: State;
  demo: boolean;
  owned_by: string;
}

export type Connection =
  | { phase: "connecting"; since: number }
  | { phase: "live"; since: number }
  | { phase: "offline"; since: number; retryAt: number }
  | { phase: "denied"; since: number };

/** A library of the engines and the CUDA it was built for. */
export type Dependency = Schemas["Dependency"];
