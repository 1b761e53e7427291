/** Paints the part of a recording that is in sight. */
import { clock } from "../../lib/format";
import { colourOf } from "../../lib/gpu";
import { extremes, loudest, type Peaks } from "../../lib/peaks";
import type { Segment } from "../../lib/transcript";

export const WAVE = 84;
export const RULER = 20;
export const LANE = 18;
export const lanesHeight = (lanes: number): number => lanes * LANE;

const BAR = 3;
const GAP = 1;
const LABEL_PX = 80;
const STEPS_S = [0.1, 0.2, 0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600];

interface Scene {
  peaks: Peaks | null;
  segments: Segment[];
  /** Speaker → lane. */
  lanes: Map<string, number>;
  /** Seconds. */
  from: number;
  span: number;
  /** CSS pixels. */
  width: number;
  height: number;
}

export function draw(canvas: HTMLCanvasElement, scene: Scene): void {
  const ratio = window.devicePixelRatio || 1;
  canvas.width = Math.round(scene.width * ratio);
  canvas.height = Math.round(scene.height * ratio);
  canvas.style.width = `${scene.width}px`;
  canvas.style.height = `${scene.height}px`;
  const context = canvas.getContext("2d");
  if (!context) return;
  const style = getComputedStyle(canvas);
  context.scale(ratio, ratio);
  drawLanes(context, scene, style.getPropertyValue("--line"));
  drawWave(context, scene, style.getPropertyValue("--mantine-color-anchor"));
  drawRuler(context, scene, style.getPropertyValue("--mantine-color-dimmed"));
}

function drawWave(context: CanvasRenderingContext2D, scene: Scene, colour: string): void {
  const { peaks, from, span, width } = scene;
  const middle = WAVE / 2;
  context.fillStyle = colour;
  if (!peaks) {
    context.fillRect(0, middle, width, 1);
    return;
  }
  const perPixel = span / width;
  const scale = (middle - 2) / loudest(peaks);
  for (let x = 0; x < width; x += BAR + GAP) {
    const start = from + x * perPixel;
    if (start > peaks.duration) break;
    const [low, high] = extremes(peaks, start, start + BAR * perPixel);
    const top = middle - high * scale;
    context.fillRect(x, top, BAR, Math.max(1, middle - low * scale - top));
  }
}

function drawRuler(context: CanvasRenderingContext2D, scene: Scene, colour: string): void {
  const { from, span, width } = scene;
  const step = STEPS_S.find((one) => (one / span) * width >= LABEL_PX) ?? 3600;
  context.fillStyle = colour;
  context.font = "11px system-ui, sans-serif";
  for (let time = Math.ceil(from / step) * step; time <= from + span; time += step) {
    const x = ((time - from) / span) * width;
    context.fillRect(x, WAVE, 1, 5);
    if (x < width - 36) context.fillText(clock(time, step < 1), x + 4, WAVE + 14);
  }
}

function drawLanes(context: CanvasRenderingContext2D, scene: Scene, line: string): void {
  const { segments, lanes, from, span, width } = scene;
  context.fillStyle = line;
  for (const lane of lanes.values())
    context.fillRect(0, WAVE + RULER + lane * LANE + LANE / 2, width, 1);
  for (const { speaker, start, end } of segments) {
    const lane = speaker === null ? undefined : lanes.get(speaker);
    if (lane === undefined || end < from || start > from + span) continue;
    const x = ((start - from) / span) * width;
    context.fillStyle = colourOf(lane);
    context.beginPath();
    context.roundRect(
      x,
      WAVE + RULER + lane * LANE + 3,
      Math.max(2, ((end - start) / span) * width),
      LANE - 6,
      3,
    );
    context.fill();
  }
}
