// How much a page transfers, and how long until it can be read and until it can be used: the first time, with nothing
// cached, and again. Once over loopback, where only the machine is measured, and once as over a phone's network, where
// the bytes are.

import type { Browser, CDPSession, Page } from "@playwright/test";
import { expect, importDataset, sampleRows, startRun, test, toCsv } from "../tests/ayar";

/** Chromium's own numbers for a slow 4G. */
const SLOW_4G = { offline: false, latency: 150, downloadThroughput: 204_800, uploadThroughput: 93_750 };
const REPEATS = 5;

type Load = { requests: number; bytes: number; firstPaint: number; interactive?: number };

test("page load", async ({ ayar, browser, page }) => {
  await importDataset(page, "headlines", toCsv(sampleRows(60)));
  await page.getByRole("link", { name: "Fine-tune on this" }).click();
  await startRun(page, { epochs: 1 });
  await expect(page.getByLabel("Where the run stands").getByText("finished", { exact: true })).toBeVisible({
    timeout: 120_000,
  });
  const run = new URL(page.url()).pathname;
  await page.close();

  const pages: [string, string][] = [
    ["datasets", "/datasets"],
    ["a dataset of 180 rows", "/datasets/2"],
    ["a finished run", run],
    ["classify", "/classify"],
    ["the API's documentation", "/docs"],
  ];
  const lines = [["page", "network", "cache", "requests", "transferred", "first paint", "interactive"]];
  for (const [name, path] of pages) {
    for (const [network, conditions] of [["loopback", undefined], ["slow 4G", SLOW_4G]] as const) {
      const loads: [Load, Load][] = [];
      for (let repeat = 0; repeat < REPEATS; repeat++) loads.push(await loadTwice(browser, ayar.url + path, conditions));
      lines.push([name, network, "empty", ...inWords(loads.map(([first]) => first))]);
      lines.push([name, network, "full", ...inWords(loads.map(([, second]) => second))]);
    }
  }
  console.log(`\nMedian of ${REPEATS} loads\n${aligned(lines)}`);
});

async function loadTwice(browser: Browser, url: string, conditions?: typeof SLOW_4G): Promise<[Load, Load]> {
  const context = await browser.newContext();
  const page = await context.newPage();
  const devtools = await context.newCDPSession(page);
  await devtools.send("Network.enable");
  if (conditions) await devtools.send("Network.emulateNetworkConditions", conditions);
  const loads: [Load, Load] = [await load(page, devtools, url), await load(page, devtools, url)];
  await context.close();
  return loads;
}

async function load(page: Page, devtools: CDPSession, url: string): Promise<Load> {
  let [requests, bytes] = [0, 0];
  const count = ({ encodedDataLength }: { encodedDataLength: number }) => {
    bytes += encodedDataLength;
    if (encodedDataLength > 0) requests += 1;
  };
  devtools.on("Network.loadingFinished", count);
  await page.goto("about:blank");
  await page.goto(url, { waitUntil: "networkidle" });
  devtools.off("Network.loadingFinished", count);
  const times = await page.evaluate(() => ({
    firstPaint: performance.getEntriesByName("first-contentful-paint")[0]?.startTime ?? NaN,
    interactive: performance.getEntriesByName("interactive")[0]?.startTime,
  }));
  return { requests, bytes, ...times };
}

function inWords(loads: Load[]): string[] {
  const median = (of: (load: Load) => number) => loads.map(of).sort((a, b) => a - b)[Math.floor(loads.length / 2)];
  const takesOver = loads.every((load) => load.interactive !== undefined);
  return [
    String(median((load) => load.requests)),
    `${(median((load) => load.bytes) / 1000).toFixed(0)} kB`,
    `${median((load) => load.firstPaint).toFixed(0)} ms`,
    takesOver ? `${median((load) => load.interactive!).toFixed(0)} ms` : "at once",
  ];
}

function aligned(lines: string[][]): string {
  const widths = lines[0].map((_, column) => Math.max(...lines.map((line) => line[column].length)));
  return lines
    .map((line) => line.map((cell, column) => (column < 3 ? cell.padEnd(widths[column]) : cell.padStart(widths[column]))))
    .map((line) => line.join("  "))
    .join("\n");
}
