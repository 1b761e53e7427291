import "./audio.css";
import { Button, Skeleton, Stack } from "@mantine/core";
import type { Wanted } from "../../api/audio";
import { useKept } from "../../api/kept-state";
import { useServed } from "../../api/queries";
import { EmptyState } from "../../components/EmptyState";
import { ErrorState } from "../../components/ErrorState";
import { Icon } from "../../components/Icon";
import { Page } from "../../components/Page";
import { useText } from "../../i18n";
import type { Transcript } from "../../lib/transcript";
import { ProgressCard } from "./ProgressCard";
import { Result } from "./Result";
import { Source } from "./Source";
import { useTranscription } from "./useTranscription";

/** A transcript, and what its reader has made of it. */
export interface Finished {
  wanted: Wanted;
  transcript: Transcript;
  /** Tells it from the one before. */
  at: number;
  names: Record<string, string>;
  translations: Record<number, string>;
}

export default function AudioPage() {
  const { t } = useText();
  const served = useServed();
  const [finished, setFinished] = useKept<Finished | null>("finished", null);
  const { work, error, start, stop } = useTranscription((wanted, transcript) =>
    setFinished({ wanted, transcript, at: Date.now(), names: {}, translations: {} }),
  );
  const edit = (change: (old: Finished) => Partial<Finished>) =>
    setFinished((old) => old && { ...old, ...change(old) });
  const recognisers = served.data?.filter(({ kind }) => kind === "asr") ?? [];
  const diarizes = served.data?.some(({ kind }) => kind === "diarization") ?? false;

  const body = () => {
    if (served.error && !served.data)
      return <ErrorState error={served.error} onRetry={() => void served.refetch()} />;
    if (!served.data) return <Skeleton height={280} radius="lg" aria-busy="true" />;
    if (recognisers.length === 0)
      return <EmptyState icon="audio" title={t("audio.noModel")} body={t("audio.noModelBody")} />;
    if (work) return <ProgressCard work={work} served={served.data} onStop={stop} />;
    if (finished) return <Result key={finished.at} finished={finished} onEdit={edit} />;
    return (
      <Stack>
        {error !== null && <ErrorState error={error} />}
        <Source models={recognisers} diarizes={diarizes} onStart={start} />
      </Stack>
    );
  };

  return (
    <Page
      title={t("shell.audio")}
      hint={finished && !work ? finished.wanted.file.name : t("audio.hint")}
      actions={
        finished &&
        !work && (
          <Button
            variant="default"
            leftSection={<Icon name="upload" size={16} />}
            onClick={() => setFinished(null)}
          >
            {t("audio.chooseOther")}
          </Button>
        )
      }
    >
      {body()}
    </Page>
  );
}
