interface Props {
  /** From 0 to `most`, oldest first; null where nothing was measured. */
  values: (number | null)[];
  most: number;
  /** So many values fill the width; fewer stand at the right, where now is. */
  slots: number;
  /** A sentence that says what can be seen. */
  label: string;
  height?: number;
}

const WIDTH = 300;

/** The last minutes as a line, with gaps where nothing was measured. */
export function Sparkline({ values, most, slots, label, height = 36 }: Props) {
  const places = Math.max(slots, values.length, 2) - 1;
  const x = (index: number) => WIDTH - ((values.length - 1 - index) / places) * WIDTH;
  const y = (value: number) => height - 2 - (Math.min(value, most) / most) * (height - 4);
  return (
    <svg
      className="spark"
      viewBox={`0 0 ${WIDTH} ${height}`}
      preserveAspectRatio="none"
      role="img"
      aria-label={label}
      style={{ height }}
    >
      {runs(values).map(({ from, run }) => {
        const points = run
          .map((value, index) => `${x(from + index).toFixed(1)},${y(value).toFixed(1)}`)
          .join(" ");
        const [left, right] = [x(from).toFixed(1), x(from + run.length - 1).toFixed(1)];
        return (
          <g key={from}>
            <polygon points={`${left},${height} ${points} ${right},${height}`} />
            <polyline points={points} vectorEffect="non-scaling-stroke" />
          </g>
        );
      })}
    </svg>
  );
}

/** Stretches without a gap, and where they begin. */
export function runs(values: (number | null)[]): { from: number; run: number[] }[] {
  const found: { from: number; run: number[] }[] = [];
  values.forEach((value, index) => {
    if (value === null) return;
    const last = found[found.length - 1];
    if (last && last.from + last.run.length === index) last.run.push(value);
    else found.push({ from: index, run: [value] });
  });
  return found;
}
