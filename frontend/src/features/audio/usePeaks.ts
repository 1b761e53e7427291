import { useEffect, useMemo, useState } from "react";
import { fromSamples, fromServer, type Peaks } from "../../lib/peaks";
import type { ServerPeaks } from "../../lib/transcript";

const COLUMNS = 4_000;
/** Decoding takes a multiple of it in memory; beyond, the line stays flat. */
const MOST_BYTES = 48 * 1024 * 1024;

/** From the gateway where it sent them, else from the recording itself. */
export function usePeaks(file: File, server: ServerPeaks | null): Peaks | null {
  const given = useMemo(() => (server ? fromServer(server) : null), [server]);
  const [decoded, setDecoded] = useState<Peaks | null>(null);
  useEffect(() => {
    if (given || file.size > MOST_BYTES) return;
    let gone = false;
    const context = new AudioContext();
    const decode = async () => {
      try {
        const buffer = await context.decodeAudioData(await file.arrayBuffer());
        if (!gone) setDecoded(fromSamples(buffer.getChannelData(0), buffer.sampleRate, COLUMNS));
      } catch {
        // A container that the browser cannot decode: the gateway could, and there is no outline.
      } finally {
        await context.close();
      }
    };
    void decode();
    return () => {
      gone = true;
    };
  }, [file, given]);
  return given ?? decoded;
}
