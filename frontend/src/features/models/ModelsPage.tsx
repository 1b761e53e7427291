import { Group, Skeleton, Stack } from "@mantine/core";
import { useStatus } from "../../api/queries";
import { EmptyState } from "../../components/EmptyState";
import { ErrorState } from "../../components/ErrorState";
import { Page } from "../../components/Page";
import { useText } from "../../i18n";
import { CacheCard } from "./CacheCard";
import { DependenciesCard } from "./DependenciesCard";
import { ModelCard } from "./ModelCard";
import { ReloadButton } from "./ReloadDialog";
import { TokenButton } from "./TokenDialog";

export default function ModelsPage() {
  const { t } = useText();
  const { data, error, refetch } = useStatus();
  const models = Object.values(data?.models ?? {});
  return (
    <Page
      title={t("shell.models")}
      hint={t("models.hint")}
      actions={
        data && (
          <Group gap="xs">
            <ReloadButton file={data.models_file} />
            <TokenButton />
          </Group>
        )
      }
    >
      {data ? (
        <Stack gap="lg">
          {models.length === 0 && (
            <EmptyState icon="models" title={t("models.empty")} body={t("models.emptyBody")} />
          )}
          {models.map((model) => (
            <ModelCard key={model.key} model={model} gpus={data.gpus} />
          ))}
          <CacheCard />
          <DependenciesCard status={data} />
        </Stack>
      ) : error ? (
        <ErrorState error={error} onRetry={() => void refetch()} />
      ) : (
        <Stack aria-busy="true">
          {[0, 1, 2].map((key) => (
            <Skeleton key={key} height={170} radius="lg" />
          ))}
        </Stack>
      )}
    </Page>
  );
}
