// The way through: upload, preview, import, train (with a reload and a killed server in the middle), before and after,
// classify.

import { chartSteps, expect, file, LOST_CONNECTION, sampleRows, startRun, test, toCsv, upTo } from "./ayar";

test("a file becomes a classifier", async ({ page, ayar, complaints }) => {
  await test.step("pages are there before any script", async () => {
    expect(await (await page.request.get("/")).text()).toContain("Overview");
    expect(await (await page.request.get("/datasets")).text()).toContain("headlines.csv");
  });

  const rows = sampleRows(100);
  await test.step("upload, preview, import", async () => {
    await page.goto("/");
    await page.getByRole("link", { name: "Upload a file" }).click();
    const csv = toCsv(rows) + `"",neutral\nthree,fields,here\n`;
    await page.getByLabel("Drop a file here, or choose one").setInputFiles(file("team.csv", csv));
    await expect(page.getByRole("region", { name: "First rows of the file" })).toContainText(rows[0].text);
    await expect(page.getByLabel("Text", { exact: true })).toHaveValue("0");
    await expect(page.getByLabel("Label", { exact: true })).toHaveValue("1");
    await page.getByRole("button", { name: "Import" }).click();

    await expect(page.getByRole("heading", { level: 1, name: "team" })).toBeVisible();
    const rejected = page.getByRole("region", { name: "Rejected rows" });
    await expect(rejected.getByRole("row", { name: /302 empty text/ })).toBeVisible();
    await expect(rejected.getByRole("row", { name: /303 expected 2 fields, found 3/ })).toBeVisible();
  });

  await test.step("set up a run", async () => {
    await page.getByRole("link", { name: "Fine-tune on this" }).click();
    await expect(page.getByRole("group", { name: /^One row in tokens/ })).toBeVisible();
    await startRun(page, { epochs: 8, saveSteps: 5, name: "First try" });
  });

  const standing = page.getByLabel("Where the run stands");
  await test.step("it is live", async () => {
    await expect(standing.getByText("live", { exact: true })).toBeVisible();
    await expect.poll(() => chartSteps(page), { timeout: 60_000 }).toEqual(expect.arrayContaining([1, 8]));
  });

  await test.step("a reload loses nothing", async () => {
    const before = await chartSteps(page);
    await page.reload();
    await expect.poll(() => chartSteps(page)).toEqual(expect.arrayContaining(before));
    await expect(standing.getByText("live", { exact: true })).toBeVisible();
  });

  await test.step("the server is killed and comes back: the run goes on from its checkpoint", async () => {
    await expect.poll(() => chartSteps(page), { timeout: 60_000 }).toContain(18);
    complaints.expect(LOST_CONNECTION);
    await ayar.kill();
    await expect(standing.getByText("connection lost, reconnecting")).toBeVisible();
    await ayar.restart();
    await expect(standing.getByText("live", { exact: true })).toBeVisible({ timeout: 30_000 });
    await expect.poll(() => chartSteps(page), { timeout: 60_000 }).toContain(25);
  });

  const matrix = (when: string) => page.getByRole("region", { name: `${when} training: confusion matrix` });
  let testRows = 0;
  await test.step("finished: every step once, before and after", async () => {
    await expect(standing.getByText("finished", { exact: true })).toBeVisible({ timeout: 120_000 });
    const last = await page.getByRole("img", { name: /^Loss:/ }).getAttribute("aria-label");
    const total = Number(/of (\d+)[;.]/.exec(last ?? "")?.[1]);
    expect(total).toBeGreaterThan(50);
    await expect.poll(() => chartSteps(page)).toEqual(upTo(total));

    const counts = async (when: string) =>
      (await matrix(when).locator(".confusion-count").allTextContents()).reduce((sum, count) => sum + Number(count), 0);
    testRows = await counts("Before");
    expect(testRows).toBeGreaterThan(50);
    expect(await counts("After")).toBe(testRows);
    await expect(page.getByText("Accuracy on the test rows")).toBeVisible();

    await page.evaluate(() => scrollTo(0, 0));
    // Down to the end of the loss chart.
    const clip = { x: 0, y: 0, width: 1280, height: 1430 };
    await page.screenshot({ path: "../docs/screenshot.png", fullPage: true, clip, animations: "disabled" });
  });

  await test.step("it looks the same after a restart", async () => {
    const steps = await chartSteps(page);
    await ayar.stop();
    await ayar.restart();
    await page.reload();
    await expect(matrix("Before")).toBeVisible();
    await expect(matrix("After")).toBeVisible();
    await expect.poll(() => chartSteps(page)).toEqual(steps);
  });

  await test.step("classify", async () => {
    await page.getByRole("link", { name: "Classify with it" }).click();
    await page.getByLabel("Texts").fill("Operating profit doubled to EUR 20 million\n\nThe factory will be closed in May\n");
    await page.getByRole("button", { name: "Classify" }).click();
    const answers = page.getByRole("region", { name: "Answers" });
    await expect(answers.getByRole("heading", { name: "With the adapter" })).toHaveCount(2);
    await expect(answers.getByRole("heading", { name: "Base without it" })).toHaveCount(2);
    await expect(answers).toContainText(/2 texts in \d+ ms with the adapter/);
    await expect(answers.getByText("neutral").first()).toBeVisible();
  });
});
