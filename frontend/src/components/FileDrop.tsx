import { type DragEvent, useId, useState } from "react";
import { Icon } from "./Icon";

interface Props {
  accept: string;
  label: string;
  hint: string;
  action: string;
  onFile: (file: File) => void;
}

/** A place to drop a file, and a file input under it for everybody who does not drop. */
export function FileDrop({ accept, label, hint, action, onFile }: Props) {
  const id = useId();
  const [over, setOver] = useState(false);
  const take = (files: FileList | null) => {
    const file = files?.[0];
    if (file) onFile(file);
  };
  const onDrop = (event: DragEvent) => {
    event.preventDefault();
    setOver(false);
    take(event.dataTransfer.files);
  };
  return (
    <label
      className="drop"
      htmlFor={id}
      data-over={over}
      onDragOver={(event) => {
        event.preventDefault();
        setOver(true);
      }}
      onDragLeave={() => setOver(false)}
      onDrop={onDrop}
    >
      <span className="empty-icon">
        <Icon name="upload" size={26} />
      </span>
      <span className="drop-label break">{label}</span>
      <span className="drop-action">{action}</span>
      <span className="drop-hint">{hint}</span>
      <input
        id={id}
        type="file"
        accept={accept}
        className="visually-hidden"
        onChange={(event) => {
          take(event.currentTarget.files);
          event.currentTarget.value = "";
        }}
      />
    </label>
  );
}
