/** The outline of a waveform: lowest and highest value per column, from -1 to 1. Pure. */
import type { ServerPeaks } from "./transcript";

export interface Peaks {
  low: Float32Array;
  high: Float32Array;
  /** Seconds that all columns stand for. */
  duration: number;
}

export function fromServer(server: ServerPeaks): Peaks {
  const scale = server.bits === 16 ? 32_768 : 128;
  const low = new Float32Array(server.length);
  const high = new Float32Array(server.length);
  for (let column = 0; column < server.length; column += 1) {
    low[column] = (server.data[2 * column] ?? 0) / scale;
    high[column] = (server.data[2 * column + 1] ?? 0) / scale;
  }
  const duration = (server.length * server.samples_per_pixel) / server.sample_rate;
  return { low, high, duration };
}

export function fromSamples(samples: Float32Array, sampleRate: number, columns: number): Peaks {
  const length = Math.min(columns, Math.max(1, samples.length));
  const low = new Float32Array(length);
  const high = new Float32Array(length);
  const per = samples.length / length;
  for (let column = 0; column < length; column += 1) {
    const end = Math.min(samples.length, Math.floor((column + 1) * per));
    let least = 0;
    let most = 0;
    for (let at = Math.floor(column * per); at < end; at += 1) {
      const value = samples[at] ?? 0;
      if (value < least) least = value;
      else if (value > most) most = value;
    }
    low[column] = least;
    high[column] = most;
  }
  return { low, high, duration: samples.length / sampleRate };
}

const QUIETEST = 0.05;

/** The loudest value of all: what the outline is drawn in proportion to. Silence stays flat. */
export function loudest(peaks: Peaks): number {
  const most = peaks.high.reduce((found, value) => Math.max(found, value), QUIETEST);
  return peaks.low.reduce((found, value) => Math.max(found, -value), most);
}

/** Of the columns between two times: how low and how high it goes. */
export function extremes(peaks: Peaks, from: number, to: number): [number, number] {
  const perSecond = peaks.low.length / peaks.duration;
  const first = Math.max(0, Math.floor(from * perSecond));
  const last = Math.min(peaks.low.length, Math.max(first + 1, Math.ceil(to * perSecond)));
  let least = 0;
  let most = 0;
  for (let column = first; column < last; column += 1) {
    least = Math.min(least, peaks.low[column] ?? 0);
    most = Math.max(most, peaks.high[column] ?? 0);
  }
  return [least, most];
}
