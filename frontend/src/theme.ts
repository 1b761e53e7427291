import { type CSSVariablesResolver, createTheme, type MantineColorsTuple } from "@mantine/core";

const petrol: MantineColorsTuple = [
  "#e8f6f6",
  "#cfeaeb",
  "#9fd4d7",
  "#6bbdc2",
  "#3fa9b0",
  "#21959e",
  "#0f7f89",
  "#0a6871",
  "#07525a",
  "#043c42",
];

/** Ink for the dark scheme: a little blue, so that cards stand out without hard borders. */
const dark: MantineColorsTuple = [
  "#d8dee6",
  "#b4bdc9",
  "#97a1af",
  "#5f6b7b",
  "#38424f",
  "#2a323d",
  "#1e252e",
  "#161c24",
  "#10151b",
  "#0b0f14",
];

const SYSTEM =
  'system-ui, -apple-system, "Segoe UI", Roboto, "Noto Sans", "Liberation Sans", sans-serif';
const MONO = 'ui-monospace, "SF Mono", "Cascadia Mono", Menlo, "DejaVu Sans Mono", monospace';

export const theme = createTheme({
  primaryColor: "petrol",
  primaryShade: { light: 7, dark: 7 },
  colors: { petrol, dark },
  fontFamily: SYSTEM,
  fontFamilyMonospace: MONO,
  headings: { fontFamily: SYSTEM, fontWeight: "650" },
  defaultRadius: "md",
  cursorType: "pointer",
  respectReducedMotion: true,
  components: {
    Card: { defaultProps: { withBorder: true, radius: "lg", padding: "lg" } },
    Tooltip: { defaultProps: { withArrow: true, openDelay: 300 } },
    // A dialog's <header> is no banner of the page.
    Modal: {
      defaultProps: { centered: true, radius: "lg", attributes: { header: { role: "none" } } },
      styles: { title: { fontWeight: 650 } },
    },
    Drawer: { defaultProps: { attributes: { header: { role: "none" } } } },
    Table: { defaultProps: { verticalSpacing: "xs" } },
  },
});

/** Mantine's dimmed and error texts are too pale for 4.5 : 1. */
export const variables: CSSVariablesResolver = () => ({
  variables: {},
  light: {
    "--mantine-color-body": "#ffffff",
    "--mantine-color-text": "#182028",
    "--notice": "#fdf1dc",
    "--page": "#f4f6f8",
    "--line": "#dfe4ea",
    "--mantine-color-dimmed": "#566070",
    "--mantine-color-placeholder": "#667080",
    "--mantine-color-error": "#c0262d",
    "--mantine-color-anchor": "#0a6871",
    "--ok": "#1b7f3b",
    "--busy": "#1c5fc4",
    "--warn": "#a15c00",
    "--bad": "#c0262d",
    "--quiet": "#5b6674",
  },
  dark: {
    "--mantine-color-body": "#161c24",
    "--notice": "#2b2417",
    "--page": "#0e1318",
    "--line": "#2a323d",
    "--mantine-color-dimmed": "#a3adba",
    "--mantine-color-placeholder": "#8d98a6",
    "--mantine-color-error": "#ff8a8a",
    "--mantine-color-anchor": "#6bbdc2",
    "--ok": "#5fd38a",
    "--busy": "#7fb2ff",
    "--warn": "#ffb454",
    "--bad": "#ff8a8a",
    "--quiet": "#a3adba",
  },
});
