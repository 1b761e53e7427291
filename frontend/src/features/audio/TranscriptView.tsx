import { UnstyledButton } from "@mantine/core";
import { Fragment, type MouseEvent, memo, useEffect, useMemo, useRef } from "react";
import { useText } from "../../i18n";
import { clock as clockText } from "../../lib/format";
import { colourOf } from "../../lib/gpu";
import { indexAt, type Segment } from "../../lib/transcript";
import type { Clock } from "./clock";
import { Editable } from "./Editable";

interface Props {
  segments: Segment[];
  speakers: { id: string }[];
  nameOf: (id: string) => string;
  clock: Clock;
  solo: ReadonlySet<string>;
  translations: Record<number, string>;
  onTranslation: (index: number, text: string) => void;
}

/** A player that was sent to a word may stand a little before it. */
const ROUNDING_S = 0.01;

/** Words are spans with their time; the current one gets a class without React noticing. */
export function TranscriptView(props: Props) {
  const { segments, speakers, nameOf, clock, solo, translations, onTranslation } = props;
  const { t } = useText();
  const box = useRef<HTMLDivElement>(null);
  const lanes = useMemo(() => new Map(speakers.map(({ id }, lane) => [id, lane])), [speakers]);
  useCurrentWord(box, segments, clock);

  const onClick = (event: MouseEvent) => {
    const at = (event.target as HTMLElement).dataset.at;
    if (at !== undefined) clock.seek(Number(at));
  };
  return (
    // biome-ignore lint/a11y/useKeyWithClickEvents: each segment has a button for the keyboard.
    <div
      ref={box}
      className="transcript"
      onClick={onClick}
      // biome-ignore lint/a11y/noNoninteractiveTabindex: what scrolls must be reachable by keyboard.
      tabIndex={0}
      role="group"
      aria-label={t("audio.result.transcript")}
    >
      {segments.map((segment, index) => {
        const { speaker, start, overlap } = segment;
        const lane = speaker === null ? -1 : (lanes.get(speaker) ?? -1);
        const muted = solo.size > 0 && speaker !== null && !solo.has(speaker);
        const translation = translations[index];
        return (
          <div key={`${start}-${index}`} className="segment" data-muted={muted}>
            <div className="segment-head">
              {speaker !== null && (
                <span className="segment-speaker">
                  <i className="swatch" style={{ background: colourOf(Math.max(0, lane)) }} />
                  {nameOf(speaker)}
                </span>
              )}
              <UnstyledButton
                className="row-button mono"
                aria-label={t("audio.result.jump", { time: clockText(start) })}
                onClick={() => clock.seek(start)}
              >
                {clockText(start)}
              </UnstyledButton>
              {overlap && <span className="tag">{t("audio.result.overlap")}</span>}
            </div>
            <Words segment={segment} />
            {translation !== undefined && (
              <Editable
                label={t("audio.assist.edit", { index: index + 1 })}
                value={translation}
                onChange={(text) => onTranslation(index, text)}
              />
            )}
          </div>
        );
      })}
    </div>
  );
}

const Words = memo(function Words({ segment }: { segment: Segment }) {
  if (segment.words.length === 0)
    return (
      <p className="words">
        <span data-at={segment.start} data-word="">
          {segment.text}
        </span>
      </p>
    );
  return (
    <p className="words">
      {segment.words.map(({ text, start }, index) => (
        <Fragment key={index}>
          <span data-at={start} data-word="">
            {text}
          </span>{" "}
        </Fragment>
      ))}
    </p>
  );
});

function useCurrentWord(
  box: React.RefObject<HTMLDivElement | null>,
  segments: Segment[],
  clock: Clock,
): void {
  // biome-ignore lint/correctness/useExhaustiveDependencies: the spans are made of the segments.
  useEffect(() => {
    if (!box.current) return;
    const list = box.current;
    const spans = [...list.querySelectorAll<HTMLElement>("[data-word]")].sort(
      (one, other) => Number(one.dataset.at) - Number(other.dataset.at),
    );
    const starts = Float64Array.from(spans, (span) => Number(span.dataset.at));
    let current: HTMLElement | undefined;
    return clock.subscribe((time) => {
      // Before anything was played nothing is current.
      const next = time > 0 ? spans[indexAt(starts, time + ROUNDING_S)] : undefined;
      if (next === current) return;
      current?.classList.remove("current");
      next?.classList.add("current");
      current = next;
      if (next) keepInSight(list, next);
    });
  }, [box, segments, clock]);
}

/** Scrolls the list, never the page, and only when the word has left it. */
function keepInSight(list: HTMLElement, word: HTMLElement): void {
  const outer = list.getBoundingClientRect();
  const inner = word.getBoundingClientRect();
  if (inner.top >= outer.top && inner.bottom <= outer.bottom) return;
  list.scrollTop += inner.top - outer.top - outer.height / 3;
}
