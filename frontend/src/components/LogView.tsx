import { ActionIcon, Button, Group, Switch, Text, TextInput, Tooltip } from "@mantine/core";
import { type ReactNode, useLayoutEffect, useMemo, useRef, useState } from "react";
import { useText } from "../i18n";
import { ansi } from "../lib/ansi";
import { saveFile } from "../lib/download";
import { Icon } from "./Icon";

interface Props {
  lines: string[];
  label: string;
  height?: number | string;
  /** More filters, beside the text filter. */
  children?: ReactNode;
}

const NEAR_END_PX = 24;

/** Log lines that stick to the end unless the reader scrolls up. */
export function LogView({ lines, label, height = 380, children }: Props) {
  const { t } = useText();
  const [filter, setFilter] = useState("");
  const [wrap, setWrap] = useState(true);
  const [stick, setStick] = useState(true);
  const box = useRef<HTMLDivElement>(null);
  const matches = useMemo(() => matcher(filter), [filter]);
  const shown = useMemo(() => lines.filter(matches), [lines, matches]);

  // biome-ignore lint/correctness/useExhaustiveDependencies: new lines are what moves the end.
  useLayoutEffect(() => {
    if (stick && box.current) box.current.scrollTop = box.current.scrollHeight;
  }, [shown, stick, wrap]);

  const onScroll = () => {
    const element = box.current;
    if (!element) return;
    setStick(element.scrollHeight - element.scrollTop - element.clientHeight < NEAR_END_PX);
  };

  return (
    <div className="log-view">
      <Group gap="sm" mb="xs">
        <TextInput
          size="xs"
          style={{ flex: "1 1 180px" }}
          leftSection={<Icon name="search" size={14} />}
          placeholder={t("common.log.filter")}
          aria-label={t("common.log.filter")}
          value={filter}
          onChange={(event) => setFilter(event.currentTarget.value)}
        />
        {children}
        <Switch
          size="xs"
          label={t("common.log.wrap")}
          checked={wrap}
          onChange={(event) => setWrap(event.currentTarget.checked)}
        />
        <Switch
          size="xs"
          label={t("common.log.follow")}
          checked={stick}
          onChange={(event) => setStick(event.currentTarget.checked)}
        />
        <Tooltip label={t("common.log.download")}>
          <ActionIcon
            variant="subtle"
            color="gray"
            c="var(--mantine-color-dimmed)"
            aria-label={t("common.log.download")}
            onClick={() => saveFile("log.txt", `${lines.join("\n")}\n`)}
          >
            <Icon name="download" size={16} />
          </ActionIcon>
        </Tooltip>
      </Group>
      <div style={{ position: "relative" }}>
        <div
          ref={box}
          className={wrap ? "well wrap" : "well"}
          style={{ height }}
          onScroll={onScroll}
          role="log"
          aria-live="off"
          aria-label={label}
          // biome-ignore lint/a11y/noNoninteractiveTabindex: what scrolls must be reachable by keyboard.
          tabIndex={0}
        >
          {shown.length === 0 ? (
            <Text size="sm" c="dimmed">
              {t(lines.length === 0 ? "common.log.empty" : "common.log.nothing")}
            </Text>
          ) : (
            shown.map((line, index) => <Line key={index} text={line} />)
          )}
        </div>
        {!stick && (
          <Button className="jump" size="compact-xs" onClick={() => setStick(true)}>
            ↓ {t("common.log.jump")}
          </Button>
        )}
      </div>
      <Text size="xs" c="dimmed" mt={4}>
        {t("common.log.lines", { count: shown.length })}
      </Text>
    </div>
  );
}

function Line({ text }: { text: string }) {
  const level = /\b(ERROR|CRITICAL|WARNING)\b/.exec(text)?.[1];
  return (
    <div className={level ? `log-line log-${level.toLowerCase()}` : "log-line"}>
      {ansi(text).map((span, index) => (
        <span key={index} className={span.className || undefined}>
          {span.text}
        </span>
      ))}
    </div>
  );
}

/** A regular expression where it is one, else the text itself; case does not count. */
export function matcher(filter: string): (line: string) => boolean {
  if (!filter) return () => true;
  try {
    const pattern = new RegExp(filter, "i");
    return (line) => pattern.test(line);
  } catch {
    const wanted = filter.toLowerCase();
    return (line) => line.toLowerCase().includes(wanted);
  }
}
