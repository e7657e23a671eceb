// What a run's answers come to: scores with intervals, confidence, matrices that lead to rows, reasons, two runs beside
// each other, and what is saved.

import { expect, importDataset, sampleRows, seriousViolations, startRun, test, toCsv } from "./ayar";

test("a run is judged, and two are compared", async ({ page }) => {
  await test.step("two runs", async () => {
    await importDataset(page, "judged", toCsv(sampleRows(100)));
    const dataset = page.url();
    for (const [name, epochs] of [["Short", 1], ["Long", 6]] as const) {
      await page.goto(dataset);
      await page.getByRole("link", { name: "Fine-tune on this" }).click();
      await startRun(page, { epochs, name });
    }
    await expect(page.getByLabel("Where the run stands").getByText("finished", { exact: true })).toBeVisible({
      timeout: 150_000,
    });
  });

  await test.step("scores stand there before any script", async () => {
    const html = await (await page.request.get(page.url())).text();
    for (const words of ["Balanced accuracy", "Matthews correlation", "95 % intervals", "McNemar", "Calibration error"]) {
      expect(html).toContain(words);
    }
    const scores = page.getByRole("region", { name: "Scores with their intervals" });
    await expect(scores.getByRole("row", { name: /^Accuracy/ })).toContainText(/\d\d\.\d %/);
  });

  await test.step("the threshold works on the answers in the page", async () => {
    const requests: string[] = [];
    page.on("request", (request) => requests.push(request.url()));
    const stat = (name: string) => page.locator(".stat", { hasText: name }).locator(".stat-value").first();
    await expect(stat("Answered")).toHaveText("100.0 %");
    await page.getByLabel("Abstain below a confidence of").fill("70");
    await expect(stat("Answered")).not.toHaveText("100.0 %");
    await expect(page.getByRole("img", { name: /^At a least confidence of 70 %/ })).toBeVisible();
    expect(requests.filter((url) => url.includes("/api/"))).toEqual([]);
    await page.screenshot({ path: "test-results/run.png", fullPage: true, animations: "disabled" });
  });

  await test.step("charts are saved as pictures", async () => {
    for (const kind of ["PNG", "SVG"]) {
      const saving = page.waitForEvent("download");
      await page.getByRole("button", { name: `Save the chart Right, by confidence as ${kind}` }).click();
      const saved = await saving;
      expect(saved.suggestedFilename()).toBe(`chart-reliability.${kind.toLowerCase()}`);
    }
  });

  await test.step("a cell leads to its rows, by keyboard", async () => {
    const matrix = page.getByRole("region", { name: "After training: confusion matrix" });
    const cell = matrix.getByRole("link").first();
    const count = Number(await cell.locator(".confusion-count").textContent());
    await cell.focus();
    await page.keyboard.press("Enter");
    await expect(page).toHaveURL(/true=\d+&answer=\d+#test-rows$/);
    await expect(page.getByText(new RegExp(`^${count} of \\d+ test rows$`))).toBeVisible();

    await page.getByLabel("In order of").selectOption("confidence");
    await page.getByLabel("largest first").check();
    await page.getByRole("button", { name: "Show", exact: true }).click();
    await expect(page).toHaveURL(/order=confidence&down=1/);
    const rows = page.getByRole("region", { name: "Test rows" });
    await expect(rows.getByRole("columnheader", { name: /^After/ })).toHaveAttribute("aria-sort", "descending");
    const href = await page.getByRole("link", { name: "CSV", exact: true }).getAttribute("href");
    const csv = await (await page.request.get(href!)).text();
    expect(csv.trim().split("\r\n").length).toBe(count + 1);
  });

  await test.step("why", async () => {
    const row = page.getByRole("region", { name: "Test rows" }).getByRole("row").nth(1);
    await row.getByText("Why", { exact: true }).click();
    // A headline may begin so, too.
    await expect(row.locator(".shaded p", { hasText: /^(For|No)/ })).toBeVisible();
    await expect(row.locator(".shaded-word").first()).toBeVisible();
    await row.getByLabel("How").selectOption("gradient");
    await expect(row.getByText(/an estimate/)).toBeVisible();
    await page.screenshot({ path: "test-results/rows.png", fullPage: true, animations: "disabled" });
    expect(await seriousViolations(page)).toEqual([]);
  });

  await test.step("the report prints from one file", async () => {
    const report = await page.request.get(page.url().replace(/\?.*/, "/report"));
    const html = await report.text();
    expect(report.headers()["content-type"]).toContain("text/html");
    expect(html).toContain("Matthews correlation");
    expect(html).not.toMatch(/<script|src=|href=/);
    await page.goto(page.url().replace(/\?.*/, "/report"));
    await page.screenshot({ path: "test-results/report.png", fullPage: true });
  });

  await test.step("two runs beside each other", async () => {
    await page.goto("/runs");
    await page.getByLabel("Compare Short").check();
    await page.getByLabel("Compare Long").check();
    await page.getByRole("button", { name: "Compare 2 runs" }).click();
    await expect(page).toHaveURL(/\/compare\?runs=/);
    const scores = page.getByRole("region", { name: "Scores of the runs" });
    await expect(scores.getByText("★").first()).toBeVisible();
    await expect(scores).toContainText(/significant/);
    await expect(page.getByRole("region", { name: "Settings that differ" })).toContainText("6");
    await expect(page.getByRole("img", { name: /^Training loss/ })).toBeVisible();
    await page.screenshot({ path: "test-results/compare.png", fullPage: true, animations: "disabled" });
    expect(await seriousViolations(page)).toEqual([]);
    await page.setViewportSize({ width: 390, height: 844 });
    expect(await page.evaluate(() => document.documentElement.scrollWidth)).toBeLessThanOrEqual(390);
    await page.screenshot({ path: "test-results/compare-phone.png", fullPage: true, animations: "disabled" });
    expect((await page.request.get("/compare?runs=1")).status()).toBe(200);
    expect((await page.request.get("/compare.csv?runs=1")).status()).toBe(400);
  });
});
