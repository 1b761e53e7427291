import { Button, Card, Group, Title } from "@mantine/core";
import { Icon } from "../../components/Icon";
import { useText } from "../../i18n";
import { saveFile } from "../../lib/download";
import type { Transcript } from "../../lib/transcript";
import { type NameOf, toJson, toRttm, toSrt, toText, toVtt } from "../../lib/transcript-files";

interface Props {
  stem: string;
  transcript: Transcript;
  nameOf: NameOf;
}

export function Downloads({ stem, transcript, nameOf }: Props) {
  const { t } = useText();
  const { segments, duration } = transcript;
  const diarized = segments.some(({ speaker }) => speaker !== null);
  const files: [string, string, () => string][] = [
    ["json", "application/json", () => toJson(segments, nameOf, duration)],
    ["srt", "text/plain", () => toSrt(segments, nameOf)],
    ["vtt", "text/vtt", () => toVtt(segments, nameOf)],
    ["txt", "text/plain", () => toText(segments, nameOf)],
  ];
  if (diarized) files.push(["rttm", "text/plain", () => toRttm(segments, nameOf, stem)]);
  return (
    <Card component="section" aria-labelledby="downloads" padding="md">
      <Title order={2} size="h5" id="downloads" mb="sm">
        {t("audio.result.downloads")}
      </Title>
      <Group gap="xs">
        {files.map(([suffix, type, make]) => (
          <Button
            key={suffix}
            size="xs"
            variant="default"
            leftSection={<Icon name="download" size={14} />}
            onClick={() => saveFile(`${stem}.${suffix}`, make(), type)}
          >
            {suffix.toUpperCase()}
          </Button>
        ))}
      </Group>
    </Card>
  );
}
