import { defineConfig } from "@playwright/test";
import tests from "./playwright.config";

// `make bench-pages`: no tests, but measured in the browser that runs those.
export default defineConfig({
  ...tests,
  testDir: "benchmarks",
  testMatch: "*.bench.ts",
  outputDir: "test-results/benchmarks",
  timeout: 600_000,
  reporter: [["line"]],
  use: { ...tests.use, trace: "off" },
});
