import { Button, Stack, Textarea } from "@mantine/core";
import { useState } from "react";
import { useText } from "../../i18n";
import type { ToolCall, Turn } from "../../lib/chat";

/** The developer plays the tool: its results go back to the model. */
export function ToolResults({
  calls,
  onSend,
}: {
  calls: ToolCall[];
  onSend: (more: Turn[]) => void;
}) {
  const { t } = useText();
  const [results, setResults] = useState<string[]>(() => calls.map(() => ""));
  const send = () =>
    onSend(
      calls.map(({ id, name }, index) => ({ role: "tool", id, name, text: results[index] ?? "" })),
    );
  return (
    <Stack gap="xs" className="call">
      {calls.map((call, index) => (
        <Textarea
          key={call.id || index}
          label={`${t("playground.tools.result")} · ${call.name}`}
          autosize
          minRows={1}
          value={results[index] ?? ""}
          onChange={(event) => {
            const { value } = event.currentTarget;
            setResults((old) => old.map((one, at) => (at === index ? value : one)));
          }}
        />
      ))}
      <Button size="sm" onClick={send} style={{ alignSelf: "flex-start" }}>
        {t("playground.tools.send")}
      </Button>
    </Stack>
  );
}
