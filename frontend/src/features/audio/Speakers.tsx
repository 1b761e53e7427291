import { ActionIcon, Card, Group, Stack, Text, TextInput, Title, Tooltip } from "@mantine/core";
import { Icon } from "../../components/Icon";
import { useText } from "../../i18n";
import { duration, percent } from "../../lib/format";
import { colourOf } from "../../lib/gpu";

interface Props {
  speakers: { id: string; seconds: number }[];
  names: Record<string, string>;
  solo: ReadonlySet<string>;
  onRename: (id: string, name: string) => void;
  onSolo: (solo: ReadonlySet<string>) => void;
}

export function Speakers({ speakers, names, solo, onRename, onSolo }: Props) {
  const { t, language } = useText();
  const total = speakers.reduce((sum, { seconds }) => sum + seconds, 0) || 1;
  const toggle = (id: string) => {
    const next = new Set(solo);
    if (!next.delete(id)) next.add(id);
    onSolo(next);
  };
  return (
    <Card component="section" aria-labelledby="who" padding="md">
      <Title order={2} size="h5" id="who" mb="sm">
        {t("audio.who.title")}
      </Title>
      <Stack gap="sm">
        {speakers.map(({ id, seconds }, lane) => {
          const on = solo.has(id);
          const label = t(on ? "audio.who.unsolo" : "audio.who.solo", { name: names[id] || id });
          return (
            <Group key={id} gap="xs" wrap="nowrap" align="flex-start">
              <i className="swatch big" style={{ background: colourOf(lane) }} />
              <div style={{ flex: 1, minWidth: 0 }}>
                <TextInput
                  size="xs"
                  aria-label={t("audio.who.rename", { name: id })}
                  placeholder={id}
                  value={names[id] ?? ""}
                  onChange={(event) => onRename(id, event.currentTarget.value)}
                />
                <Text size="xs" c="dimmed" mt={2}>
                  {t("audio.who.share", {
                    time: duration(seconds, language),
                    percent: percent((seconds / total) * 100, language),
                  })}
                </Text>
              </div>
              <Tooltip label={label}>
                <ActionIcon
                  size={30}
                  variant={on ? "filled" : "default"}
                  aria-label={label}
                  aria-pressed={on}
                  onClick={() => toggle(id)}
                >
                  <Icon name="ear" size={16} />
                </ActionIcon>
              </Tooltip>
            </Group>
          );
        })}
      </Stack>
    </Card>
  );
}
