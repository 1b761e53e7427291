/** What Canary understands. */
export const SPOKEN =
  "bg cs da de el en es et fi fr hr hu it lt lv mt nl pl pt ro ru sk sl sv uk".split(" ");

/** A language's name in another language, with a capital. */
export function languageName(code: string, inLanguage: string): string {
  const name = new Intl.DisplayNames([inLanguage], { type: "language" }).of(code) ?? code;
  return name.charAt(0).toLocaleUpperCase(inLanguage) + name.slice(1);
}
