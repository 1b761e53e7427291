import { Group, Text } from "@mantine/core";
import { CodeWell } from "../../components/Code";
import { CopyButton } from "../../components/CopyButton";
import { Icon } from "../../components/Icon";
import { useText } from "../../i18n";
import type { Stats, ToolCall, Turn } from "../../lib/chat";
import { duration, number } from "../../lib/format";
import { Markdown } from "../../lib/markdown";

export function Message({ turn }: { turn: Turn }) {
  const { t } = useText();
  if (turn.role === "user")
    return (
      <div className="message message-user">
        <Text size="xs" c="dimmed" fw={600}>
          {t("playground.you")}
        </Text>
        {turn.images.length > 0 && (
          <Group gap="xs" my={6}>
            {turn.images.map((url, index) => (
              <img
                key={`${index}-${url.length}`}
                src={url}
                className="shown-image"
                alt={t("playground.image", { index: index + 1 })}
              />
            ))}
          </Group>
        )}
        <p className="said">{turn.text}</p>
      </div>
    );
  if (turn.role === "tool")
    return (
      <div className="message message-user">
        <Text size="xs" c="dimmed" fw={600}>
          {t("playground.tool", { name: turn.name })}
        </Text>
        <p className="said mono">{turn.text}</p>
      </div>
    );
  return (
    <div className="message message-assistant">
      <Group justify="space-between" gap="xs">
        <Text size="xs" c="dimmed" fw={600}>
          {t("playground.assistant")}
        </Text>
        {turn.text && <CopyButton value={turn.text} what={t("playground.assistant")} />}
      </Group>
      {turn.reasoning && <Thinking text={turn.reasoning} />}
      <Markdown text={turn.text} />
      {turn.calls.map((call, index) => (
        <Call key={call.id || index} call={call} />
      ))}
      {turn.error && (
        <Group
          gap={8}
          wrap="nowrap"
          style={{ color: "var(--bad)" }}
          role="alert"
          align="flex-start"
        >
          <Icon name="alert" size={16} />
          <Text size="sm" className="break">
            {turn.error}
          </Text>
        </Group>
      )}
      {turn.stats && <StatsRow stats={turn.stats} />}
    </div>
  );
}

export function Thinking({ text, open }: { text: string; open?: boolean }) {
  const { t } = useText();
  return (
    <details className="thinking" open={open}>
      <summary>{t("playground.thinking")}</summary>
      <p className="said">{text}</p>
    </details>
  );
}

function Call({ call }: { call: ToolCall }) {
  const { t } = useText();
  let shown = call.arguments;
  try {
    shown = JSON.stringify(JSON.parse(call.arguments), null, 2);
  } catch {
    // As the model wrote it.
  }
  return (
    <div className="call">
      <Group gap={6} mb={4}>
        <Icon name="tool" size={15} />
        <Text size="sm" fw={600}>
          {t("playground.tools.call", { name: call.name })}
        </Text>
      </Group>
      <CodeWell text={shown} label={call.name} maxHeight={200} wrap />
    </div>
  );
}

function StatsRow({ stats }: { stats: Stats }) {
  const { t, language } = useText();
  const about = stats.approximate ? "~" : "";
  const parts: string[] = [];
  if (stats.first !== null)
    parts.push(t("playground.stats.ttft", { time: duration(stats.first, language) }));
  if (stats.tokens) parts.push(t("playground.stats.tokens", { about, count: stats.tokens }));
  const answering = stats.total - (stats.first ?? 0);
  if (stats.tokens && stats.tokens > 1 && answering > 0.05)
    parts.push(
      t("playground.stats.rate", { about, rate: number(stats.tokens / answering, language, 1) }),
    );
  parts.push(t("playground.stats.total", { time: duration(stats.total, language) }));
  if (stats.finish) parts.push(t("playground.stats.finish", { reason: stats.finish }));
  return (
    <Text size="xs" c="dimmed" className="stats" data-testid="stats">
      {parts.join(" · ")}
    </Text>
  );
}
