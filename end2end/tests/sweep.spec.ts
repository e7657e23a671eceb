// A sweep with successive halving, its page, several seeds of one recipe, and a run made again from its manifest.

import { expect, importDataset, sampleRows, seriousViolations, test, toCsv } from "./ayar";

test("a sweep is planned, halved and shown, seeds are one line, and a run is reproduced", async ({ page }) => {
  await importDataset(page, "swept", toCsv(sampleRows(50)));

  await test.step("the form of a new run leads to a sweep around it", async () => {
    await page.getByRole("link", { name: "Fine-tune on this" }).click();
    await page.getByRole("link", { name: "Small base, quick" }).click();
    await expect(page.getByRole("link", { name: "Small base, quick" })).toHaveAttribute("aria-current", "true");
    await page.getByRole("link", { name: "Search around it: a sweep" }).click();
    await expect(page.getByRole("heading", { level: 1, name: "New sweep" })).toBeVisible();
    await expect(page.getByText("at least one setting")).toBeVisible();
    await page.getByLabel("Epochs", { exact: true }).fill("3");
    await page.getByLabel("Learning rate", { exact: true }).fill("1e-7, many");
    await expect(page.getByText('"many" is not').first()).toBeVisible();
    await page.getByLabel("Learning rate", { exact: true }).fill("1e-6, 1e-3");
    await page.getByLabel("LoRA rank", { exact: true }).fill("4, 8");
    await page.getByLabel("Rungs", { exact: true }).fill("1");
    await expect(page.getByText("4 runs, stopped early at 1 rung")).toBeVisible();
    expect(await seriousViolations(page)).toEqual([]);
    await page.getByRole("button", { name: "Start the sweep" }).click();
    await expect(page).toHaveURL(/\/sweeps\/\d+$/);
  });

  const standing = page.getByLabel("Where the sweep stands");
  const table = page.getByRole("region", { name: "Runs of the sweep" });
  await test.step("it halves by itself, and the best is marked", async () => {
    await expect(table.getByRole("row")).toHaveCount(5);
    await expect(standing.getByText("finished", { exact: true })).toBeVisible({ timeout: 150_000 });
    await expect(table.getByText("stopped at rung 1")).toHaveCount(2);
    await expect(table.getByText("best", { exact: true })).toHaveCount(1);
    await expect(page.getByRole("img", { name: /^Settings and scores of 4 runs\. The best, number/ })).toBeVisible();
    const lines = await page.evaluate(() => {
      const place = document.getElementById("chart-sweep");
      return (window as any).echarts.getInstanceByDom(place).getOption().series.map((s: any) => s.data.length);
    });
    expect(lines).toEqual([2, 1, 1]);
    expect(await seriousViolations(page)).toEqual([]);
    await page.screenshot({ path: "test-results/sweep-light.png", fullPage: true });
  });

  await test.step("it reads at 390 pixels and in the dark", async () => {
    await page.emulateMedia({ colorScheme: "dark" });
    await page.setViewportSize({ width: 390, height: 844 });
    const overflow = await page.evaluate(() => document.documentElement.scrollWidth - innerWidth);
    expect(overflow).toBeLessThanOrEqual(0);
    expect(await seriousViolations(page)).toEqual([]);
    await page.screenshot({ path: "test-results/sweep-dark.png", fullPage: true });
    await page.emulateMedia({ colorScheme: "light" });
    await page.setViewportSize({ width: 1280, height: 900 });
  });

  await test.step("the page of a run has its manifest, and the run is made again", async () => {
    await table.getByRole("row").nth(1).getByRole("link").click();
    await expect(page.getByText("One run of the sweep")).toBeVisible();
    const manifest = await page.request.get(`${page.url()}/manifest.json`);
    expect((await manifest.json()).base.name).toBe("tohum-16m");
    const events = await page.request.get(`${page.url()}/tensorboard`);
    expect(events.headers()["content-disposition"]).toContain("tfevents");
    await page.getByText("Hashes, program and device").click();
    await page.screenshot({ path: "test-results/manifest.png", fullPage: true });
    const first = page.url();
    await page.getByRole("button", { name: "Reproduce" }).click();
    await expect(page).not.toHaveURL(first);
    await expect(page.getByText(/test predictions are the same to the last bit/)).toBeVisible({ timeout: 60_000 });
  });

  await test.step("several seeds are one line", async () => {
    await page.goto("/runs/new");
    await page.getByLabel("Repeat with so many seeds").fill("2");
    await page.getByLabel("Name of the run").fill("Twice");
    await page.getByRole("link", { name: "Small base, quick" }).click();
    await page.getByLabel("Epochs", { exact: true }).fill("1");
    await page.getByRole("button", { name: "Start the run" }).click();
    await expect(page).toHaveURL(/\/sweeps\/\d+$/);
    await expect(standing.getByText("finished", { exact: true })).toBeVisible({ timeout: 60_000 });
    await expect(page.getByText(/^0\.\d{3} ± 0\.\d{3}$/).first()).toBeVisible();
    await expect(page.getByRole("img", { name: /Training loss, smoothed: .* of 2 seeds/ })).toBeVisible();
    await page.screenshot({ path: "test-results/seeds.png", fullPage: true });
    await page.goto("/runs");
    const lines = page.getByRole("region", { name: "Sweeps and repeated recipes" });
    await expect(lines.getByRole("row", { name: /Twice/ })).toContainText("one recipe, 2 seeds, 2 finished");
    await expect(lines.getByRole("row", { name: /Twice/ })).toContainText("±");
    await page.screenshot({ path: "test-results/runs.png", fullPage: true });
  });
});
