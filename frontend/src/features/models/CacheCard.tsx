import { ActionIcon, Card, Group, Table, Text, Title, Tooltip } from "@mantine/core";
import { useState } from "react";
import { useCache } from "../../api/hub";
import type { CachedRepository } from "../../api/types";
import { EmptyState } from "../../components/EmptyState";
import { Icon } from "../../components/Icon";
import { useText } from "../../i18n";
import { bytes } from "../../lib/format";
import { DeleteDialog } from "./DeleteDialog";

/** Absent where the gateway keeps no cache. */
export function CacheCard() {
  const { t, language } = useText();
  const { data } = useCache();
  const [deleting, setDeleting] = useState<CachedRepository | null>(null);
  if (!data) return null;
  const total = data.repos.reduce((sum, { bytes: size }) => sum + size, 0);
  return (
    <Card component="section" aria-labelledby="cache">
      <Group justify="space-between" mb="sm">
        <div style={{ minWidth: 0 }}>
          <Title order={2} size="h4" id="cache">
            {t("models.cache.title")}
          </Title>
          <Text size="sm" c="dimmed" className="break">
            {t("models.cache.hint")} · <span className="mono">{data.directory}</span>
          </Text>
        </div>
        {data.repos.length > 0 && (
          <Text size="sm">{t("models.cache.total", { size: bytes(total, language) })}</Text>
        )}
      </Group>
      {data.repos.length === 0 ? (
        <EmptyState
          compact
          icon="cloud"
          title={t("models.cache.empty")}
          body={t("models.cache.emptyBody")}
        />
      ) : (
        <Table.ScrollContainer minWidth={460} scrollAreaProps={{ viewportProps: { tabIndex: 0 } }}>
          <Table>
            <Table.Thead>
              <Table.Tr>
                <Table.Th>{t("models.cache.repo")}</Table.Th>
                <Table.Th ta="right">{t("models.cache.size")}</Table.Th>
                <Table.Th>{t("models.cache.revision")}</Table.Th>
                <Table.Th>
                  <span className="visually-hidden">{t("common.delete")}</span>
                </Table.Th>
              </Table.Tr>
            </Table.Thead>
            <Table.Tbody>
              {data.repos.map((repo) => (
                <Row key={repo.repo} repo={repo} onDelete={() => setDeleting(repo)} />
              ))}
            </Table.Tbody>
          </Table>
        </Table.ScrollContainer>
      )}
      {deleting && <DeleteDialog repo={deleting} onClose={() => setDeleting(null)} />}
    </Card>
  );
}

function Row({ repo, onDelete }: { repo: CachedRepository; onDelete: () => void }) {
  const { t, language } = useText();
  return (
    <Table.Tr>
      <Table.Td className="break">
        {repo.repo}{" "}
        {repo.used_by.map((key) => (
          <span key={key} className="tag">
            {key}
          </span>
        ))}
      </Table.Td>
      <Table.Td ta="right">{bytes(repo.bytes, language)}</Table.Td>
      <Table.Td className="mono">{repo.revision?.slice(0, 8) ?? "–"}</Table.Td>
      <Table.Td ta="right">
        {repo.in_use ? (
          <Tooltip label={t("models.cache.usedHint")}>
            <span className="tag">{t("models.cache.used")}</span>
          </Tooltip>
        ) : (
          <ActionIcon
            variant="subtle"
            color="red"
            c="var(--bad)"
            onClick={onDelete}
            aria-label={t("models.cache.delete", { repo: repo.repo })}
          >
            <Icon name="trash" size={16} />
          </ActionIcon>
        )}
      </Table.Td>
    </Table.Tr>
  );
}
