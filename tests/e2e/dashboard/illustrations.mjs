// The pictures of README and README.fr, the same in both languages:
// `DASHBOARD_URL=… node tests/e2e/dashboard/illustrations.mjs`, in front of the demo models.
import { join } from "node:path";
import { crc32, deflateSync } from "node:zlib";
import { launch, visit } from "./browser.mjs";
import { ROOT } from "./gateway.mjs";

const START_MS = 240_000;
const WORDS = {
  en: {
    add: "Add images",
    send: "Send",
    transcribe: "Transcribe",
    name: (letter) => `Name of ${letter}`,
    speakers: { A: "Interviewer", B: "Guest" },
  },
  fr: {
    add: "Ajouter des images",
    send: "Envoyer",
    transcribe: "Transcrire",
    name: (letter) => `Nom de ${letter}`,
    speakers: { A: "Journaliste", B: "Invité" },
  },
};

/** A square of one colour as PNG. */
function square(red, green, blue, side = 64) {
  const row = Buffer.from([0, ...Array(side).fill([red, green, blue]).flat()]);
  const chunk = (type, data) => {
    const named = Buffer.concat([Buffer.from(type), data]);
    const around = Buffer.alloc(8);
    around.writeUInt32BE(data.length, 0);
    around.writeUInt32BE(crc32(named), 4);
    return Buffer.concat([around.subarray(0, 4), named, around.subarray(4)]);
  };
  const head = Buffer.alloc(13);
  head.writeUInt32BE(side, 0);
  head.writeUInt32BE(side, 4);
  head.set([8, 2], 8);
  return Buffer.concat([
    Buffer.from("\x89PNG\r\n\x1a\n", "latin1"),
    chunk("IHDR", head),
    chunk("IDAT", deflateSync(Buffer.concat(Array(side).fill(row)))),
    chunk("IEND", Buffer.alloc(0)),
  ]);
}

async function audio(page, words) {
  await page.locator("input[type=file]").first().setInputFiles(join(ROOT, "demo/audio/dialogue-two.wav"));
  await page.getByRole("button", { name: words.transcribe, exact: true }).click();
  await page.getByTestId("player").waitFor({ timeout: START_MS });
  for (const [letter, name] of Object.entries(words.speakers))
    await page.getByLabel(words.name(letter)).fill(name);
  await page.locator("[data-word]").nth(5).click();
}

async function playground(page, words) {
  const chooser = page.waitForEvent("filechooser");
  await page.getByRole("button", { name: words.add }).click();
  await (await chooser).setFiles({ name: "red.png", mimeType: "image/png", buffer: square(220, 30, 30) });
  for (const [index, question] of ["What colour is the image?", "Who are you?"].entries()) {
    await page.getByLabel("Message", { exact: true }).fill(question);
    await page.getByRole("button", { name: words.send, exact: true }).click();
    await page.getByTestId("stats").nth(index).waitFor({ timeout: START_MS });
  }
}

const browser = await launch();
for (const [language, words] of Object.entries(WORDS))
  for (const draw of [audio, playground]) {
    const options = { language, path: `/${draw.name}`, width: 1280, height: 900 };
    const { page, close } = await visit(browser, process.env.DASHBOARD_URL, options);
    await draw(page, words);
    await page.locator('.in-flight[data-busy="false"]').waitFor();
    // Nothing that only shows where the mouse or the focus is.
    await page.mouse.move(0, 0);
    await page.evaluate(() => {
      scrollTo(0, 0);
      document.activeElement.blur();
    });
    await page.screenshot({ path: join(ROOT, "doc", "images", `${draw.name}.${language}.png`) });
    await close();
  }
await browser.close();
