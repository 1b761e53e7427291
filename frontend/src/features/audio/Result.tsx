import { Alert, Card, Group, Stack, Tabs, Text, Title } from "@mantine/core";
import { useCallback, useEffect, useMemo, useRef, useState } from "react";
import { formOf } from "../../api/audio";
import { CodeTabs, CodeWell } from "../../components/Code";
import { EmptyState } from "../../components/EmptyState";
import { Icon } from "../../components/Icon";
import { useText } from "../../i18n";
import { formSnippets, targetOf } from "../../lib/snippets";
import { nextHeard, speakersOf } from "../../lib/transcript";
import { Assist } from "./Assist";
import type { Finished } from "./AudioPage";
import { useClock } from "./clock";
import { Downloads } from "./Downloads";
import { languageName } from "./languages";
import { Player } from "./Player";
import { Speakers } from "./Speakers";
import { TranscriptView } from "./TranscriptView";
import { usePlayerKeys } from "./usePlayerKeys";

interface Props {
  finished: Finished;
  onEdit: (change: (old: Finished) => Partial<Finished>) => void;
}

export function Result({ finished, onEdit }: Props) {
  const { wanted, transcript, names, translations } = finished;
  const { t, language } = useText();
  const audio = useRef<HTMLAudioElement>(null);
  const clock = useClock(audio);
  const url = useObjectUrl(wanted.file);
  const rename = (more: Finished["names"]) =>
    onEdit((old) => ({ names: { ...old.names, ...more } }));
  const translate = (more: Finished["translations"]) =>
    onEdit((old) => ({ translations: { ...old.translations, ...more } }));
  const [solo, setSolo] = useState<ReadonlySet<string>>(new Set());
  const { segments } = transcript;
  const speakers = useMemo(() => speakersOf(segments), [segments]);
  const nameOf = useCallback((id: string) => names[id]?.trim() || id, [names]);
  useSolo(audio, segments, solo);
  usePlayerKeys(clock);

  return (
    <Stack gap="lg">
      {transcript.warnings.length > 0 && (
        <Alert
          variant="outline"
          color="orange"
          icon={<Icon name="info" />}
          title={t("audio.result.warnings")}
        >
          {transcript.warnings.map(({ code, message }) => (
            <Text key={code} size="sm">
              {message}
            </Text>
          ))}
        </Alert>
      )}
      {/* biome-ignore lint/a11y/useMediaCaption: the transcript stands beside it. */}
      <audio ref={audio} src={url} preload="auto" />
      <Player
        audio={audio}
        clock={clock}
        file={wanted.file}
        transcript={transcript}
        speakers={speakers}
        nameOf={nameOf}
      />
      <div className="result">
        <Card component="section" aria-labelledby="transcript" padding="md">
          <Group justify="space-between" mb="sm">
            <Title order={2} size="h4" id="transcript">
              {t("audio.result.transcript")}
            </Title>
            {transcript.language && (
              <Text size="sm" c="dimmed">
                {t("audio.result.language", { name: shownLanguage(transcript.language, language) })}
              </Text>
            )}
          </Group>
          {segments.length === 0 ? (
            <EmptyState
              compact
              icon="audio"
              title={t("audio.result.empty")}
              body={t("audio.result.emptyBody")}
            />
          ) : (
            <TranscriptView
              segments={segments}
              speakers={speakers}
              nameOf={nameOf}
              clock={clock}
              solo={solo}
              translations={translations}
              onTranslation={(index, text) => translate({ [index]: text })}
            />
          )}
        </Card>
        <Stack gap="lg" miw={0}>
          {speakers.length > 0 && (
            <Speakers
              speakers={speakers}
              names={names}
              solo={solo}
              onRename={(id, name) => rename({ [id]: name })}
              onSolo={setSolo}
            />
          )}
          <Downloads
            stem={wanted.file.name.replace(/\.[^.]+$/, "")}
            transcript={transcript}
            nameOf={nameOf}
          />
          {segments.length > 0 && (
            <Assist
              segments={segments}
              speakers={speakers}
              nameOf={nameOf}
              onNames={rename}
              onTranslations={translate}
            />
          )}
        </Stack>
      </div>
      <Raw wanted={wanted} transcript={transcript} />
    </Stack>
  );
}

function Raw({ wanted, transcript }: Pick<Finished, "wanted" | "transcript">) {
  const { t } = useText();
  const full = useMemo(() => readable(transcript.raw), [transcript]);
  const shown = full.length > 60_000 ? `${full.slice(0, 60_000)}\n…` : full;
  const snippets = useMemo(() => {
    const { path, fields } = formOf(wanted);
    const short = fields.map(([name, value]): [string, string] => [
      name,
      value.length > 120 ? `${value.slice(0, 60)}…` : value,
    ]);
    return formSnippets(
      { path, file: wanted.file.name, fields: short },
      targetOf(window.location.origin),
    );
  }, [wanted]);
  return (
    <Card padding="md">
      <Tabs defaultValue="raw" keepMounted={false}>
        <Tabs.List mb="sm">
          <Tabs.Tab value="raw">{t("audio.result.raw")}</Tabs.Tab>
          <Tabs.Tab value="code">{t("audio.result.code")}</Tabs.Tab>
        </Tabs.List>
        <Tabs.Panel value="raw">
          <CodeWell text={shown} full={full} label={t("audio.result.raw")} maxHeight={320} />
        </Tabs.Panel>
        <Tabs.Panel value="code">
          <CodeTabs
            snippets={[
              { name: "curl", code: snippets.curl },
              { name: "Python", code: snippets.python },
              { name: "JavaScript", code: snippets.javascript },
            ]}
          />
        </Tabs.Panel>
      </Tabs>
    </Card>
  );
}

/** Indented, but a row of numbers stays a row. */
function readable(raw: unknown): string {
  return JSON.stringify(raw, null, 2).replace(/\[\s+(-?[\d.]+,\s+)+-?[\d.]+\s+\]/g, (row) =>
    row.replace(/\s+/g, " "),
  );
}

function shownLanguage(code: string, inLanguage: string): string {
  return /^[a-z]{2,3}$/.test(code) ? languageName(code, inLanguage) : code;
}

function useObjectUrl(file: File): string | undefined {
  const [url, setUrl] = useState<string>();
  useEffect(() => {
    const made = URL.createObjectURL(file);
    setUrl(made);
    return () => URL.revokeObjectURL(made);
  }, [file]);
  return url;
}

/** Skips what the chosen speakers do not say. */
function useSolo(
  audio: React.RefObject<HTMLAudioElement | null>,
  segments: Finished["transcript"]["segments"],
  solo: ReadonlySet<string>,
): void {
  useEffect(() => {
    const element = audio.current;
    if (!element || solo.size === 0) return;
    const skip = () => {
      if (element.paused) return;
      const next = nextHeard(segments, new Set(solo), element.currentTime);
      if (next === null) element.pause();
      else if (next > element.currentTime) element.currentTime = next;
    };
    element.addEventListener("timeupdate", skip);
    return () => element.removeEventListener("timeupdate", skip);
  }, [audio, segments, solo]);
}
