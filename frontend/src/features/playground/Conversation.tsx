import { Text } from "@mantine/core";
import { useEffect, useLayoutEffect, useRef, useState } from "react";
import type { ServedModel } from "../../api/types";
import { EmptyState } from "../../components/EmptyState";
import { useText } from "../../i18n";
import type { Turn } from "../../lib/chat";
import { duration } from "../../lib/format";
import { Markdown } from "../../lib/markdown";
import { Message, Thinking } from "./Message";
import { ToolResults } from "./ToolResults";
import type { Live } from "./useChat";

interface Props {
  turns: Turn[];
  live: Live | null;
  model: ServedModel;
  onAnswer: (more: Turn[]) => void;
}

const NEAR_END_PX = 60;

export function Conversation({ turns, live, model, onAnswer }: Props) {
  const { t } = useText();
  const box = useRef<HTMLDivElement>(null);
  const stick = useRef(true);

  // biome-ignore lint/correctness/useExhaustiveDependencies: every new piece moves the end.
  useLayoutEffect(() => {
    if (stick.current && box.current) box.current.scrollTop = box.current.scrollHeight;
  }, [turns, live]);

  const last = turns[turns.length - 1];
  const calls = last?.role === "assistant" && !live ? last.calls : [];
  return (
    <div
      ref={box}
      className="conversation"
      onScroll={(event) => {
        const { scrollHeight, scrollTop, clientHeight } = event.currentTarget;
        stick.current = scrollHeight - scrollTop - clientHeight < NEAR_END_PX;
      }}
      role="log"
      aria-live="off"
      aria-label={t("shell.playground")}
      // biome-ignore lint/a11y/noNoninteractiveTabindex: what scrolls must be reachable by keyboard.
      tabIndex={0}
    >
      {turns.length === 0 && !live && (
        <EmptyState
          icon="playground"
          title={t("playground.emptyTitle")}
          body={t("playground.emptyBody")}
        >
          {model.state !== "ready" && (
            <Text size="sm">
              {t("playground.loads", { state: t(`common.state.${model.state}`).toLowerCase() })}
            </Text>
          )}
        </EmptyState>
      )}
      {turns.map((turn, index) => (
        <Message key={index} turn={turn} />
      ))}
      {live && <LiveMessage live={live} />}
      {calls.length > 0 && <ToolResults key={turns.length} calls={calls} onSend={onAnswer} />}
    </div>
  );
}

function LiveMessage({ live }: { live: Live }) {
  const { t } = useText();
  return (
    <div className="message message-assistant" aria-busy="true">
      <Text size="xs" c="dimmed" fw={600}>
        {t("playground.assistant")}
      </Text>
      {live.reasoning && <Thinking text={live.reasoning} open />}
      <Markdown text={live.text} />
      <LiveRow live={live} />
    </div>
  );
}

/** Tells a slow model from a stuck one: it moves every tenth of a second. */
function LiveRow({ live }: { live: Live }) {
  const { t, language } = useText();
  const [now, setNow] = useState(() => performance.now());
  useEffect(() => {
    const timer = window.setInterval(() => setNow(performance.now()), 100);
    return () => window.clearInterval(timer);
  }, []);
  const since = Math.max(0, (now - live.started) / 1000);
  const answering = live.first === null ? 0 : (now - live.first) / 1000;
  const parts =
    live.first === null
      ? [t("playground.waiting"), duration(since, language)]
      : [
          t("playground.stats.tokens", { about: "~", count: live.pieces }),
          duration(since, language),
          ...(answering > 0.3
            ? [
                t("playground.stats.rate", {
                  about: "~",
                  rate: Math.round(live.pieces / answering),
                }),
              ]
            : []),
        ];
  return (
    <Text size="xs" c="dimmed" className="stats" data-testid="live">
      <span className="dot pulse" /> {parts.join(" · ")}
    </Text>
  );
}
