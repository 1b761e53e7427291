import { Table, UnstyledButton } from "@mantine/core";
import type { RequestRecord } from "../../api/types";
import { useText } from "../../i18n";
import { duration, timeOfDay } from "../../lib/format";
import { OutcomeBadge } from "./OutcomeBadge";
import { rowId } from "./RequestsPanel";
import { tokensText } from "./tokens";

interface Props {
  records: RequestRecord[];
  open: string | null;
  onOpen: (id: string) => void;
}

export function History({ records, open, onOpen }: Props) {
  const { t, language } = useText();
  const seconds = (value: number | null) => (value === null ? "–" : duration(value, language));
  return (
    <Table.ScrollContainer minWidth={760} scrollAreaProps={{ viewportProps: { tabIndex: 0 } }}>
      <Table highlightOnHover style={{ whiteSpace: "nowrap" }}>
        <Table.Thead>
          <Table.Tr>
            <Table.Th>{t("activity.time")}</Table.Th>
            <Table.Th>{t("activity.outcomeLabel")}</Table.Th>
            <Table.Th>{t("activity.model")}</Table.Th>
            <Table.Th>{t("activity.route")}</Table.Th>
            <Table.Th ta="right">{t("activity.ttft")}</Table.Th>
            <Table.Th ta="right">{t("activity.total")}</Table.Th>
            <Table.Th ta="right">{t("activity.tokens")}</Table.Th>
          </Table.Tr>
        </Table.Thead>
        <Table.Tbody>
          {records.map((record) => {
            const id = rowId(record);
            return (
              <Table.Tr
                key={id}
                bg={id === open ? "var(--mantine-color-default-hover)" : undefined}
                onClick={() => onOpen(id)}
                style={{ cursor: "pointer" }}
              >
                <Table.Td>
                  <UnstyledButton
                    className="row-button"
                    aria-label={t("activity.open", { id: record.request_id })}
                  >
                    {timeOfDay(record.started_at, language)}
                  </UnstyledButton>
                </Table.Td>
                <Table.Td>
                  <OutcomeBadge record={record} />
                </Table.Td>
                <Table.Td>{record.model}</Table.Td>
                <Table.Td className="mono">{record.route}</Table.Td>
                <Table.Td ta="right">{seconds(record.first_token_seconds)}</Table.Td>
                <Table.Td ta="right">{seconds(record.seconds)}</Table.Td>
                <Table.Td ta="right">
                  {record.prompt_tokens === null && record.completion_tokens === null
                    ? record.audio_seconds === null
                      ? "–"
                      : `${t("activity.audio")} ${seconds(record.audio_seconds)}`
                    : tokensText(record, language)}
                </Table.Td>
              </Table.Tr>
            );
          })}
        </Table.Tbody>
      </Table>
    </Table.ScrollContainer>
  );
}
