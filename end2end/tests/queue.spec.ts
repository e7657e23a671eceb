// The queue of runs: paused, reordered and gone on with, by plain forms.

import { expect, importDataset, sampleRows, seriousViolations, startRun, test, toCsv } from "./ayar";

test("the queue is paused, reordered and gone on with", async ({ page }) => {
  await importDataset(page, "queued", toCsv(sampleRows(20)));
  const card = page.locator("section, .card").filter({ has: page.getByRole("heading", { name: "Queue" }) }).first();

  await test.step("one is at work, the others wait in their order", async () => {
    for (const name of ["first", "second", "third"]) {
      await page.goto("/runs/new");
      await startRun(page, { name, epochs: name === "first" ? 60 : 1 });
    }
    await page.goto("/runs");
    await expect(card.getByText("2 runs wait in this order; 1 is at work.")).toBeVisible();
    await expect(card.getByRole("listitem")).toContainText(["second", "third"]);
    expect(await seriousViolations(page)).toEqual([]);
    await page.screenshot({ path: "test-results/queue-light.png", fullPage: true });
  });

  await test.step("by hand another one comes first", async () => {
    await card.getByRole("button", { name: "Move third to the front" }).click();
    await expect(card.getByRole("listitem")).toContainText(["third", "second"]);
    await card.getByRole("combobox", { name: "Priority of second" }).selectOption("high");
    await card.getByRole("button", { name: "Set the priority of second" }).click();
    await expect(card.getByRole("listitem")).toContainText(["second", "third"]);
  });

  await test.step("paused, nothing new is taken up; then it goes on in that order", async () => {
    await card.getByRole("button", { name: "Pause the queue" }).click();
    await expect(page.getByText("The queue is paused")).toBeVisible();
    await page.emulateMedia({ colorScheme: "dark" });
    await page.setViewportSize({ width: 390, height: 844 });
    const overflow = await page.evaluate(() => document.documentElement.scrollWidth - innerWidth);
    expect(overflow).toBeLessThanOrEqual(0);
    expect(await seriousViolations(page)).toEqual([]);
    await page.screenshot({ path: "test-results/queue-dark.png", fullPage: true });
    await page.emulateMedia({ colorScheme: "light" });
    await page.setViewportSize({ width: 1280, height: 900 });
    await page.getByRole("link", { name: "first", exact: true }).first().click();
    await page.getByRole("button", { name: "Cancel", exact: true }).click();
    await expect(page.getByText("cancelled", { exact: true }).first()).toBeVisible();
    await page.goto("/runs");
    await expect(card.getByText("2 runs wait in this order.")).toBeVisible();
    await page.getByRole("button", { name: "Go on with the queue" }).click();
    await expect(page.getByText("The queue is paused")).toHaveCount(0);
    await expect(page.getByRole("row", { name: /third/ }).getByText("finished", { exact: true })).toBeVisible({
      timeout: 120_000,
    });
  });
});
