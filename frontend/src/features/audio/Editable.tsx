import { Textarea, UnstyledButton } from "@mantine/core";
import { useState } from "react";
import { Icon } from "../../components/Icon";

interface Props {
  label: string;
  value: string;
  onChange: (value: string) => void;
}

/** Text that becomes a field when it is chosen. */
export function Editable({ label, value, onChange }: Props) {
  const [editing, setEditing] = useState(false);
  if (editing)
    return (
      <Textarea
        aria-label={label}
        autosize
        autoFocus
        value={value}
        onChange={(event) => onChange(event.currentTarget.value)}
        onBlur={() => setEditing(false)}
      />
    );
  return (
    <UnstyledButton
      className="translation"
      onClick={() => setEditing(true)}
      aria-label={`${label}: ${value}`}
    >
      <Icon name="language" size={14} />
      <span>{value}</span>
    </UnstyledButton>
  );
}
