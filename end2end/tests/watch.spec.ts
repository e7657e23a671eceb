// Several people watch one run; one of them stops it, another takes it up again.

import { chartSteps, expect, importDataset, LOST_CONNECTION, sampleRows, startRun, test, toCsv, upTo } from "./ayar";

test("two browsers see the same run, and either can cancel and resume it", async ({ page, browser, complaints, ayar }) => {
  // Two pages that draw, a run, and its resumed rest share the machine's processors.
  test.setTimeout(420_000);
  await importDataset(page, "shared", toCsv(sampleRows(60)));
  await page.getByRole("link", { name: "Fine-tune on this" }).click();
  await startRun(page, { epochs: 12, saveSteps: 4 });

  const elsewhere = await browser.newContext({ baseURL: ayar.url });
  const other = await elsewhere.newPage();
  complaints.watch(other);
  // Leaving a page closes its websocket; Chromium may say so.
  complaints.expect(LOST_CONNECTION);
  await other.goto(page.url());
  const status = (viewer: typeof page, word: string) =>
    viewer.getByLabel("Where the run stands").getByText(word, { exact: true });
  for (const viewer of [page, other]) {
    await expect(status(viewer, "live")).toBeVisible();
    await expect.poll(() => chartSteps(viewer), { timeout: 60_000 }).toContain(6);
  }

  await page.getByRole("button", { name: "Cancel" }).click();
  for (const viewer of [page, other]) await expect(status(viewer, "cancelled")).toBeVisible();

  await other.getByRole("button", { name: /Resume from step \d+/ }).click();
  for (const viewer of [page, other]) {
    await expect(status(viewer, "finished")).toBeVisible({ timeout: 300_000 });
  }
  const steps = await chartSteps(page);
  expect(steps).toEqual(upTo(steps.length));
  expect(steps.length).toBeGreaterThan(12);
  await expect.poll(() => chartSteps(other)).toEqual(steps);
  await elsewhere.close();
});

test("a second run waits for the first", async ({ page }) => {
  await importDataset(page, "queue", toCsv(sampleRows(40)));
  const dataset = page.url();
  for (const name of ["one", "two"]) {
    await page.goto(dataset);
    await page.getByRole("link", { name: "Fine-tune on this" }).click();
    await startRun(page, { epochs: 4, name });
  }
  const standing = page.getByLabel("Where the run stands");
  await expect(standing.getByText("queued", { exact: true })).toBeVisible();
  await expect(standing.getByText("finished", { exact: true })).toBeVisible({ timeout: 120_000 });
  await page.getByRole("link", { name: "Runs", exact: true }).first().click();
  await expect(page.getByRole("row", { name: /finished/ })).toHaveCount(2);
});
