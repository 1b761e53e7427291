import { Card, Table, Text, Title } from "@mantine/core";
import { Fragment } from "react";
import type { Dependency, Status } from "../../api/types";
import { useText } from "../../i18n";

/** Absent until the gateway has looked at its libraries. */
export function DependenciesCard({ status }: { status: Status }) {
  const { t } = useText();
  const found = status.dependencies;
  if (found.length === 0) return null;
  const several = new Set(found.map(({ details }) => details.python)).size > 1;
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
            {found.map(({ name, version, cuda, details, problem, remedy }) => (
              <Fragment key={`${details.python} ${name}`}>
                <Table.Tr>
                  <Table.Td>
                    {name}
                    {several && (
                      <Text size="xs" c="dimmed" className="break">
                        {details.python}
                      </Text>
                    )}
                  </Table.Td>
                  <Table.Td>{version ?? t("models.deps.missing")}</Table.Td>
                  <Table.Td>{cudaText(cuda, details)}</Table.Td>
                </Table.Tr>
                {problem && (
                  <Table.Tr>
                    <Table.Td colSpan={3}>
                      <Text size="sm" c="var(--warn)">
                        {problem}
                      </Text>
                      <Text size="sm" c="dimmed">
                        {remedy}
                      </Text>
                    </Table.Td>
                  </Table.Tr>
                )}
              </Fragment>
            ))}
          </Table.Tbody>
        </Table>
      </Table.ScrollContainer>
    </Card>
  );

  function cudaText(cuda: Dependency["cuda"], details: Dependency["details"]): string {
    const runtime = details.cuda_runtime;
    return runtime
      ? `${cuda ?? "–"} · ${t("models.deps.runtime", { version: runtime })}`
      : (cuda ?? "–");
  }
}
