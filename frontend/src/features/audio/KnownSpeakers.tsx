import { ActionIcon, Button, FileInput, Group, Text, TextInput } from "@mantine/core";
import { useState } from "react";
import type { KnownSpeaker } from "../../api/audio";
import { Icon } from "../../components/Icon";
import { useText } from "../../i18n";
import { readDataUrl } from "../../lib/files";

interface Props {
  known: KnownSpeaker[];
  onChange: (known: KnownSpeaker[]) => void;
}

export function KnownSpeakers({ known, onChange }: Props) {
  const { t } = useText();
  const [name, setName] = useState("");
  const [sample, setSample] = useState<File | null>(null);
  const add = async () => {
    if (!sample) return;
    onChange([...known, { name: name.trim(), sample: await readDataUrl(sample) }]);
    setName("");
    setSample(null);
  };
  const taken = known.some((one) => one.name.toLowerCase() === name.trim().toLowerCase());
  return (
    <div>
      <Text size="sm" fw={500}>
        {t("audio.known.title")}
      </Text>
      <Text size="xs" c="dimmed" mb={6}>
        {t("audio.known.hint")}
      </Text>
      {known.map((speaker) => (
        <Group key={speaker.name} justify="space-between" gap="xs" mb={4}>
          <Text size="sm">{speaker.name}</Text>
          <ActionIcon
            variant="subtle"
            color="gray"
            c="var(--mantine-color-dimmed)"
            aria-label={t("audio.known.remove", { name: speaker.name })}
            onClick={() => onChange(known.filter((one) => one !== speaker))}
          >
            <Icon name="close" size={14} />
          </ActionIcon>
        </Group>
      ))}
      <Group gap="xs" align="flex-end" wrap="nowrap">
        <TextInput
          size="xs"
          label={t("audio.known.name")}
          value={name}
          onChange={(event) => setName(event.currentTarget.value)}
          style={{ flex: 1 }}
        />
        <FileInput
          size="xs"
          label={t("audio.known.sample")}
          accept="audio/*"
          placeholder={t("audio.known.choose")}
          value={sample}
          onChange={setSample}
          style={{ flex: 1.4, minWidth: 0 }}
        />
        <Button
          size="xs"
          variant="default"
          onClick={() => void add()}
          disabled={!name.trim() || taken || !sample}
        >
          {t("audio.known.add")}
        </Button>
      </Group>
    </div>
  );
}
