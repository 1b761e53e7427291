/** A stretch of a log line in one colour. Text only: React escapes it. */
export interface Span {
  text: string;
  className: string;
}

const COLOURS = ["black", "red", "green", "yellow", "blue", "magenta", "cyan", "white"];
// biome-ignore lint/suspicious/noControlCharactersInRegex: escape sequences begin with one.
const ESCAPE = /\u001b\[([0-9;]*)([A-Za-z])|\u001b\][^\u0007]*\u0007|[\u0000-\u0008\u000b-\u001f]/g;

/** Colours of a terminal line as spans; every other escape sequence is dropped. */
export function ansi(line: string): Span[] {
  const spans: Span[] = [];
  let bold = false;
  let colour = "";
  let from = 0;
  const push = (text: string) => {
    if (text) spans.push({ text, className: [colour, bold ? "ansi-bold" : ""].join(" ").trim() });
  };
  for (const match of line.matchAll(ESCAPE)) {
    push(line.slice(from, match.index));
    from = match.index + match[0].length;
    if (match[2] !== "m") continue;
    for (const code of (match[1] || "0").split(";").map(Number)) {
      if (code === 0) [bold, colour] = [false, ""];
      else if (code === 1) bold = true;
      else if (code === 22) bold = false;
      else if (code === 39) colour = "";
      else if ((code >= 30 && code <= 37) || (code >= 90 && code <= 97))
        colour = `ansi-${COLOURS[code % 10]}`;
    }
  }
  push(line.slice(from));
  return spans;
}
