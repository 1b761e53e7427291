import { Group, SimpleGrid, Skeleton, Stack, Text, Title } from "@mantine/core";
import { useStatus } from "../../api/queries";
import type { System } from "../../api/types";
import { ErrorState } from "../../components/ErrorState";
import { Page } from "../../components/Page";
import { useText } from "../../i18n";
import { GpuGrid } from "./GpuGrid";
import { LastErrors } from "./LastErrors";
import { ModelStrip } from "./ModelStrip";
import { Tiles } from "./Tiles";

export default function OverviewPage() {
  const { t } = useText();
  const { data, error, refetch } = useStatus();
  const hint = data
    ? `${t("overview.set", { set: data.model_set })} (${data.model_set_reason}) · ${t("overview.version", { version: data.version })}`
    : t("overview.hint");
  const readBy = ({ gpu_probe, driver, driver_cuda }: System) =>
    [
      t("overview.probe", { probe: gpu_probe }),
      driver && t("overview.driver", { version: driver }),
      driver_cuda && `CUDA ${driver_cuda}`,
    ]
      .filter(Boolean)
      .join(" · ");
  return (
    <Page title={t("shell.overview")} hint={hint}>
      {data ? (
        <Stack gap="xl">
          <Tiles status={data} />
          <section aria-labelledby="strip">
            <Title order={2} size="h4" id="strip" mb="sm">
              {t("overview.modelsTitle")}
            </Title>
            <ModelStrip models={Object.values(data.models)} />
          </section>
          <section aria-labelledby="gpus">
            <Group justify="space-between" mb="sm">
              <Title order={2} size="h4" id="gpus">
                {t("overview.gpus")}
              </Title>
              {data.gpus.length > 0 && (
                <Text size="xs" c="dimmed">
                  {readBy(data.system)}
                </Text>
              )}
            </Group>
            <GpuGrid status={data} />
          </section>
          <section aria-labelledby="errors">
            <Title order={2} size="h4" id="errors" mb="sm">
              {t("overview.errors")}
            </Title>
            <LastErrors models={Object.values(data.models)} />
          </section>
        </Stack>
      ) : error ? (
        <ErrorState error={error} onRetry={() => void refetch()} />
      ) : (
        <SimpleGrid cols={{ base: 1, sm: 2, lg: 4 }} aria-busy="true">
          {[0, 1, 2, 3].map((key) => (
            <Skeleton key={key} height={110} radius="lg" />
          ))}
        </SimpleGrid>
      )}
    </Page>
  );
}
