import { ActionIcon, Card, Group, SegmentedControl, Text, Tooltip } from "@mantine/core";
import { type RefObject, useEffect, useRef, useState } from "react";
import { Icon } from "../../components/Icon";
import { useText } from "../../i18n";
import { clock as clockText } from "../../lib/format";
import type { Transcript } from "../../lib/transcript";
import type { Clock } from "./clock";
import { usePeaks } from "./usePeaks";
import { Waveform } from "./Waveform";

interface Props {
  audio: RefObject<HTMLAudioElement | null>;
  clock: Clock;
  file: File;
  transcript: Transcript;
  speakers: { id: string }[];
  nameOf: (id: string) => string;
}

const SPEEDS = ["0.75", "1", "1.25", "1.5", "2"];
const MOST_ZOOM = 256;

export function Player({ audio, clock, file, transcript, speakers, nameOf }: Props) {
  const { t, language } = useText();
  const peaks = usePeaks(file, transcript.peaks);
  const { playing, duration, broken } = useMedia(audio, transcript.duration);
  const [speed, setSpeed] = useState("1");
  const [zoom, setZoom] = useState(1);

  useEffect(() => {
    if (audio.current) audio.current.playbackRate = Number(speed);
  }, [audio, speed]);

  const play = t(playing ? "audio.player.pause" : "audio.player.play");
  return (
    <Card padding="md" data-testid="player">
      <Waveform
        peaks={peaks}
        segments={transcript.segments}
        speakers={speakers}
        nameOf={nameOf}
        duration={duration}
        zoom={zoom}
        onZoom={(factor) => setZoom((old) => Math.min(MOST_ZOOM, Math.max(1, old * factor)))}
        clock={clock}
      />
      <Group justify="space-between" mt="sm" gap="sm">
        <Group gap="sm">
          <ActionIcon
            size={42}
            radius="xl"
            onClick={clock.toggle}
            aria-label={play}
            disabled={broken}
          >
            <Icon name={playing ? "pause" : "play"} />
          </ActionIcon>
          <Text className="mono" size="sm">
            <Time clock={clock} /> / {clockText(duration)}
          </Text>
        </Group>
        <Group gap="sm">
          <SegmentedControl
            size="xs"
            aria-label={t("audio.player.speed")}
            value={speed}
            onChange={setSpeed}
            data={SPEEDS.map((value) => ({
              value,
              label: `${Intl.NumberFormat(language).format(Number(value))}×`,
            }))}
          />
          <Group gap={4}>
            <ZoomButton
              label={t("audio.player.zoomOut")}
              sign="−"
              onClick={() => setZoom((old) => Math.max(1, old / 2))}
            />
            <ZoomButton label={t("audio.player.whole")} sign="1:1" onClick={() => setZoom(1)} />
            <ZoomButton
              label={t("audio.player.zoomIn")}
              sign="+"
              onClick={() => setZoom((old) => Math.min(MOST_ZOOM, old * 2))}
            />
          </Group>
        </Group>
      </Group>
      {broken && (
        <Text size="sm" c="dimmed" mt="xs" role="status">
          {t("audio.player.cannotPlay")}
        </Text>
      )}
      {!peaks && (
        <Text size="xs" c="dimmed" mt="xs">
          {t("audio.player.noOutline")}
        </Text>
      )}
    </Card>
  );
}

function ZoomButton({
  label,
  sign,
  onClick,
}: {
  label: string;
  sign: string;
  onClick: () => void;
}) {
  return (
    <Tooltip label={label}>
      <ActionIcon variant="default" size={32} onClick={onClick} aria-label={label}>
        <span aria-hidden="true" style={{ fontSize: 12, fontWeight: 700 }}>
          {sign}
        </span>
      </ActionIcon>
    </Tooltip>
  );
}

/** Written straight into the page. */
function Time({ clock }: { clock: Clock }) {
  const text = useRef<HTMLSpanElement>(null);
  useEffect(
    () =>
      clock.subscribe((time) => {
        if (text.current) text.current.textContent = clockText(time, true);
      }),
    [clock],
  );
  return <span ref={text} data-testid="time" />;
}

function useMedia(audio: RefObject<HTMLAudioElement | null>, known: number) {
  const [playing, setPlaying] = useState(false);
  const [measured, setMeasured] = useState(0);
  const [broken, setBroken] = useState(false);
  useEffect(() => {
    const element = audio.current;
    if (!element) return;
    const look = () => {
      setPlaying(!element.paused);
      setBroken(element.error !== null);
      if (Number.isFinite(element.duration)) setMeasured(element.duration);
    };
    const events = ["play", "pause", "ended", "error", "durationchange", "loadedmetadata"];
    for (const name of events) element.addEventListener(name, look);
    return () => {
      for (const name of events) element.removeEventListener(name, look);
    };
  }, [audio]);
  return { playing, duration: measured || known || 1, broken };
}
