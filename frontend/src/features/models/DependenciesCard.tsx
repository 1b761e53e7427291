import { Card, Table, Text, Title } from "@mantine/core";
import { Fragment } from "react";
import type { Dependency, Status } from "../../api/types";
import { useText } from "../../i18n";

/** Absent until the gateway has looked at its libraries. */
export function DependenciesCard({ status }: { status: Status }) {
  const { t } = useText();
  const found = status.dependencies;
  if (found.length === 0) return null;
  const environments = [...new Set(found.map(({ details }) => details.python))];
  return (
    <Card component="section" aria-labelledby="dependencies">
      <Title order={2} size="h4" id="dependencies">
        {t("models.deps.title")}
      </Title>
      <Text size="sm" c="dimmed" mb="sm">
        {t("models.deps.hint")}
      </Text>
      <Table.ScrollContainer minWidth={280} scrollAreaProps={{ viewportProps: { tabIndex: 0 } }}>
        <Table>
          <Table.Thead>
            <Table.Tr>
              <Table.Th>{t("models.deps.name")}</Table.Th>
              <Table.Th>{t("models.deps.version")}</Table.Th>
              <Table.Th>{t("models.deps.cuda")}</Table.Th>
            </Table.Tr>
          </Table.Thead>
          <Table.Tbody>
            {environments.map((python) => (
              <Fragment key={python}>
                {environments.length > 1 && (
                  <Table.Tr>
                    <Table.Th colSpan={3} scope="rowgroup" className="mono break">
                      {python}
                    </Table.Th>
                  </Table.Tr>
                )}
                {found
                  .filter(({ details }) => details.python === python)
                  .map((dependency) => (
                    <Row key={dependency.name} dependency={dependency} />
                  ))}
              </Fragment>
            ))}
          </Table.Tbody>
        </Table>
      </Table.ScrollContainer>
    </Card>
  );
}

function Row({ dependency }: { dependency: Dependency }) {
  const { t } = useText();
  const { name, version, cuda, details, problem, remedy } = dependency;
  const runtime = details.cuda_runtime;
  return (
    <>
      <Table.Tr className={problem ? "with-more" : undefined}>
        <Table.Td className="break">{name}</Table.Td>
        <Table.Td>{version ?? t("models.deps.missing")}</Table.Td>
        <Table.Td>
          {cuda ?? "–"}
          {runtime && ` · ${t("models.deps.runtime", { version: runtime })}`}
        </Table.Td>
      </Table.Tr>
      {problem && (
        <Table.Tr>
          <Table.Td colSpan={3} pt={0}>
            <Text size="sm" c="var(--warn)">
              {problem}
            </Text>
            <Text size="sm" c="dimmed">
              {remedy}
            </Text>
          </Table.Td>
        </Table.Tr>
      )}
    </>
  );
}
