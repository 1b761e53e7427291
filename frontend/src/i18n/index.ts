/** French and English. The types make a key that is missing anywhere fail to compile. */
import i18next from "i18next";
import { initReactI18next, useTranslation } from "react-i18next";
import { keep, kept } from "../lib/storage";
import type { en } from "./en";

export type Language = "en" | "fr";
const NAME = "gateway.language";

declare module "i18next" {
  interface CustomTypeOptions {
    defaultNS: "translation";
    resources: { translation: typeof en };
  }
}

function preferred(): Language {
  const chosen = kept(NAME);
  if (chosen === "en" || chosen === "fr") return chosen;
  const asked = navigator.languages.find((tag) => /^(en|fr)\b/i.test(tag));
  return asked?.toLowerCase().startsWith("fr") ? "fr" : "en";
}

/** Each language is a file of its own: nobody loads the one they do not read. */
const LOADERS = {
  en: async () => (await import("./en")).en,
  fr: async () => (await import("./fr")).fr,
} as const;

async function load(language: Language): Promise<void> {
  if (!i18next.hasResourceBundle(language, "translation"))
    i18next.addResourceBundle(language, "translation", await LOADERS[language]());
  document.documentElement.lang = language;
}

/** Ready to translate when it resolves. */
export async function startI18n(): Promise<void> {
  const lng = preferred();
  await i18next.use(initReactI18next).init({
    lng,
    resources: {},
    fallbackLng: false,
    interpolation: { escapeValue: false },
    showSupportNotice: false,
  });
  await load(lng);
}

export async function setLanguage(language: Language): Promise<void> {
  await load(language);
  await i18next.changeLanguage(language);
  keep(NAME, language);
}

/** Translate, and the language for `Intl`. */
export function useText() {
  const { t, i18n } = useTranslation();
  return { t, language: i18n.language as Language };
}
