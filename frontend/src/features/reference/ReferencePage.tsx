import { Card, Group, Skeleton, Stack, Text, Title } from "@mantine/core";
import type { ReactNode } from "react";
import { useServed } from "../../api/queries";
import { CopyButton } from "../../components/CopyButton";
import { EmptyState } from "../../components/EmptyState";
import { EndpointList } from "../../components/EndpointList";
import { ErrorState } from "../../components/ErrorState";
import { Icon } from "../../components/Icon";
import { Page } from "../../components/Page";
import { StateBadge } from "../../components/StateBadge";
import { useText } from "../../i18n";
import { ENDPOINTS, type Endpoint } from "../../lib/endpoints";
import { KeyHint } from "./KeyHint";
import { TaskSnippets } from "./TaskSnippets";

const MODELS: Endpoint = { method: "GET", path: "/v1/models", what: "models" };

export default function ReferencePage() {
  const { t } = useText();
  const served = useServed();
  const base = `${window.location.origin}/v1`;
  const models = served.data ?? [];
  const denied = served.error !== null && !served.data;
  return (
    <Page narrow title={t("shell.reference")} hint={t("reference.hint")}>
      <Stack gap="lg">
        <Section id="base" title={t("reference.base")} hint={t("reference.baseHint")}>
          <Group gap="xs" wrap="nowrap">
            <code className="mono base-url break">{base}</code>
            <CopyButton value={base} what={t("reference.base")} />
          </Group>
          <KeyHint denied={denied} />
        </Section>
        {denied ? (
          <Card>
            <ErrorState error={served.error} onRetry={() => void served.refetch()} />
          </Card>
        ) : (
          <Section id="names" title={t("reference.models")} hint={t("reference.modelsHint")}>
            {!served.data ? (
              <Skeleton height={60} aria-busy="true" />
            ) : models.length === 0 ? (
              <EmptyState
                compact
                icon="models"
                title={t("reference.noModels")}
                body={t("reference.noModelsBody")}
              />
            ) : (
              <ul className="endpoints">
                {models.map(({ id, kind, state }) => (
                  <li key={id}>
                    <Group gap={6} style={{ flex: 1, minWidth: 0 }}>
                      <code className="mono break">{id}</code>
                      <CopyButton value={id} what={id} />
                      <Text size="xs" c="dimmed">
                        {t(`common.kind.${kind}`)}
                      </Text>
                    </Group>
                    <StateBadge state={state} />
                  </li>
                ))}
              </ul>
            )}
          </Section>
        )}
        <TaskSnippets models={models} />
        <Section id="endpoints" title={t("reference.endpoints")}>
          <EndpointList endpoints={[MODELS, ...Object.values(ENDPOINTS).flat()]} />
        </Section>
        <Section id="docs" title={t("reference.docs")} hint={t("reference.docsHint")}>
          <Group gap="lg">
            <a href="/docs" target="_blank" rel="noreferrer" className="small-link">
              /docs <Icon name="external" size={14} />
            </a>
            <a href="/openapi.json" target="_blank" rel="noreferrer" className="small-link">
              {t("reference.openapi")} <Icon name="external" size={14} />
            </a>
          </Group>
        </Section>
      </Stack>
    </Page>
  );
}

interface SectionProps {
  id: string;
  title: string;
  hint?: string;
  children: ReactNode;
}

function Section({ id, title, hint, children }: SectionProps) {
  return (
    <Card component="section" aria-labelledby={id}>
      <Title order={2} size="h4" id={id}>
        {title}
      </Title>
      {hint && (
        <Text size="sm" c="dimmed" mb="sm">
          {hint}
        </Text>
      )}
      {children}
    </Card>
  );
}
