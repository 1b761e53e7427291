// Fails the build when what a first visit must load has grown beyond its budget.
import { readFileSync } from "node:fs";
import { gzipSync } from "node:zlib";

const BUDGET_JS_KB = 200;
const BUDGET_CSS_KB = 50;
const dist = new URL("../dist/", import.meta.url);
const manifest = JSON.parse(readFileSync(new URL(".vite/manifest.json", dist), "utf8"));
const zipped = (file) => gzipSync(readFileSync(new URL(file, dist)), { level: 9 }).length / 1000;

const scripts = new Set();
const styles = new Set();
const visit = (key) => {
  const chunk = manifest[key];
  if (scripts.has(chunk.file)) return;
  scripts.add(chunk.file);
  for (const sheet of chunk.css ?? []) styles.add(sheet);
  for (const next of chunk.imports ?? []) visit(next);
};
visit("index.html");
// One language is always loaded: the longer one counts.
visit("src/i18n/fr/index.ts");

const sum = (files) => [...files].reduce((total, file) => total + zipped(file), 0);
const js = sum(scripts);
const css = sum(styles);
for (const [key, chunk] of Object.entries(manifest)) {
  if (chunk.isDynamicEntry)
    console.log(`  ${zipped(chunk.file).toFixed(1).padStart(6)} kB  ${key}`);
}
console.log(
  `initial JS ${js.toFixed(1)} kB gzip (budget ${BUDGET_JS_KB}), CSS ${css.toFixed(1)} kB`,
);
if (js > BUDGET_JS_KB || css > BUDGET_CSS_KB) {
  console.error("The first visit loads more than its budget allows.");
  process.exit(1);
}
