import { Button, Card, Group, Stack, Text } from "@mantine/core";
import { Link } from "@tanstack/react-router";
import type { Model } from "../../api/types";
import { EmptyState } from "../../components/EmptyState";
import { Icon } from "../../components/Icon";
import { StateBadge } from "../../components/StateBadge";
import { useText } from "../../i18n";
import { dateTime } from "../../lib/format";

export function LastErrors({ models }: { models: Model[] }) {
  const { t, language } = useText();
  const errors = models
    .flatMap(({ key, state, runtime }) =>
      runtime.last_error ? [{ key, state, failure: runtime.last_error }] : [],
    )
    .sort((one, other) => other.failure.at - one.failure.at);
  if (errors.length === 0)
    return (
      <Card padding="md">
        <EmptyState
          compact
          icon="check"
          title={t("overview.noErrors")}
          body={t("overview.noErrorsBody")}
        />
      </Card>
    );
  return (
    <Stack gap="xs">
      {errors.map(({ key, state, failure }) => (
        <Card key={key} padding="sm">
          <Group justify="space-between" gap="sm">
            <Group gap="sm" wrap="nowrap" style={{ flex: "1 1 260px", minWidth: 0 }}>
              <span style={{ color: "var(--bad)" }}>
                <Icon name="alert" />
              </span>
              <div style={{ minWidth: 0 }}>
                <Text size="sm" className="break">
                  <b>{key}</b>: {failure.reason}
                </Text>
                <Text size="xs" c="dimmed">
                  {dateTime(failure.at, language)} · {failure.code}
                </Text>
              </div>
            </Group>
            <Group gap="sm">
              <Text size="xs" c="dimmed">
                {t("overview.now")}
              </Text>
              <StateBadge state={state} />
              <Button component={Link} to="/models" size="xs" variant="default">
                {t("overview.details")}
              </Button>
            </Group>
          </Group>
        </Card>
      ))}
    </Stack>
  );
}
