import { Group, Text } from "@mantine/core";
import { useQuery } from "@tanstack/react-query";
import { Icon } from "../../components/Icon";
import { useText } from "../../i18n";

/** Whether callers need a key, found out by asking without one. */
export function KeyHint({ denied }: { denied: boolean }) {
  const { t } = useText();
  const { data: open } = useQuery({
    queryKey: ["open"],
    queryFn: async ({ signal }) => (await fetch("/v1/models", { signal })).ok,
    staleTime: 60_000,
  });
  if (open === undefined) return null;
  const text = open ? "reference.keyOpen" : denied ? "reference.keyMissing" : "reference.keyWanted";
  return (
    <Group gap={8} mt="sm" wrap="nowrap">
      <Icon name="key" size={16} />
      <Text size="sm">{t(text)}</Text>
    </Group>
  );
}
