import { Text, Title } from "@mantine/core";
import type { ReactNode } from "react";
import { Icon, type IconName } from "./Icon";

interface Props {
  icon: IconName;
  title: string;
  /** Why it is empty. */
  body: ReactNode;
  /** What to do about it. */
  children?: ReactNode;
  /** In a line, where emptiness is nothing that deserves the room. */
  compact?: boolean;
}

export function EmptyState({ icon, title, body, children, compact }: Props) {
  return (
    <div className={compact ? "empty empty-line" : "empty"}>
      <span className="empty-icon">
        <Icon name={icon} size={compact ? 20 : 28} />
      </span>
      <div className="empty-text">
        <Title order={compact ? 3 : 2} size={compact ? "h6" : "h4"}>
          {title}
        </Title>
        <Text c="dimmed" component="div" size={compact ? "sm" : "md"}>
          {body}
        </Text>
        {children}
      </div>
    </div>
  );
}
