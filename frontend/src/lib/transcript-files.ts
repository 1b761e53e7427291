/** Transcripts as files, with the names that the reader gave to the speakers. Pure. */
import type { Segment } from "./transcript";

export type NameOf = (speaker: string) => string;

function stamp(seconds: number, comma: string): string {
  const ms = Math.round(seconds * 1000);
  const two = (value: number) => String(value).padStart(2, "0");
  return `${two(Math.floor(ms / 3_600_000))}:${two(Math.floor(ms / 60_000) % 60)}:${two(
    Math.floor(ms / 1000) % 60,
  )}${comma}${String(ms % 1000).padStart(3, "0")}`;
}

const prefixed = ({ speaker, text }: Segment, name: NameOf): string =>
  speaker === null ? text : `${name(speaker)}: ${text}`;

export function toSrt(segments: Segment[], name: NameOf): string {
  return segments
    .map(
      (segment, index) =>
        `${index + 1}\n${stamp(segment.start, ",")} --> ${stamp(segment.end, ",")}\n${prefixed(segment, name)}\n`,
    )
    .join("\n");
}

const escaped = (text: string): string =>
  text.replace(/&/g, "&amp;").replace(/</g, "&lt;").replace(/>/g, "&gt;");

export function toVtt(segments: Segment[], name: NameOf): string {
  const cues = segments.map(({ start, end, speaker, text }) => {
    const voice = speaker === null ? "" : `<v ${escaped(name(speaker))}>`;
    return `${stamp(start, ".")} --> ${stamp(end, ".")}\n${voice}${escaped(text)}\n`;
  });
  return ["WEBVTT\n", ...cues].join("\n");
}

/** One paragraph per turn: what the same speaker says in a row belongs together. */
export function toText(segments: Segment[], name: NameOf): string {
  const lines: { speaker: string | null; text: string }[] = [];
  for (const { speaker, text } of segments) {
    const last = lines[lines.length - 1];
    if (last && last.speaker === speaker) last.text += ` ${text}`;
    else lines.push({ speaker, text });
  }
  const line = ({ speaker, text }: (typeof lines)[number]) =>
    speaker === null ? text : `${name(speaker)}: ${text}`;
  return `${lines.map(line).join("\n\n")}\n`;
}

/** NIST's Rich Transcription Time Marked. */
export function toRttm(segments: Segment[], name: NameOf, uri: string): string {
  const joined = (text: string) => text.trim().split(/\s+/).join("_") || "audio";
  return segments
    .filter(({ speaker }) => speaker !== null)
    .map(
      ({ start, end, speaker }) =>
        `SPEAKER ${joined(uri)} 1 ${start.toFixed(3)} ${(end - start).toFixed(3)} <NA> <NA> ${joined(
          name(speaker ?? ""),
        )} <NA> <NA>\n`,
    )
    .join("");
}

export function toJson(segments: Segment[], name: NameOf, duration: number): string {
  const named = segments.map(({ speaker, ...rest }) =>
    speaker === null ? rest : { ...rest, speaker: name(speaker) },
  );
  return `${JSON.stringify({ duration, segments: named }, null, 2)}\n`;
}
