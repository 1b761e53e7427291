import { Button, Card, Group, Stack, Text } from "@mantine/core";
import type { Wanted } from "../../api/audio";
import { useKept } from "../../api/kept-state";
import type { ServedModel } from "../../api/types";
import { Stopwatch } from "../../components/Elapsed";
import { FileDrop } from "../../components/FileDrop";
import { Icon } from "../../components/Icon";
import { useText } from "../../i18n";
import { bytes } from "../../lib/format";
import { Options, type OptionValues } from "./Options";
import { canRecord, useRecorder } from "./useRecorder";

interface Props {
  models: ServedModel[];
  diarizes: boolean;
  onStart: (wanted: Wanted) => void;
}

const DEFAULTS: OptionValues = {
  model: "",
  translate: false,
  diarize: true,
  language: null,
  speakers: null,
  known: [],
};

export function Source({ models, diarizes, onStart }: Props) {
  const { t, language } = useText();
  // Both outlive a failure, a cancelled try and a look at another page.
  const [file, setFile] = useKept<File | null>("recording", null);
  const [kept, setOptions] = useKept("audio-options", DEFAULTS);
  const model = models.find(({ id }) => id === kept.model) ?? models[0];
  const options = { ...kept, model: model?.id ?? "", diarize: kept.diarize && diarizes };
  const start = () => {
    if (file) onStart({ ...options, file, diarize: options.diarize && !options.translate });
  };
  return (
    <div className="source">
      <Card>
        <Stack>
          <FileDrop
            accept="audio/*,video/*"
            label={file ? file.name : t("audio.drop")}
            hint={file ? bytes(file.size, language) : t("audio.formats")}
            action={t("audio.pick")}
            onFile={setFile}
          />
          <Record onFile={setFile} />
          <Button size="md" leftSection={<Icon name="audio" />} disabled={!file} onClick={start}>
            {t("audio.start")}
          </Button>
        </Stack>
      </Card>
      <Options
        values={options}
        models={models}
        diarizes={diarizes}
        onChange={(change) => setOptions((old) => ({ ...old, ...change }))}
      />
    </div>
  );
}

function Record({ onFile }: { onFile: (file: File) => void }) {
  const { t } = useText();
  const { state, start, stop } = useRecorder(onFile);
  if (!canRecord())
    return (
      <Group gap={8} wrap="nowrap" align="flex-start">
        <Icon name="mic" size={16} />
        <Text size="sm" c="dimmed">
          {t("audio.insecure")}
        </Text>
      </Group>
    );
  if (state.phase === "recording")
    return (
      <Button color="red.8" leftSection={<Icon name="stop" size={16} />} onClick={stop}>
        {t("audio.stopRecording")} · <Stopwatch since={state.since} />
      </Button>
    );
  return (
    <>
      <Button
        variant="default"
        leftSection={<Icon name="mic" size={16} />}
        onClick={() => void start()}
      >
        {t("audio.record")}
      </Button>
      {state.phase === "refused" && (
        <Text size="sm" c="var(--bad)" role="alert">
          {t("audio.refused", { message: state.message })}
        </Text>
      )}
    </>
  );
}
