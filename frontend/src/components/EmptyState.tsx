import { Stack, Text, Title } from "@mantine/core";
import type { ReactNode } from "react";
import { Icon, type IconName } from "./Icon";

interface Props {
  icon: IconName;
  title: string;
  /** Why it is empty. */
  body: ReactNode;
  /** What to do about it. */
  children?: ReactNode;
  compact?: boolean;
}

export function EmptyState({ icon, title, body, children, compact }: Props) {
  return (
    <Stack align="center" gap="xs" py={compact ? "md" : 48} px="md" ta="center">
      <span className="empty-icon">
        <Icon name={icon} size={compact ? 22 : 28} />
      </span>
      <Title order={2} size={compact ? "h5" : "h4"}>
        {title}
      </Title>
      <Text c="dimmed" maw={560} component="div" size={compact ? "sm" : "md"}>
        {body}
      </Text>
      {children}
    </Stack>
  );
}
