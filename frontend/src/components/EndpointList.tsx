import { Group, Text } from "@mantine/core";
import { useText } from "../i18n";
import type { Endpoint } from "../lib/endpoints";
import { CopyButton } from "./CopyButton";

/** Addresses to copy, and what they do. */
export function EndpointList({ endpoints }: { endpoints: Endpoint[] }) {
  const { t } = useText();
  return (
    <ul className="endpoints">
      {endpoints.map(({ method, path, what }) => {
        const url = window.location.origin + path;
        return (
          <li key={path}>
            <span className="tag">{method}</span>
            <div style={{ flex: 1, minWidth: 0 }}>
              <Group gap={4} wrap="nowrap" justify="space-between">
                <code className="mono break">{url}</code>
                <CopyButton value={url} what={path} />
              </Group>
              <Text size="xs" c="dimmed">
                {t(`reference.endpoint.${what}`)}
              </Text>
            </div>
          </li>
        );
      })}
    </ul>
  );
}
