// The server under test, and the test that comes with one: `import { test, expect } from "./ayar"`.

import axe from "axe-core";
import { test as base, expect, type Page } from "@playwright/test";
import { spawn, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

export { expect };

export const root = fileURLToPath(new URL("../..", import.meta.url));
const program = process.env.AYAR ?? join(root, "target/release/ayar");

/** One `ayar serve` on a port and a data folder of its own, both the same after a restart. */
export class Ayar {
  private child?: ChildProcess;
  log = "";
  /** What the present process has written to stdout. */
  said = "";

  private constructor(
    readonly port: number,
    readonly dataDir: string,
    private readonly options: string[],
    private readonly environment: Record<string, string>,
  ) {}

  /** Without a Hub it works offline, and it sees no token and no cache of the person who runs the tests. */
  static async start(options: string[] = [], hub?: string): Promise<Ayar> {
    const dataDir = mkdtempSync(join(tmpdir(), "ayar-end2end-"));
    const ofTheHub: Record<string, string> = hub ? { HF_ENDPOINT: hub } : { HF_HUB_OFFLINE: "1" };
    const environment = { ...withoutTheHub(process.env), ...ofTheHub, HF_HOME: join(dataDir, "hub") };
    const ayar = new Ayar(await freePort(), dataDir, options, environment);
    await ayar.restart();
    return ayar;
  }

  get url() {
    return `http://127.0.0.1:${this.port}`;
  }

  /** Starts the process and waits until it says that it runs. */
  async restart() {
    const args = ["serve", "--addr", `127.0.0.1:${this.port}`, "--data-dir", this.dataDir, ...this.options];
    const child = spawn(program, args, { cwd: root, env: this.environment, stdio: ["ignore", "pipe", "pipe"] });
    this.child = child;
    child.stderr.on("data", (bytes) => (this.log += bytes));
    this.said = "";
    await new Promise<void>((resolve, reject) => {
      child.stdout.on("data", (bytes) => {
        this.said += bytes;
        if (this.said.includes(`Ayar runs at ${this.url}`)) resolve();
      });
      child.once("error", reject);
      child.once("exit", (code) => reject(new Error(`ayar ended with ${code} before it ran:\n${this.said}${this.log}`)));
    });
  }

  /** As a power cut does it. */
  async kill() {
    await this.stop("SIGKILL");
  }

  async stop(signal: NodeJS.Signals = "SIGTERM") {
    const child = this.child;
    if (!child || child.exitCode !== null || child.signalCode !== null) return;
    const ended = once(child, "exit");
    child.kill(signal);
    await ended;
  }

  async end() {
    await this.kill();
    rmSync(this.dataDir, { recursive: true, force: true });
  }
}

function withoutTheHub(environment: NodeJS.ProcessEnv): Record<string, string> {
  const others = Object.entries(environment).filter(([name, value]) => !name.startsWith("HF_") && value !== undefined);
  return Object.fromEntries(others) as Record<string, string>;
}

async function freePort(): Promise<number> {
  const server = createServer();
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const address = server.address();
  server.close();
  await once(server, "close");
  if (address === null || typeof address === "string") throw new Error("no port");
  return address.port;
}

/** What the browser complains about. Tests that pull the plug say which complaints they expect. */
export class Complaints {
  private readonly said: string[] = [];
  private expected: RegExp[] = [];

  watch(page: Page) {
    page.on("pageerror", (error) => this.said.push(`${page.url()}: ${error.message}`));
    page.on("console", (message) => {
      if (message.type() === "error" || message.type() === "warning") {
        this.said.push(`${page.url()}: ${message.type()}: ${message.text()}`);
      }
    });
  }

  /** From now on nobody is surprised by this. */
  expect(...patterns: RegExp[]) {
    this.expected.push(...patterns);
  }

  get unexpected(): string[] {
    return this.said.filter((words) => !this.expected.some((pattern) => pattern.test(words)));
  }
}

/** A lost connection: what Chromium writes while a server is away. */
export const LOST_CONNECTION = /WebSocket connection|ERR_CONNECTION|ERR_EMPTY_RESPONSE|ERR_INCOMPLETE|Failed to fetch/;

type Fixtures = { ayar: Ayar; complaints: Complaints };

export const test = base.extend<Fixtures>({
  ayar: async ({}, use, info) => {
    const ayar = await Ayar.start();
    await use(ayar);
    if (info.status !== info.expectedStatus) console.log(`The server's log:\n${ayar.log}`);
    await ayar.end();
  },
  baseURL: async ({ ayar }, use) => use(ayar.url),
  complaints: [
    async ({ context }, use) => {
      const complaints = new Complaints();
      context.on("page", (page) => complaints.watch(page));
      // A panic in WASM is many frames deep; ten of them are all of the panic's own.
      await context.addInitScript(() => (Error.stackTraceLimit = 60));
      await use(complaints);
      expect(complaints.unexpected, "what the browser complained about").toEqual([]);
    },
    { auto: true },
  ],
});

/** Some rows of the sample, the same number of each label: enough to learn from, few enough to be quick. */
export function sampleRows(perLabel: number): { text: string; label: string }[] {
  const taken = new Map<string, number>();
  return parseCsv(readFileSync(join(root, "data/sample/headlines.csv"), "utf8"))
    .slice(1)
    .map(([text, label]) => ({ text, label }))
    .filter(({ label }) => {
      const count = (taken.get(label) ?? 0) + 1;
      taken.set(label, count);
      return count <= perLabel;
    });
}

export function toCsv(rows: { text: string; label: string }[]): string {
  const quote = (field: string) => `"${field.replaceAll('"', '""')}"`;
  return ["headline,label", ...rows.map(({ text, label }) => `${quote(text)},${quote(label)}`)].join("\n") + "\n";
}

function parseCsv(text: string): string[][] {
  const rows: string[][] = [[]];
  const fields = /("(?:[^"]|"")*"|[^",\n\r]*)(,|\r?\n|$)/gy;
  for (let match = fields.exec(text); match && match.index < text.length; match = fields.exec(text)) {
    const [, field, end] = match;
    rows[rows.length - 1].push(field.startsWith('"') ? field.slice(1, -1).replaceAll('""', '"') : field);
    if (end !== ",") rows.push([]);
  }
  return rows.filter((row) => row.length > 1);
}

/** A file for a file input. */
export function file(name: string, content: string | Buffer) {
  return { name, mimeType: "text/csv", buffer: Buffer.from(content) };
}

/** Uploads and imports a file; ends on the page of its dataset. */
export async function importDataset(page: Page, name: string, content: string | Buffer) {
  await page.goto("/datasets/new");
  await page.getByLabel("Drop a file here, or choose one").setInputFiles(file(`${name}.csv`, content));
  await expect(page.getByRole("button", { name: "Import" })).toBeVisible();
  await page.getByLabel("Name of the dataset").fill(name);
  await page.getByRole("button", { name: "Import" }).click();
  await expect(page.getByRole("heading", { level: 1, name })).toBeVisible();
}

/** Starts a run of a few epochs with the recipe for small bases; ends on its page. */
export async function startRun(
  page: Page,
  settings: { epochs: number; saveSteps?: number; name?: string; template?: string },
) {
  await page.getByRole("link", { name: "Small base, quick" }).click();
  await expect(page.getByRole("link", { name: "Small base, quick" })).toHaveAttribute("aria-current", "true");
  await page.getByLabel("Epochs", { exact: true }).fill(String(settings.epochs));
  if (settings.saveSteps !== undefined) {
    await page.getByText("More settings").click();
    await page.getByLabel("Checkpoint every (steps)").fill(String(settings.saveSteps));
  }
  if (settings.template !== undefined) {
    await page.getByText("Edit the template").click();
    await page.getByLabel("Template").fill(settings.template);
  }
  if (settings.name) await page.getByLabel("Name of the run").fill(settings.name);
  await page.getByRole("button", { name: "Start the run" }).click();
  await expect(page).toHaveURL(/\/runs\/\d+$/);
}

/** Steps on the loss chart, in the order in which they are drawn. */
export async function chartSteps(page: Page): Promise<number[]> {
  return page.evaluate(() => {
    const place = document.getElementById("chart-loss");
    const chart = place && (window as any).echarts?.getInstanceByDom(place);
    if (!chart) return [];
    const line = chart.getOption().series[0];
    return line.data.map((point: any) => (Array.isArray(point) ? point : point.value)[0]);
  });
}

export function upTo(steps: number): number[] {
  return Array.from({ length: steps }, (_, index) => index + 1);
}

/**
 * What axe calls serious or critical, as lines that say what and where. A page that is on its way from one state to the
 * next (colours that change with the theme, rows that have just come) is looked at again: what is judged is where it ends.
 */
export async function seriousViolations(page: Page): Promise<string[]> {
  let found = await violationsNow(page);
  for (let again = 0; again < 3 && found.length; again++) {
    await page.waitForTimeout(500);
    found = await violationsNow(page);
  }
  return found;
}

async function violationsNow(page: Page): Promise<string[]> {
  await page.evaluate(axe.source);
  return page.evaluate(async () => {
    // Asking for the animations brings the styles up to date first, so that no transition starts after this.
    for (const animation of document.getAnimations()) if (animation instanceof CSSTransition) animation.finish();
    const { violations } = await (window as any).axe.run(document, { resultTypes: ["violations"] });
    return violations
      .filter((found: any) => ["serious", "critical"].includes(found.impact))
      .flatMap((found: any) => found.nodes.map((node: any) => `${found.id}: ${node.target.join(" ")}: ${node.failureSummary}`));
  });
}
