import {
  Card,
  NumberInput,
  SegmentedControl,
  Select,
  Stack,
  Switch,
  Text,
  Title,
} from "@mantine/core";
import type { Wanted } from "../../api/audio";
import type { ServedModel } from "../../api/types";
import { useText } from "../../i18n";
import { KnownSpeakers } from "./KnownSpeakers";
import { languageName, SPOKEN } from "./languages";

export type OptionValues = Omit<Wanted, "file">;

interface Props {
  values: OptionValues;
  models: ServedModel[];
  diarizes: boolean;
  onChange: (change: Partial<OptionValues>) => void;
}

export function Options({ values, models, diarizes, onChange }: Props) {
  const { t, language } = useText();
  const apart = values.diarize && diarizes && !values.translate;
  const names = SPOKEN.map((code) => ({ value: code, label: languageName(code, language) })).sort(
    (one, other) => one.label.localeCompare(other.label, language),
  );
  return (
    <Card component="section" aria-labelledby="options">
      <Title order={2} size="h5" id="options" mb="sm">
        {t("audio.options")}
      </Title>
      <Stack gap="sm">
        <Select
          label={t("audio.model")}
          data={models.map(({ id }) => id)}
          value={values.model}
          allowDeselect={false}
          onChange={(model) => onChange({ model: model ?? "" })}
        />
        <SegmentedControl
          fullWidth
          aria-label={t("audio.task")}
          value={values.translate ? "translate" : "transcribe"}
          onChange={(task) => onChange({ translate: task === "translate" })}
          data={[
            { value: "transcribe", label: t("audio.transcribe") },
            { value: "translate", label: t("audio.translate") },
          ]}
        />
        <Select
          label={t("audio.language")}
          placeholder={t("audio.anyLanguage")}
          data={names}
          value={values.language}
          onChange={(code) => onChange({ language: code })}
          clearable
          searchable
        />
        <Switch
          label={t("audio.diarize")}
          checked={apart}
          disabled={!diarizes || values.translate}
          onChange={(event) => onChange({ diarize: event.currentTarget.checked })}
        />
        {!diarizes && (
          <Text size="xs" c="dimmed">
            {t("audio.noDiarizer")}
          </Text>
        )}
        {diarizes && values.translate && (
          <Text size="xs" c="dimmed">
            {t("audio.notTranslated")}
          </Text>
        )}
        {apart && (
          <>
            <NumberInput
              label={t("audio.speakers")}
              placeholder={t("audio.speakersAuto")}
              min={1}
              max={50}
              value={values.speakers ?? ""}
              onChange={(value) => onChange({ speakers: value === "" ? null : Number(value) })}
            />
            <KnownSpeakers known={values.known} onChange={(known) => onChange({ known })} />
          </>
        )}
      </Stack>
    </Card>
  );
}
