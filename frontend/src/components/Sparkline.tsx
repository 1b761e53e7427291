interface Props {
  /** From 0 to `most`; null where nothing was measured. */
  values: (number | null)[];
  most: number;
  /** A sentence that says what can be seen. */
  label: string;
  height?: number;
}

const WIDTH = 300;

/** The last minutes as a line. */
export function Sparkline({ values, most, label, height = 36 }: Props) {
  const step = WIDTH / Math.max(1, values.length - 1);
  const points = values
    .map((value, index) =>
      value === null
        ? null
        : `${(index * step).toFixed(1)},${(height - 2 - (Math.min(value, most) / most) * (height - 4)).toFixed(1)}`,
    )
    .filter((point) => point !== null);
  return (
    <svg
      className="spark"
      viewBox={`0 0 ${WIDTH} ${height}`}
      preserveAspectRatio="none"
      role="img"
      aria-label={label}
      style={{ height }}
    >
      {points.length > 1 && (
        <>
          <polygon points={`0,${height} ${points.join(" ")} ${WIDTH},${height}`} />
          <polyline points={points.join(" ")} vectorEffect="non-scaling-stroke" />
        </>
      )}
    </svg>
  );
}
