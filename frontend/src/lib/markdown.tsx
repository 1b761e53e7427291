/** Markdown as React elements. There is no way for HTML in the text to become HTML in the page. */
import { Fragment, type ReactNode } from "react";
import { inline } from "./markdown-inline";

interface Item {
  depth: number;
  text: string;
}

const FENCE = /^\s*(```|~~~)\s*([\w+-]*)\s*$/;
const HEADING = /^(#{1,6})\s+(.*)$/;
const LIST = /^(\s*)([-*+]|\d+[.)])\s+(.*)$/;
const RULE = /^\s*([-*_])(\s*\1){2,}\s*$/;
const TABLE_RULE = /^\s*\|?\s*:?-+:?\s*(\|\s*:?-+:?\s*)*\|?\s*$/;

export function Markdown({ text }: { text: string }) {
  return <div className="markdown">{blocks(text.split("\n"))}</div>;
}

function blocks(lines: string[]): ReactNode[] {
  const out: ReactNode[] = [];
  let at = 0;
  const take = (while_: (line: string) => boolean): string[] => {
    const from = at;
    while (at < lines.length && while_(lines[at] ?? "")) at += 1;
    return lines.slice(from, at);
  };
  while (at < lines.length) {
    const line = lines[at] ?? "";
    const key = at;
    const fence = FENCE.exec(line);
    const heading = HEADING.exec(line);
    if (!line.trim()) at += 1;
    else if (fence) {
      at += 1;
      const code = take((one) => !one.trim().startsWith(fence[1] ?? "```"));
      at += 1;
      out.push(<Code key={key} text={code.join("\n")} language={fence[2] ?? ""} />);
    } else if (heading) {
      at += 1;
      // The page has its own headings above: an answer's begin below them.
      const Level = `h${Math.min(6, (heading[1]?.length ?? 1) + 2)}` as "h3";
      out.push(<Level key={key}>{inline(heading[2] ?? "")}</Level>);
    } else if (RULE.test(line)) {
      at += 1;
      out.push(<hr key={key} />);
    } else if (line.startsWith(">")) {
      const quoted = take((one) => one.startsWith(">")).map((one) => one.replace(/^>\s?/, ""));
      out.push(<blockquote key={key}>{blocks(quoted)}</blockquote>);
    } else if (LIST.test(line)) {
      const rows = take((one) => LIST.test(one) || /^\s{2,}\S/.test(one));
      out.push(<List key={key} items={listItems(rows)} ordered={/^\s*\d/.test(line)} />);
    } else if (line.includes("|") && TABLE_RULE.test(lines[at + 1] ?? "")) {
      out.push(<Table key={key} rows={take((one) => one.includes("|"))} />);
    } else {
      const first = at;
      const paragraph = take((one) => one.trim() !== "" && (at === first || !startsBlock(one)));
      out.push(<p key={key}>{withBreaks(paragraph)}</p>);
    }
  }
  return out;
}

const startsBlock = (line: string): boolean =>
  FENCE.test(line) || HEADING.test(line) || LIST.test(line) || line.startsWith(">");

function withBreaks(lines: string[]): ReactNode[] {
  return lines.map((line, index) => (
    <Fragment key={index}>
      {index > 0 && <br />}
      {inline(line)}
    </Fragment>
  ));
}

function listItems(rows: string[]): Item[] {
  const items: Item[] = [];
  for (const row of rows) {
    const found = LIST.exec(row);
    const last = items[items.length - 1];
    if (found) items.push({ depth: (found[1] ?? "").length, text: found[3] ?? "" });
    else if (last) last.text += ` ${row.trim()}`;
  }
  return items;
}

function List({ items, ordered }: { items: Item[]; ordered: boolean }) {
  const Tag = ordered ? "ol" : "ul";
  const least = Math.min(...items.map(({ depth }) => depth));
  return (
    <Tag>
      {items.map(({ depth, text }, index) => (
        <li key={index} style={{ marginLeft: `${Math.min(4, (depth - least) / 2) * 1.2}em` }}>
          {inline(text)}
        </li>
      ))}
    </Tag>
  );
}

function Code({ text, language }: { text: string; language: string }) {
  return (
    // biome-ignore lint/a11y/noNoninteractiveTabindex: what scrolls must be reachable by keyboard.
    <pre className="well" tabIndex={0} role="region" aria-label={language || "code"}>
      <code>{text}</code>
    </pre>
  );
}

const cells = (row: string): string[] =>
  row
    .trim()
    .replace(/^\||\|$/g, "")
    .split("|")
    .map((cell) => cell.trim());

function Table({ rows }: { rows: string[] }) {
  const [head = "", , ...body] = rows;
  return (
    <table>
      <thead>
        <tr>
          {cells(head).map((cell, index) => (
            <th key={index}>{inline(cell)}</th>
          ))}
        </tr>
      </thead>
      <tbody>
        {body.map((row, index) => (
          <tr key={index}>
            {cells(row).map((cell, column) => (
              <td key={column}>{inline(cell)}</td>
            ))}
          </tr>
        ))}
      </tbody>
    </table>
  );
}
