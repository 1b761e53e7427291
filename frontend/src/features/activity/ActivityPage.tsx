import { Tabs } from "@mantine/core";
import { useState } from "react";
import { useStatus } from "../../api/queries";
import { ErrorState } from "../../components/ErrorState";
import { Page } from "../../components/Page";
import { useText } from "../../i18n";
import { Logs } from "./Logs";
import { RequestsPanel } from "./RequestsPanel";

export default function ActivityPage() {
  const { t } = useText();
  const [tab, setTab] = useState<string | null>("requests");
  const { data, error, refetch } = useStatus();
  const models = Object.values(data?.models ?? {});
  return (
    <Page title={t("shell.activity")} hint={t("activity.hint")}>
      {error && !data ? (
        <ErrorState error={error} onRetry={() => void refetch()} />
      ) : (
        <Tabs value={tab} onChange={setTab} keepMounted={false}>
          <Tabs.List mb="lg">
            <Tabs.Tab value="requests">{t("activity.tabs.requests")}</Tabs.Tab>
            <Tabs.Tab value="logs">{t("activity.tabs.logs")}</Tabs.Tab>
          </Tabs.List>
          <Tabs.Panel value="requests">
            <RequestsPanel models={models} />
          </Tabs.Panel>
          <Tabs.Panel value="logs">
            <Logs models={models} />
          </Tabs.Panel>
        </Tabs>
      )}
    </Page>
  );
}
