import { Alert, Button, Group, Text } from "@mantine/core";
import { useQueryClient } from "@tanstack/react-query";
import { useConnection, useServed, useStatus } from "../api/queries";
import { Icon } from "../components/Icon";
import { useText } from "../i18n";
import { timeOfDay } from "../lib/format";

/** What everybody should know wherever they are. */
export function Banners() {
  const { t } = useText();
  const status = useStatus();
  const served = useServed();
  const demo = served.data?.some((model) => model.demo) ?? false;
  return (
    <div className="page">
      <Offline at={status.dataUpdatedAt} />
      {status.data?.draining && (
        <Alert mb="md" variant="outline" color="orange" icon={<Icon name="power" />}>
          {t("shell.draining")}
        </Alert>
      )}
      {demo && (
        <p className="demo-banner">
          <Icon name="info" size={16} />
          <span>{t("shell.demoBanner")}</span>
        </p>
      )}
    </div>
  );
}

function Offline({ at }: { at: number }) {
  const { t, language } = useText();
  const client = useQueryClient();
  const { phase } = useConnection();
  if (phase !== "offline" || at === 0) return null;
  const again = () => {
    window.dispatchEvent(new Event("online"));
    void client.invalidateQueries();
  };
  return (
    <Alert mb="md" variant="outline" color="red" icon={<Icon name="alert" />} role="alert">
      <Group justify="space-between" gap="xs">
        <Text size="sm">{t("shell.offline", { time: timeOfDay(at / 1000, language) })}</Text>
        <Button size="xs" variant="default" onClick={again}>
          {t("shell.reconnect")}
        </Button>
      </Group>
    </Alert>
  );
}
