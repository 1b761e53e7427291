import { Button, Group, Stack, Text, TextInput } from "@mantine/core";
import { useState } from "react";
import { useText } from "../../i18n";

interface Props {
  suggested: Record<string, string>;
  nameOf: (id: string) => string;
  onApply: (names: Record<string, string>) => void;
  onDismiss: () => void;
}

/** Names nobody has confirmed yet. */
export function Suggestions({ suggested, nameOf, onApply, onDismiss }: Props) {
  const { t } = useText();
  const [names, setNames] = useState(suggested);
  return (
    <Stack gap={6}>
      <Text size="sm" fw={600}>
        {t("audio.assist.suggested")}
      </Text>
      {Object.entries(names).map(([id, name]) => (
        <TextInput
          key={id}
          size="xs"
          label={nameOf(id)}
          value={name}
          onChange={(event) => {
            const { value } = event.currentTarget;
            setNames((old) => ({ ...old, [id]: value }));
          }}
        />
      ))}
      <Group gap="xs">
        <Button size="xs" onClick={() => onApply(names)}>
          {t("audio.assist.apply")}
        </Button>
        <Button size="xs" variant="default" onClick={onDismiss}>
          {t("audio.assist.dismiss")}
        </Button>
      </Group>
    </Stack>
  );
}
