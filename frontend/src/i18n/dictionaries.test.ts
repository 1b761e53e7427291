import { expect, it } from "vitest";
import { en } from "./en";
import { fr } from "./fr";

type Tree = { [key: string]: string | Tree };

function leaves(tree: Tree, path = ""): [string, string][] {
  return Object.entries(tree).flatMap(([key, value]): [string, string][] =>
    typeof value === "string" ? [[path + key, value]] : leaves(value, `${path}${key}.`),
  );
}

const names = (text: string) => [...text.matchAll(/{{(\w+)}}/g)].map((match) => match[1]).sort();
const french = new Map(leaves(fr));

it("fills in the same names in both languages", () => {
  const wrong = leaves(en).filter(
    ([key, text]) => names(french.get(key) ?? "").join() !== names(text).join(),
  );
  expect(wrong).toEqual([]);
});

it("separates signs as French does", () => {
  const wrong = [...french].filter(([, text]) => /\S [:;?!](\s|$)/.test(text));
  expect(wrong).toEqual([]);
});

it("holds no text that nobody shows", () => {
  const sources = import.meta.glob<string>(
    ["../**/*.{ts,tsx}", "!../i18n/**", "!../api/schema.gen.ts"],
    {
      query: "?raw",
      import: "default",
      eager: true,
    },
  );
  const code = Object.values(sources).join("\n");
  const unused = leaves(en).filter(([name]) => {
    const key = name.replace(/_(one|other)$/, "");
    const family = key.slice(0, key.lastIndexOf(".") + 1);
    return !code.includes(`"${key}"`) && !code.includes(`\`${family}\${`);
  });
  expect(unused).toEqual([]);
});
