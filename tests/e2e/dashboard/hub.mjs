// The fake Hub of the other tests, so that the real huggingface_hub downloads from it.
import { spawn } from "node:child_process";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { createInterface } from "node:readline";
import { PYTHON, ROOT } from "./gateway.mjs";

export class Hub {
  constructor() {
    this.root = mkdtempSync(join(tmpdir(), "hub-ui-"));
  }

  async start() {
    const command = ["-m", "tests.fakes.hub.server", this.root];
    this.process = spawn(PYTHON, command, { cwd: ROOT, stdio: ["ignore", "pipe", "inherit"] });
    const child = this.process;
    process.once("exit", () => child.kill("SIGKILL"));
    for await (const line of createInterface({ input: child.stdout })) {
      this.url = line.split(" ")[0];
      break;
    }
    return this;
  }

  /** Files by name; a number stands for so many bytes. */
  add(repo, files) {
    for (const [name, content] of Object.entries(files)) {
      const path = join(this.root, repo, name);
      mkdirSync(dirname(path), { recursive: true });
      writeFileSync(path, typeof content === "number" ? Buffer.alloc(content, "noise ") : content);
    }
  }

  /** How it behaves from now on; see `state.State.update`. */
  set = (change) =>
    fetch(`${this.url}/fake/set`, { method: "POST", body: JSON.stringify(change) });

  close() {
    this.process.kill("SIGKILL");
    rmSync(this.root, { recursive: true, force: true });
  }
}
