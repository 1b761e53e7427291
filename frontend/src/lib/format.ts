/** Numbers and times in the reader's language. Pure: the language is an argument. */

const UNITS = {
  en: ["B", "KiB", "MiB", "GiB", "TiB"],
  fr: ["o", "Kio", "Mio", "Gio", "Tio"],
} as const;

/** Powers of 1024, as nvidia-smi counts and as the gateway's messages say. */
export function bytes(value: number, language: string): string {
  return scaled(value, powerOf(value), language);
}

/** Both in the unit of the whole: 0.6 / 140 GiB. */
export function bytesOf(part: number, whole: number, language: string): string {
  const [amount] = scaled(part, powerOf(whole), language).split(" ");
  return `${amount} / ${bytes(whole, language)}`;
}

function powerOf(value: number): number {
  const power = Math.floor(Math.log2(Math.max(1, value)) / 10);
  return Math.min(power, UNITS.en.length - 1);
}

function scaled(value: number, power: number, language: string): string {
  const amount = value / 1024 ** power;
  const digits = power === 0 || amount >= 100 ? 0 : 1;
  return `${number(amount, language, digits)} ${UNITS[language === "fr" ? "fr" : "en"][power]}`;
}

export function number(value: number, language: string, digits = 0): string {
  return new Intl.NumberFormat(language, {
    minimumFractionDigits: digits,
    maximumFractionDigits: digits,
  }).format(value);
}

/** Of a whole; what is there and rounds to nothing is less than 1 %, not 0 %. */
export function share(part: number, whole: number, language: string): string {
  const value = (part / whole) * 100;
  return value > 0 && value < 0.5 ? `< ${percent(1, language)}` : percent(value, language);
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
