import { Alert, Button, Group, Stack, Text } from "@mantine/core";
import type { Failure, Model } from "../../api/types";
import { CodeWell } from "../../components/Code";
import { Icon } from "../../components/Icon";
import { useText } from "../../i18n";
import { dateTime } from "../../lib/format";
import { useModelCommand } from "./Actions";

const LINES = 20;

/** Why it failed, in plain words, and what the engine said last. */
export function FailurePanel({ model, failure }: { model: Model; failure: Failure }) {
  const { t, language } = useText();
  const { run, running } = useModelCommand(model);
  const facts = [
    t("models.failure.at", { time: dateTime(failure.at, language) }),
    t("models.failure.code", { code: failure.code }),
    ...(failure.exit_code === null ? [] : [t("models.failure.exit", { code: failure.exit_code })]),
    ...(failure.signal === null ? [] : [t("models.failure.signal", { signal: failure.signal })]),
  ];
  return (
    <Alert
      color="red"
      variant="outline"
      icon={<Icon name="alert" />}
      title={t("models.failure.title", { model: model.key })}
      data-testid="failure"
    >
      <Stack gap="xs">
        <Text size="sm" className="break">
          <Linked text={failure.reason} />
        </Text>
        <Text size="xs" c="dimmed">
          {facts.join(" · ")}
        </Text>
        {failure.log_tail.length > 0 && (
          <CodeWell
            label={t("models.failure.tail")}
            text={failure.log_tail.slice(-LINES).join("\n")}
            full={failure.log_tail.join("\n")}
            maxHeight={220}
            wrap
            fromEnd
          />
        )}
        {model.state === "failed" && (
          <Group>
            <Button
              size="sm"
              leftSection={<Icon name="retry" size={16} />}
              loading={running === "load"}
              onClick={() => run("load")}
            >
              {t("common.retry")}
            </Button>
          </Group>
        )}
      </Stack>
    </Alert>
  );
}

/** Addresses in the gateway's words (a licence to accept) can be followed. */
function Linked({ text }: { text: string }) {
  return text.split(/(https?:\/\/[^\s)]+)/).map((part, index) =>
    index % 2 === 1 ? (
      <a key={index} href={part} target="_blank" rel="noreferrer noopener">
        {part}
      </a>
    ) : (
      part
    ),
  );
}
