import { Card, Table, Text, Title } from "@mantine/core";
import type { Dependency, Status } from "../../api/types";
import { useText } from "../../i18n";

/** Absent where the gateway does not report its libraries. */
export function DependenciesCard({ status }: { status: Status }) {
  const { t } = useText();
  const found = (status as Status & { dependencies?: Dependency[] }).dependencies;
  if (!found || found.length === 0) return null;
  return (
    <Card component="section" aria-labelledby="dependencies">
      <Title order={2} size="h4" id="dependencies">
        {t("models.deps.title")}
      </Title>
      <Text size="sm" c="dimmed" mb="sm">
        {t("models.deps.hint")}
      </Text>
      <Table.ScrollContainer minWidth={420} scrollAreaProps={{ viewportProps: { tabIndex: 0 } }}>
        <Table>
          <Table.Thead>
            <Table.Tr>
              <Table.Th>{t("models.deps.name")}</Table.Th>
              <Table.Th>{t("models.deps.version")}</Table.Th>
              <Table.Th>{t("models.deps.cuda")}</Table.Th>
            </Table.Tr>
          </Table.Thead>
          <Table.Tbody>
            {found.map(({ name, version, cuda, details }) => (
              <Table.Tr key={name}>
                <Table.Td>{name}</Table.Td>
                <Table.Td>{version ?? t("models.deps.missing")}</Table.Td>
                <Table.Td>{cudaText(cuda, details)}</Table.Td>
              </Table.Tr>
            ))}
          </Table.Tbody>
        </Table>
      </Table.ScrollContainer>
    </Card>
  );

  function cudaText(cuda: Dependency["cuda"], details: Dependency["details"]): string {
    const runtime = details?.cuda_runtime;
    const own = typeof cuda === "string" && cuda ? cuda : "–";
    return runtime ? `${own} · ${t("models.deps.runtime", { version: String(runtime) })}` : own;
  }
}
