interface Props {
  /** From 0 to 100; null where nothing is counted. */
  percent: number | null;
  label: string;
}

/** How far something is, or only that it goes on. */
export function ProgressBar({ percent, label }: Props) {
  return (
    <div
      className="progress"
      role="progressbar"
      aria-label={label}
      aria-valuemin={0}
      aria-valuemax={100}
      aria-valuenow={percent ?? undefined}
    >
      <span data-counted={percent !== null} style={{ width: `${percent ?? 100}%` }} />
    </div>
  );
}
