// A gateway as a user starts it, in front of fake engines, for the browser to look at.
import { spawn } from "node:child_process";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

export const ROOT = join(dirname(fileURLToPath(import.meta.url)), "..", "..", "..");
export const PYTHON = process.env.GATEWAY_PYTHON ?? join(ROOT, ".venv", "bin", "python");
const START_MS = 60_000;
const STOP_MS = 45_000;

export class Gateway {
  #process = null;
  #output = "";

  constructor(settings = {}, engineArgs = "") {
    this.directory = mkdtempSync(join(tmpdir(), "gw-ui-"));
    const model = join(this.directory, "model");
    mkdirSync(model);
    writeFileSync(join(model, "config.json"), "{}");
    this.environment = {
      PATH: process.env.PATH,
      HOME: process.env.HOME,
      PYTHONPATH: ROOT,
      API_HOST: "127.0.0.1",
      API_PORT: "0",
      MODEL_SET: "demo",
      MODEL_CACHE_DIR: join(this.directory, "models"),
      LOG_DIR: join(this.directory, "logs"),
      FRONTEND_DIST: join(ROOT, "frontend", "dist"),
      QWEN_MODEL: model,
      QWEN_PYTHON: join(ROOT, "tests", "fakes", "python"),
      QWEN_ENGINE_ARGS: engineArgs,
      ...settings,
    };
  }

  output = () => this.#output;

  async start() {
    const child = spawn(PYTHON, ["-m", "backend.app", "serve"], {
      cwd: this.directory,
      env: this.environment,
      stdio: ["ignore", "pipe", "pipe"],
    });
    this.#process = child;
    // A test that dies must not leave a gateway behind.
    process.once("exit", () => child.kill("SIGKILL"));
    this.#output = "";
    const listening = new Promise((resolve, reject) => {
      const timer = setTimeout(() => reject(new Error(`not listening:\n${this.#output}`)), START_MS);
      const read = (piece) => {
        this.#output += piece;
        const found = /listening on (http:\/\/\S+)/.exec(this.#output);
        if (!found) return;
        clearTimeout(timer);
        resolve(found[1].replace("localhost", "127.0.0.1"));
      };
      child.stdout.setEncoding("utf8").on("data", read);
      child.stderr.setEncoding("utf8").on("data", read);
      child.once("exit", (code) => reject(new Error(`ended with ${code}:\n${this.#output}`)));
    });
    this.url = await listening;
    // A restart must come back where the browser looks for it.
    this.environment.API_PORT = new URL(this.url).port;
    return this;
  }

  async stop(signal = "SIGTERM") {
    const child = this.#process;
    this.#process = null;
    if (!child || child.exitCode !== null || child.signalCode !== null) return;
    const ended = new Promise((resolve) => child.once("exit", resolve));
    child.kill(signal);
    const timer = setTimeout(() => child.kill("SIGKILL"), STOP_MS);
    await ended;
    clearTimeout(timer);
  }

  async close() {
    await this.stop();
    rmSync(this.directory, { recursive: true, force: true });
  }

  async api(path, options = {}) {
    const answer = await fetch(this.url + path, options);
    return answer.json();
  }

  model = async (key = "qwen") => (await this.api("/api/admin/status")).models[key];
}

export async function gateway(settings, engineArgs) {
  const made = new Gateway(settings, engineArgs);
  try {
    return await made.start();
  } catch (error) {
    await made.close();
    throw error;
  }
}
