import { Tabs } from "@mantine/core";
import { useLayoutEffect, useRef } from "react";
import { CopyButton } from "./CopyButton";

interface WellProps {
  text: string;
  /** What is copied, when that is more than what is shown. */
  full?: string;
  label: string;
  wrap?: boolean;
  maxHeight?: number;
  /** Show the end first: in the last lines of a log stands why it ended. */
  fromEnd?: boolean;
}

/** Text to read and copy. Scrolls inside itself, by keyboard too. */
export function CodeWell({ text, full, label, wrap, maxHeight = 420, fromEnd }: WellProps) {
  const box = useRef<HTMLPreElement>(null);
  // biome-ignore lint/correctness/useExhaustiveDependencies: another text has another end.
  useLayoutEffect(() => {
    if (fromEnd && box.current) box.current.scrollTop = box.current.scrollHeight;
  }, [fromEnd, text]);
  return (
    <div className="code-well">
      <pre
        ref={box}
        className={wrap ? "well wrap" : "well"}
        style={{ maxHeight }}
        // biome-ignore lint/a11y/noNoninteractiveTabindex: what scrolls must be reachable by keyboard.
        tabIndex={0}
        role="region"
        aria-label={label}
      >
        {text}
      </pre>
      <div className="code-copy">
        <CopyButton value={full ?? text} what={label} />
      </div>
    </div>
  );
}

export interface Snippet {
  name: string;
  code: string;
  full?: string;
}

export function CodeTabs({ snippets, maxHeight }: { snippets: Snippet[]; maxHeight?: number }) {
  return (
    <Tabs defaultValue={snippets[0]?.name} variant="pills" radius="md" keepMounted={false}>
      <Tabs.List mb="xs">
        {snippets.map(({ name }) => (
          <Tabs.Tab key={name} value={name} size="sm">
            {name}
          </Tabs.Tab>
        ))}
      </Tabs.List>
      {snippets.map(({ name, code, full }) => (
        <Tabs.Panel key={name} value={name}>
          <CodeWell text={code} full={full} label={name} maxHeight={maxHeight} />
        </Tabs.Panel>
      ))}
    </Tabs>
  );
}
