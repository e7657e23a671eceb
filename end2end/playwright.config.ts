import { defineConfig } from "@playwright/test";

// Every test starts the built server itself, on a free port and an empty data folder (see tests/ayar.ts).
export default defineConfig({
  testDir: "tests",
  outputDir: "test-results",
  timeout: 180_000,
  expect: { timeout: 15_000 },
  // A run takes the whole machine: two at once would only be slower.
  workers: 1,
  reporter: "list",
  use: {
    viewport: { width: 1280, height: 900 },
    launchOptions: {
      // A system browser where one is named; else the one that `npx playwright install chromium` fetches.
      executablePath: process.env.CHROMIUM || undefined,
      args: [
        "--no-sandbox",
        "--disable-gpu",
        "--disable-background-networking",
        "--disable-component-update",
        "--disable-sync",
        "--no-first-run",
      ],
    },
    // Without pictures of every moment: to film the page takes as much of a small machine as the run that is watched.
    trace: { mode: "retain-on-failure", screenshots: false, snapshots: true, sources: true },
    screenshot: "only-on-failure",
  },
});
