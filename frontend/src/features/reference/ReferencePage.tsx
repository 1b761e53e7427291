import { Card, Group, Skeleton, Text, Title } from "@mantine/core";
import type { ReactNode } from "react";
import { useServed } from "../../api/queries";
import type { ServedModel } from "../../api/types";
import { CopyButton } from "../../components/CopyButton";
import { EmptyState } from "../../components/EmptyState";
import { EndpointList } from "../../components/EndpointList";
import { ErrorState } from "../../components/ErrorState";
import { Icon } from "../../components/Icon";
import { Page } from "../../components/Page";
import { StateBadge } from "../../components/StateBadge";
import { useText } from "../../i18n";
import { ENDPOINTS, type Endpoint, type Kind } from "../../lib/endpoints";
import { KeyHint } from "./KeyHint";
import { TaskSnippets } from "./TaskSnippets";

const MODELS: Endpoint = { method: "GET", path: "/v1/models", what: "models" };

export default function ReferencePage() {
  const { t } = useText();
  const served = useServed();
  const base = `${window.location.origin}/v1`;
  const models = served.data ?? [];
  const kinds = Object.keys(ENDPOINTS) as Kind[];
  // Only what something here answers; everything where that is not known.
  const answered = kinds.filter((kind) => models.some((model) => model.kind === kind));
  const listed = (answered.length > 0 ? answered : kinds).flatMap((kind) => ENDPOINTS[kind]);
  const endpoints = [...new Map(listed.map((one) => [one.path, one])).values()];
  const denied = served.error !== null && !served.data;
  return (
    <Page title={t("shell.reference")} hint={t("reference.hint")}>
      <div className="reference">
        <div>
          <Section id="base" title={t("reference.base")} hint={t("reference.baseHint")}>
            <Group gap="xs" wrap="nowrap">
              <code className="mono base-url break">{base}</code>
              <CopyButton value={base} what={t("reference.base")} />
            </Group>
            <KeyHint denied={denied} />
          </Section>
          <TaskSnippets models={models} />
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
        </div>
        <div>
          {denied ? (
            <Card>
              <ErrorState error={served.error} onRetry={() => void served.refetch()} />
            </Card>
          ) : (
            <Section id="names" title={t("reference.models")} hint={t("reference.modelsHint")}>
              <Names models={served.data} />
            </Section>
          )}
          <Section
            id="endpoints"
            title={t("reference.endpoints")}
            hint={t("reference.endpointsHint")}
          >
            <EndpointList endpoints={[MODELS, ...endpoints]} />
          </Section>
        </div>
      </div>
    </Page>
  );
}

function Names({ models }: { models: ServedModel[] | undefined }) {
  const { t } = useText();
  if (!models) return <Skeleton height={60} aria-busy="true" />;
  if (models.length === 0)
    return (
      <EmptyState
        compact
        icon="models"
        title={t("reference.noModels")}
        body={t("reference.noModelsBody")}
      />
    );
  return (
    <ul className="names">
      {models.map(({ id, kind, state }) => (
        <li key={id}>
          <div style={{ minWidth: 0 }}>
            <code className="mono break">{id}</code>
            <Text size="xs" c="dimmed">
              {t(`common.kind.${kind}`)}
            </Text>
          </div>
          <StateBadge state={state} />
          <CopyButton value={id} what={id} />
        </li>
      ))}
    </ul>
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
