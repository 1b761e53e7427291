import { useCallback, useEffect, useRef, useState } from "react";

export type RecorderState =
  | { phase: "idle" }
  | { phase: "recording"; since: number }
  | { phase: "refused"; message: string };

/** Browsers give the microphone only to secure pages: HTTPS, or this very machine. */
export const canRecord = (): boolean =>
  window.isSecureContext && "mediaDevices" in navigator && "MediaRecorder" in window;

export function useRecorder(onFile: (file: File) => void) {
  const [state, setState] = useState<RecorderState>({ phase: "idle" });
  const recorder = useRef<MediaRecorder | null>(null);

  const start = useCallback(async () => {
    try {
      const stream = await navigator.mediaDevices.getUserMedia({ audio: true });
      const made = new MediaRecorder(stream);
      const pieces: Blob[] = [];
      made.ondataavailable = ({ data }) => pieces.push(data);
      made.onstop = () => {
        for (const track of stream.getTracks()) track.stop();
        setState({ phase: "idle" });
        const type = made.mimeType || "audio/webm";
        const suffix = /mp4/.test(type) ? "m4a" : /ogg/.test(type) ? "ogg" : "webm";
        onFile(new File(pieces, `recording.${suffix}`, { type }));
      };
      made.start();
      recorder.current = made;
      setState({ phase: "recording", since: Date.now() / 1000 });
    } catch (error) {
      setState({
        phase: "refused",
        message: error instanceof Error ? error.message : String(error),
      });
    }
  }, [onFile]);

  const stop = useCallback(
    () => recorder.current?.state === "recording" && recorder.current.stop(),
    [],
  );
  useEffect(() => () => void stop(), [stop]);
  return { state, start, stop };
}
