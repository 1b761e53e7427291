import { ActionIcon, Button, Group, Textarea, Tooltip } from "@mantine/core";
import {
  type ClipboardEvent,
  type DragEvent,
  type KeyboardEvent,
  useEffect,
  useRef,
  useState,
} from "react";
import { Icon } from "../../components/Icon";
import { useNotify } from "../../components/notify";
import { useText } from "../../i18n";
import { readDataUrl } from "../../lib/files";
import { bytes } from "../../lib/format";
import { type Draft, MOST_IMAGE_BYTES } from "./draft";

interface Props {
  draft: Draft;
  onDraft: (update: (old: Draft) => Draft) => void;
  busy: boolean;
  onSend: () => void;
  onStop: () => void;
}

export function Composer({ draft, onDraft, busy, onSend, onStop }: Props) {
  const { t, language } = useText();
  const notify = useNotify();
  const picker = useRef<HTMLInputElement>(null);
  const [over, setOver] = useState(false);

  useEffect(() => {
    if (!busy) return;
    const onKey = (event: globalThis.KeyboardEvent) => {
      if (event.key === "Escape") onStop();
    };
    window.addEventListener("keydown", onKey);
    return () => window.removeEventListener("keydown", onKey);
  }, [busy, onStop]);

  const add = async (files: Iterable<File>) => {
    for (const file of files) {
      const complaint = !file.type.startsWith("image/")
        ? t("playground.notAnImage", { name: file.name })
        : file.size > MOST_IMAGE_BYTES
          ? t("playground.tooLarge", { name: file.name, limit: bytes(MOST_IMAGE_BYTES, language) })
          : null;
      if (complaint) {
        notify({ message: complaint, bad: true });
        continue;
      }
      const url = await readDataUrl(file);
      onDraft((old) => ({ ...old, images: [...old.images, url] }));
    }
  };
  const onPaste = (event: ClipboardEvent) => {
    const files = [...event.clipboardData.files];
    if (files.length === 0) return;
    event.preventDefault();
    void add(files);
  };
  const onDrop = (event: DragEvent) => {
    event.preventDefault();
    setOver(false);
    void add(event.dataTransfer.files);
  };
  const onKeyDown = (event: KeyboardEvent) => {
    if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) {
      event.preventDefault();
      onSend();
    }
  };

  return (
    // biome-ignore lint/a11y/noStaticElementInteractions: dropping is a shortcut for the button.
    <div
      className="composer"
      data-over={over}
      onDragOver={(event) => {
        event.preventDefault();
        setOver(true);
      }}
      onDragLeave={() => setOver(false)}
      onDrop={onDrop}
    >
      {draft.images.length > 0 && (
        <Group gap="xs" mb="xs">
          {draft.images.map((url, index) => (
            <div key={`${index}-${url.length}`} className="thumb">
              <img src={url} alt={t("playground.image", { index: index + 1 })} />
              <button
                type="button"
                aria-label={t("playground.removeImage", { index: index + 1 })}
                onClick={() =>
                  onDraft((old) => ({ ...old, images: old.images.filter((_, at) => at !== index) }))
                }
              >
                <Icon name="close" size={12} />
              </button>
            </div>
          ))}
        </Group>
      )}
      <Textarea
        aria-label={t("playground.message")}
        placeholder={over ? t("playground.dropHere") : t("playground.placeholder")}
        autosize
        minRows={2}
        maxRows={10}
        value={draft.text}
        onChange={(event) => {
          const text = event.currentTarget.value;
          onDraft((old) => ({ ...old, text }));
        }}
        onPaste={onPaste}
        onKeyDown={onKeyDown}
        variant="unstyled"
      />
      <Group justify="space-between">
        <Tooltip label={t("playground.attach")}>
          <ActionIcon
            size={34}
            variant="subtle"
            color="gray"
            c="var(--mantine-color-text)"
            aria-label={t("playground.attach")}
            onClick={() => picker.current?.click()}
          >
            <Icon name="image" />
          </ActionIcon>
        </Tooltip>
        <input
          ref={picker}
          type="file"
          accept="image/*"
          multiple
          hidden
          onChange={(event) => {
            void add([...(event.currentTarget.files ?? [])]);
            event.currentTarget.value = "";
          }}
        />
        {busy ? (
          <Button variant="default" leftSection={<Icon name="stop" size={16} />} onClick={onStop}>
            {t("playground.stop")}
          </Button>
        ) : (
          <Button
            leftSection={<Icon name="send" size={16} />}
            onClick={onSend}
            disabled={!draft.text.trim() && draft.images.length === 0}
          >
            {t("playground.send")}
          </Button>
        )}
      </Group>
    </div>
  );
}
