import { Alert, Button, Group, Stack, Text } from "@mantine/core";
import { type ApiError, toApiError } from "../api/errors";
import { useKey } from "../api/key";
import { useText } from "../i18n";
import { duration } from "../lib/format";
import { EmptyState } from "./EmptyState";
import { Icon } from "./Icon";
import { useOpenKeyDialog } from "./key-dialog";

interface Props {
  error: unknown;
  onRetry?: () => void;
}

/** A request that failed: a plain sentence, its id, and what to do. */
export function ErrorState({ error, onRetry }: Props) {
  const { t, language } = useText();
  const problem = toApiError(error);
  if (problem.denied) return <KeyNeeded error={problem} />;
  return (
    <Alert
      color="red"
      variant="outline"
      icon={<Icon name="alert" />}
      title={t("common.errorTitle")}
      role="alert"
    >
      <Stack gap="xs" align="flex-start">
        <Text size="sm" className="break lines">
          {problem.status === 0 ? t("common.unreachable") : problem.message}
          {problem.retryAfter !== null &&
            ` ${t("common.retryAfter", { time: duration(problem.retryAfter, language) })}`}
        </Text>
        {problem.requestId && (
          <Text size="xs" c="dimmed" className="mono">
            {t("common.requestId", { id: problem.requestId })}
          </Text>
        )}
        {onRetry && (
          <Button size="xs" variant="default" onClick={onRetry}>
            {t("common.retry")}
          </Button>
        )}
      </Stack>
    </Alert>
  );
}

function KeyNeeded({ error }: { error: ApiError }) {
  const { t } = useText();
  const { key } = useKey();
  const open = useOpenKeyDialog();
  const admin = error.wants === "admin";
  const local = error.code === "foreign_host" || error.code === "cross_site";
  return (
    <EmptyState
      icon="key"
      title={t(admin ? "common.keyTitleAdmin" : "common.keyTitleInference")}
      body={local ? error.message : t(admin ? "common.keyBodyAdmin" : "common.keyBodyInference")}
    >
      {key && !local && (
        <Group gap={6} justify="center" style={{ color: "var(--bad)" }}>
          <Icon name="alert" size={16} />
          <Text size="sm">
            {t(error.status === 403 ? "common.keyLacksRight" : "common.keyUnknown")}
          </Text>
        </Group>
      )}
      <Button onClick={open} leftSection={<Icon name="key" size={16} />} mt="xs">
        {t("common.enterKey")}
      </Button>
    </EmptyState>
  );
}
