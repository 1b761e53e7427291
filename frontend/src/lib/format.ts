/** Numbers and times in the reader's language. Pure: the language is an argument. */

const UNITS = ["byte", "kilobyte", "megabyte", "gigabyte", "terabyte"] as const;
const SHORT = { en: ["B", "kB", "MB", "GB", "TB"], fr: ["o", "ko", "Mo", "Go", "To"] } as const;

const short = (language: string) => (language === "fr" ? SHORT.fr : SHORT.en);

/** Powers of 1024, as memory is sold and as nvidia-smi counts. */
export function bytes(value: number, language: string): string {
  let power = 0;
  let left = value;
  while (left >= 1024 && power < UNITS.length - 1) {
    left /= 1024;
    power += 1;
  }
  const digits = power === 0 || left >= 100 ? 0 : 1;
  return `${number(left, language, digits)} ${short(language)[power]}`;
}

export function number(value: number, language: string, digits = 0): string {
  return new Intl.NumberFormat(language, {
    minimumFractionDigits: digits,
    maximumFractionDigits: digits,
  }).format(value);
}

/** `value` from 0 to 100. */
export function percent(value: number, language: string, digits = 0): string {
  return new Intl.NumberFormat(language, {
    style: "percent",
    maximumFractionDigits: digits,
  }).format(value / 100);
}

/** 0.412 → 412 ms, 3.24 → 3.2 s, 75 → 1 min 15 s, 7260 → 2 h 1 min. */
export function duration(seconds: number, language: string): string {
  if (seconds < 0.9995) return `${number(seconds * 1000, language)} ms`;
  if (seconds < 9.95) return `${number(seconds, language, 1)} s`;
  const whole = Math.round(seconds);
  if (whole < 60) return `${whole} s`;
  if (whole < 3600) return `${Math.floor(whole / 60)} min ${whole % 60} s`;
  return `${Math.floor(whole / 3600)} h ${Math.floor((whole % 3600) / 60)} min`;
}

/** A time that is still running: 3.24 → 3 s, 75 → 1 min 15 s. */
export function wholeSeconds(seconds: number, language: string): string {
  const whole = Math.max(0, Math.floor(seconds));
  return whole < 10 ? `${whole} s` : duration(whole, language);
}

/** 75.34 → 1:15, 3661 → 1:01:01; with tenths 1:15.3. */
export function clock(seconds: number, tenths = false): string {
  const total = tenths ? Math.floor(seconds * 10) / 10 : Math.floor(seconds);
  const hours = Math.floor(total / 3600);
  const minutes = Math.floor((total % 3600) / 60);
  const rest = total % 60;
  const tail = tenths ? rest.toFixed(1).padStart(4, "0") : String(rest).padStart(2, "0");
  return hours > 0 ? `${hours}:${String(minutes).padStart(2, "0")}:${tail}` : `${minutes}:${tail}`;
}

/** Unix seconds → time of day, in 24 hours: this is read beside logs. */
export function timeOfDay(at: number, language: string): string {
  const style = { timeStyle: "medium", hourCycle: "h23" } as const;
  return new Intl.DateTimeFormat(language, style).format(at * 1000);
}

export function dateTime(at: number, language: string): string {
  const style = { dateStyle: "medium", timeStyle: "medium", hourCycle: "h23" } as const;
  return new Intl.DateTimeFormat(language, style).format(at * 1000);
}
