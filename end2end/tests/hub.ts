// A small Hub on loopback: the program `service/examples/hub.rs`.

import { spawn, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { root } from "./ayar";

const program = process.env.AYAR_TEST_HUB ?? join(root, "target/release/examples/hub");

/** What it lets in: one who may read, and one who may write as well. */
export const READER = "hf_test_reader";
export const WRITER = "hf_test_writer";

export class Hub {
  private constructor(
    readonly url: string,
    private readonly child: ChildProcess,
    private readonly folder: string,
  ) {}

  /** Starts one with these files, by their path `owner/name/file`. */
  static async start(files: Record<string, string | Buffer>, bytesPerSecond?: number): Promise<Hub> {
    const folder = mkdtempSync(join(tmpdir(), "ayar-hub-"));
    for (const [path, content] of Object.entries(files)) {
      mkdirSync(dirname(join(folder, path)), { recursive: true });
      writeFileSync(join(folder, path), content);
    }
    const limit = bytesPerSecond === undefined ? [] : ["--bytes-per-second", String(bytesPerSecond)];
    const child = spawn(program, ["--root", folder, ...limit], { stdio: ["ignore", "pipe", "inherit"] });
    const url = await new Promise<string>((resolve, reject) => {
      let said = "";
      child.stdout.on("data", (bytes) => {
        said += bytes;
        const end = said.indexOf("\n");
        if (end >= 0) resolve(said.slice(0, end));
      });
      child.once("error", reject);
      child.once("exit", (code) => reject(new Error(`the Hub ended with ${code} before it ran`)));
    });
    return new Hub(url, child, folder);
  }

  async end() {
    if (this.child.exitCode === null && this.child.signalCode === null) {
      const ended = once(this.child, "exit");
      this.child.kill();
      await ended;
    }
    rmSync(this.folder, { recursive: true, force: true });
  }
}
