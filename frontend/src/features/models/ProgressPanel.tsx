import { Group, Text } from "@mantine/core";
import type { Model, Phase } from "../../api/types";
import { Elapsed } from "../../components/Elapsed";
import { Icon } from "../../components/Icon";
import { ProgressBar } from "../../components/ProgressBar";
import { useText } from "../../i18n";
import { bytes, duration, number, percent, wholeSeconds } from "../../lib/format";

/** Only vLLM compiles. */
const LOADING: Record<Model["kind"], Phase[]> = {
  chat: ["queued", "starting", "weights", "compiling", "warm-up"],
  embedding: ["queued", "starting", "weights", "compiling", "warm-up"],
  asr: ["queued", "starting", "weights", "warm-up"],
  diarization: ["queued", "starting", "weights", "warm-up"],
};
const FETCHING: Phase[] = ["queued", "downloading"];

/** Phase, elapsed and usual time; a percentage only where something is counted. */
export function ProgressPanel({ model }: { model: Model }) {
  const { t, language } = useText();
  const progress = model.runtime.progress;
  const phase = progress?.phase ?? (model.state === "downloading" ? "downloading" : "queued");
  const replica = model.replicas.find((one) => one.loading_since !== null);
  const since =
    model.state === "loading" ? (replica?.loading_since ?? beganAt(model)) : beganAt(model);
  const fetching = phase === "downloading";
  const counted = progress?.percent ?? null;

  const amounts: string[] = [];
  if (progress?.done != null && progress.total != null)
    amounts.push(
      fetching
        ? `${bytes(progress.done, language)} / ${bytes(progress.total, language)}`
        : `${number(progress.done, language)} / ${number(progress.total, language)}`,
    );
  if (counted !== null) amounts.push(percent(counted, language, 1));
  if (progress?.rate) amounts.push(t("models.rate", { rate: bytes(progress.rate, language) }));
  if (progress?.eta != null)
    amounts.push(t("models.left", { time: wholeSeconds(Math.max(1, progress.eta), language) }));

  return (
    <div className="progress-panel" data-testid="progress">
      <Phases phases={fetching ? FETCHING : LOADING[model.kind]} current={phase} />
      <ProgressBar percent={counted} label={t(`models.phase.${phase}`)} />
      <Group justify="space-between" gap="xs">
        <Text size="sm">
          <b>{t(`models.phase.${phase}`)}</b>
          {amounts.length > 0 && ` · ${amounts.join(" · ")}`}
        </Text>
        <Text size="sm" c="dimmed">
          {since !== null && (
            <>
              <Elapsed since={since} /> {t("models.elapsed")}
              {!fetching && " · "}
            </>
          )}
          {!fetching &&
            (model.load_seconds === null
              ? t("models.firstTime")
              : t("models.usual", { time: duration(model.load_seconds, language) }))}
        </Text>
      </Group>
      {progress?.detail && (
        <Text size="xs" c="dimmed" className="mono break" mt={4} lineClamp={2}>
          {progress.detail}
        </Text>
      )}
    </div>
  );
}

/** When the last download or load began, from the timeline. */
function beganAt(model: Model): number | null {
  const started = model.runtime.timeline.findLast(({ action }) =>
    /^(loading|load|download)/.test(action),
  );
  return started?.at ?? null;
}

function Phases({ phases, current }: { phases: Phase[]; current: Phase }) {
  const { t } = useText();
  // A download ends with files, not with an engine that is ready.
  const all = phases.includes("downloading") ? phases : ([...phases, "ready"] as const);
  const at = all.indexOf(current);
  return (
    <ol className="phases" aria-label={t("models.phases")}>
      {all.map((phase, index) => (
        <li
          key={phase}
          data-done={index < at}
          aria-current={phase === current ? "step" : undefined}
        >
          {index < at && <Icon name="check" size={13} />}
          {t(`models.phase.${phase}`)}
        </li>
      ))}
    </ol>
  );
}
