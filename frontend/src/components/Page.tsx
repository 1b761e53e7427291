import { Group, Text, Title } from "@mantine/core";
import type { ReactNode } from "react";

interface Props {
  title: string;
  hint?: string;
  actions?: ReactNode;
  children: ReactNode;
}

export function Page({ title, hint, actions, children }: Props) {
  return (
    <div className="page">
      <Group justify="space-between" align="flex-end" mb="lg" gap="sm">
        <div>
          <Title order={1} size="h2">
            {title}
          </Title>
          {hint && (
            <Text c="dimmed" size="sm" mt={2}>
              {hint}
            </Text>
          )}
        </div>
        {actions}
      </Group>
      {children}
    </div>
  );
}
