export interface Part {
  name: string;
  value: number;
  colour: string;
}

interface Props {
  parts: Part[];
  total: number;
  label: string;
}

/** A bar of several parts out of a total. */
export function Meter({ parts, total, label }: Props) {
  const used = parts.reduce((sum, part) => sum + part.value, 0);
  return (
    <div
      className="meter"
      role="meter"
      aria-label={label}
      aria-valuemin={0}
      aria-valuemax={100}
      aria-valuenow={total > 0 ? Math.round((used / total) * 100) : 0}
    >
      {parts.map((part) => (
        <span
          key={part.name}
          title={part.name}
          style={{ width: `${(part.value / total) * 100}%`, background: part.colour }}
        />
      ))}
    </div>
  );
}
