/** Emphasis, code and links within a line. */
import type { ReactNode } from "react";

const TOKEN =
  /(`+)(.+?)\1|\*\*(.+?)\*\*|__(.+?)__|(?<![\w*])\*(?!\s)(.+?)(?<!\s)\*(?![\w*])|(?<!\w)_(?!\s)(.+?)(?<!\s)_(?!\w)|~~(.+?)~~|\[([^\]]+)\]\(([^)\s]+)\)|(https?:\/\/[^\s<>()]+[^\s<>().,;:!?])/;

export function inline(text: string): ReactNode[] {
  const out: ReactNode[] = [];
  let rest = text;
  while (rest) {
    const match = TOKEN.exec(rest);
    if (!match) {
      out.push(rest);
      break;
    }
    if (match.index > 0) out.push(rest.slice(0, match.index));
    out.push(element(match, out.length));
    rest = rest.slice(match.index + match[0].length);
  }
  return out;
}

function element(match: RegExpExecArray, key: number): ReactNode {
  const [whole, , code, strong, strong2, em, em2, struck, label, target, bare] = match;
  if (code !== undefined) return <code key={key}>{code.trim()}</code>;
  if (strong ?? strong2) return <strong key={key}>{inline(strong ?? strong2 ?? "")}</strong>;
  if (em ?? em2) return <em key={key}>{inline(em ?? em2 ?? "")}</em>;
  if (struck) return <s key={key}>{inline(struck)}</s>;
  if (label && target) return link(target, inline(label), key) ?? whole;
  return (bare && link(bare, bare, key)) || whole;
}

/** Only addresses that a reader may safely follow become links. */
function link(target: string, label: ReactNode, key: number): ReactNode | null {
  if (!/^(https?:\/\/|mailto:)/i.test(target)) return null;
  return (
    <a key={key} href={target} target="_blank" rel="noreferrer noopener">
      {label}
    </a>
  );
}
