/** What was said by whom and when, out of the gateway's answers. Pure. */

export interface Word {
  text: string;
  start: number;
  end: number;
}

export interface Segment {
  start: number;
  end: number;
  text: string;
  /** null: nobody was told apart. */
  speaker: string | null;
  overlap: boolean;
  words: Word[];
}

export interface Notice {
  code: string;
  message: string;
}

/** The outline of a waveform as the gateway sends it (audiowaveform's JSON). */
export interface ServerPeaks {
  sample_rate: number;
  samples_per_pixel: number;
  bits: 8 | 16;
  length: number;
  data: number[];
}

export interface Transcript {
  duration: number;
  text: string;
  language: string | null;
  segments: Segment[];
  peaks: ServerPeaks | null;
  warnings: Notice[];
  /** Everything that came, for the raw view. */
  raw: unknown;
}

interface WireWord {
  word: string;
  start: number;
  end: number;
}

export interface WireSegment {
  start: number;
  end: number;
  text: string;
  speaker?: string;
  overlap?: boolean;
  words?: WireWord[];
}

/** A whole answer, `verbose_json` or `diarized_json`; or the last event of a stream. */
export interface WireTranscript {
  text?: string;
  duration?: number;
  language?: string;
  language_code?: string;
  segments?: WireSegment[];
  words?: WireWord[];
  peaks?: ServerPeaks;
  warnings?: Notice[];
}

/** `segments` come beside the rest when they came as events. */
export function parseTranscript(wire: WireTranscript, segments = wire.segments ?? []): Transcript {
  const parsed = segments.map((segment) => parseSegment(segment, wire.words ?? []));
  const peaks = wire.peaks ?? null;
  const heard = peaks ? (peaks.length * peaks.samples_per_pixel) / peaks.sample_rate : 0;
  const last = parsed.reduce((end, segment) => Math.max(end, segment.end), 0);
  return {
    duration: wire.duration ?? Math.max(heard, last),
    text: wire.text ?? parsed.map(({ text }) => text).join(" "),
    language: wire.language_code ?? wire.language ?? null,
    segments: parsed,
    peaks,
    warnings: wire.warnings ?? [],
    raw: segments === wire.segments ? wire : { ...wire, segments },
  };
}

const HALF_FRAME_S = 0.04;

function parseSegment(segment: WireSegment, all: WireWord[]): Segment {
  // `verbose_json` lists the words apart from the segments.
  const own =
    segment.words ??
    all.filter(({ start, end }) => {
      const middle = (start + end) / 2;
      return middle >= segment.start - HALF_FRAME_S && middle < segment.end + HALF_FRAME_S;
    });
  return {
    start: segment.start,
    end: segment.end,
    text: segment.text.trim(),
    speaker: segment.speaker ?? null,
    overlap: segment.overlap ?? false,
    words: own.map(({ word, start, end }) => ({ text: word.trim(), start, end })),
  };
}

/** In order of first appearance, with the seconds each speaks. */
export function speakersOf(segments: Segment[]): { id: string; seconds: number }[] {
  const seconds = new Map<string, number>();
  for (const { speaker, start, end } of segments)
    if (speaker !== null) seconds.set(speaker, (seconds.get(speaker) ?? 0) + end - start);
  return [...seconds].map(([id, total]) => ({ id, seconds: total }));
}

/** `A B` → AB, `Marie` → Ma: what stands on a lane beside its colour. */
export function initials(name: string): string {
  const words = name
    .trim()
    .split(/[\s_-]+/)
    .filter(Boolean);
  if (words.length > 1)
    return words
      .slice(0, 2)
      .map((word) => word[0]?.toUpperCase())
      .join("");
  return (words[0] ?? "?").slice(0, 2);
}

/** Index of the last of `starts` (ascending) that is not after `time`; -1 before the first. */
export function indexAt(starts: ArrayLike<number>, time: number): number {
  let low = 0;
  let high = starts.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if ((starts[middle] ?? 0) <= time) low = middle + 1;
    else high = middle;
  }
  return low - 1;
}

/** Where playback goes on when only some speakers are wanted: `time` itself, or the next of them. */
export function nextHeard(segments: Segment[], wanted: Set<string>, time: number): number | null {
  if (wanted.size === 0) return time;
  let next: number | null = null;
  for (const { speaker, start, end } of segments) {
    if (speaker === null || !wanted.has(speaker) || end <= time) continue;
    if (start <= time) return time;
    if (next === null || start < next) next = start;
  }
  return next;
}
