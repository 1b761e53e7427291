import { useElementSize } from "@mantine/hooks";
import { type KeyboardEvent, type PointerEvent, useCallback, useEffect, useRef } from "react";
import { useText } from "../../i18n";
import { clock as clockText } from "../../lib/format";
import { colourOf } from "../../lib/gpu";
import type { Peaks } from "../../lib/peaks";
import { initials, type Segment } from "../../lib/transcript";
import type { Clock } from "./clock";
import { draw, LANE, lanesHeight, RULER, WAVE } from "./draw";
import { SEEK_S } from "./usePlayerKeys";

interface Props {
  peaks: Peaks | null;
  segments: Segment[];
  speakers: { id: string }[];
  nameOf: (id: string) => string;
  duration: number;
  /** 1: all of it is shown. */
  zoom: number;
  onZoom: (factor: number) => void;
  clock: Clock;
}

/** Outline, ruler and a lane per speaker; only what is in sight is drawn, however long it is. */
export function Waveform(props: Props) {
  const { peaks, segments, speakers, nameOf, duration, zoom, onZoom, clock } = props;
  const { t } = useText();
  const { ref: box, width } = useElementSize();
  const canvas = useRef<HTMLCanvasElement>(null);
  const head = useRef<HTMLDivElement>(null);
  const slider = useRef<HTMLDivElement>(null);
  const from = useRef(0);
  const span = duration / zoom;
  const height = WAVE + RULER + lanesHeight(speakers.length);

  const paint = useCallback(() => {
    if (!canvas.current || width === 0) return;
    const lanes = new Map(speakers.map(({ id }, lane) => [id, lane]));
    draw(canvas.current, { peaks, segments, lanes, from: from.current, span, width, height });
  }, [peaks, segments, speakers, span, width, height]);

  // Redrawn when the theme changes, because a canvas does not follow CSS.
  useEffect(() => {
    paint();
    const watcher = new MutationObserver(paint);
    watcher.observe(document.documentElement, { attributeFilter: ["data-mantine-color-scheme"] });
    return () => watcher.disconnect();
  }, [paint]);

  useEffect(
    () =>
      clock.subscribe((time) => {
        const last = Math.max(0, duration - span);
        const seen = time >= from.current && time <= from.current + span;
        const wanted = seen ? from.current : time - span * 0.1;
        const next = Math.min(last, Math.max(0, wanted));
        if (next !== from.current) {
          from.current = next;
          paint();
        }
        if (head.current)
          head.current.style.transform = `translateX(${((time - next) / span) * width}px)`;
        slider.current?.setAttribute("aria-valuenow", String(Math.round(time)));
        slider.current?.setAttribute("aria-valuetext", clockText(time));
      }),
    [clock, duration, span, width, paint],
  );

  const seek = (event: PointerEvent<HTMLDivElement>) => {
    if (event.buttons !== 1) return;
    const { left } = event.currentTarget.getBoundingClientRect();
    clock.seek(Math.min(duration, from.current + ((event.clientX - left) / width) * span));
  };
  const onKeyDown = (event: KeyboardEvent) => {
    const step = { ArrowLeft: -SEEK_S, ArrowRight: SEEK_S }[event.key];
    if (step) clock.seek(Math.min(duration, clock.now() + step));
    else if (event.key === "Home") clock.seek(0);
    else if (event.key === "End") clock.seek(duration);
    else if (event.key === " ") clock.toggle();
    else if (event.key === "+" || event.key === "-") onZoom(event.key === "+" ? 2 : 0.5);
    else return;
    event.preventDefault();
    event.stopPropagation();
  };

  return (
    <div className="wave">
      <div className="wave-names" style={{ paddingTop: WAVE + RULER }} aria-hidden="true">
        {speakers.map(({ id }, lane) => (
          <span key={id} style={{ height: LANE }}>
            <i className="swatch" style={{ background: colourOf(lane) }} />
            {initials(nameOf(id))}
          </span>
        ))}
      </div>
      <div
        ref={(element) => {
          slider.current = element;
          box(element);
        }}
        className="wave-box"
        style={{ height }}
        role="slider"
        tabIndex={0}
        aria-label={t("audio.player.position")}
        aria-valuemin={0}
        aria-valuemax={Math.round(duration)}
        aria-valuenow={0}
        onPointerDown={seek}
        onPointerMove={seek}
        onKeyDown={onKeyDown}
      >
        <canvas ref={canvas} />
        <div ref={head} className="wave-head" />
      </div>
    </div>
  );
}
