import { Stack, Table, Text } from "@mantine/core";
import type { ReactNode } from "react";
import type { Model, Replica } from "../../api/types";
import { Elapsed } from "../../components/Elapsed";
import { Facts } from "../../components/Facts";
import { StateBadge } from "../../components/StateBadge";
import { useText } from "../../i18n";
import { bytes, dateTime, duration } from "../../lib/format";
import { ActionText } from "./Timeline";

export function Details({ model }: { model: Model }) {
  const { t, language } = useText();
  const { runtime } = model;
  const files = t(`models.detail.${runtime.files}`);
  const last = runtime.timeline.at(-1);
  return (
    <Stack gap="md">
      <Facts
        rows={[
          [t("models.detail.source"), model.source],
          [t("models.detail.names"), model.names.join(", ")],
          [
            t("models.detail.files"),
            runtime.files_stale ? t("models.detail.stale", { files }) : files,
          ],
          ...(last
            ? [
                [t("models.detail.status"), <ActionText key="last" {...last} />] as [
                  string,
                  ReactNode,
                ],
              ]
            : []),
          [t("models.detail.updated"), dateTime(runtime.updated_at, language)],
          [
            t("models.detail.lastLoad"),
            model.load_seconds === null ? "–" : duration(model.load_seconds, language),
          ],
          [
            t("models.detail.preferred"),
            model.preferred_device_ids.join(", ") || t("models.detail.any"),
          ],
          ...(runtime.server.length > 0
            ? [[t("models.detail.servers"), runtime.server.join(", ")] as [string, string]]
            : []),
          ...Object.entries(runtime.details)
            .filter(([name]) => name !== "source")
            .map(([name, value]): [string, string] => [
              name,
              typeof value === "string" ? value : JSON.stringify(value),
            ]),
        ]}
      />
      {model.replicas.length === 0 ? (
        <Text size="sm" c="dimmed">
          {t("models.detail.noReplicas")}
        </Text>
      ) : (
        <Table.ScrollContainer minWidth={420} scrollAreaProps={{ viewportProps: { tabIndex: 0 } }}>
          <Table>
            <Table.Thead>
              <Table.Tr>
                <Table.Th>{t("models.detail.replica")}</Table.Th>
                <Table.Th>{t("models.detail.state")}</Table.Th>
                <Table.Th>{t("models.detail.gpus")}</Table.Th>
                <Table.Th>{t("models.detail.memory")}</Table.Th>
                <Table.Th>{t("models.detail.since")}</Table.Th>
              </Table.Tr>
            </Table.Thead>
            <Table.Tbody>
              {model.replicas.map((replica) => (
                <Table.Tr key={replica.name}>
                  <Table.Td>{replica.name}</Table.Td>
                  <Table.Td>
                    <StateBadge state={replica.state} />
                  </Table.Td>
                  <Table.Td>{replica.gpu_ids.join(", ") || "–"}</Table.Td>
                  <Table.Td>{replica.memory ? <Memory memory={replica.memory} /> : "–"}</Table.Td>
                  <Table.Td>
                    <Elapsed since={replica.since} />
                  </Table.Td>
                </Table.Tr>
              ))}
            </Table.Tbody>
          </Table>
        </Table.ScrollContainer>
      )}
    </Stack>
  );
}

function Memory({ memory }: { memory: NonNullable<Replica["memory"]> }) {
  const { t, language } = useText();
  const used = memory.used === null ? "–" : bytes(memory.used, language);
  return (
    <>
      {memory.by === "ledger" && memory.used !== null && "≈ "}
      {t("models.detail.ofGrant", { used, granted: bytes(memory.granted, language) })}
      {memory.over_grant && (
        <Text size="xs" c="var(--warn)">
          {memory.over_grant}
        </Text>
      )}
    </>
  );
}
