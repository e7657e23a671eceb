// Without JavaScript the pages do the same work, as plain forms and links.

import { expect, file, sampleRows, test, toCsv } from "./ayar";

test.use({ javaScriptEnabled: false });

// The page asks for its script ahead of time; that nobody takes it up is the point here.
test.beforeEach(({ complaints }) => complaints.expect(/preloaded using link preload but not used/));

test("upload, train and classify without a script", async ({ page }) => {
  await page.goto("/datasets/new");
  await page.locator('input[type="file"]').setInputFiles(file("plain.csv", toCsv(sampleRows(30))));
  await page.getByRole("button", { name: "Upload" }).click();
  await expect(page).toHaveURL(/\/datasets\/new\?upload=/);
  await expect(page.getByRole("region", { name: "First rows of the file" })).toBeVisible();
  await page.getByRole("button", { name: "Import" }).click();
  await expect(page.getByRole("heading", { level: 1, name: "plain" })).toBeVisible();

  await page.getByRole("link", { name: "Fine-tune on this" }).click();
  await page.getByRole("link", { name: "Small base, quick" }).click();
  await page.getByLabel("Epochs", { exact: true }).fill("1");
  await page.getByRole("button", { name: "Start the run" }).click();
  await expect(page).toHaveURL(/\/runs\/\d+$/);
  await expect(async () => {
    await page.reload();
    await expect(page.getByLabel("Where the run stands").getByText("finished", { exact: true })).toBeVisible({ timeout: 500 });
  }).toPass({ timeout: 90_000 });
  await expect(page.getByRole("region", { name: "Before training: confusion matrix" })).toBeVisible();
  await expect(page.getByRole("region", { name: "After training: confusion matrix" })).toBeVisible();

  await page.getByRole("link", { name: "Classify with it" }).click();
  await page.getByLabel("Texts").fill("Sales rose by a tenth");
  await page.getByRole("button", { name: "Classify" }).click();
  await expect(page.getByRole("region", { name: "Answers" })).toContainText("With the adapter");
});

test("a refused file says why", async ({ page }) => {
  await page.goto("/datasets/new");
  await page.locator('input[type="file"]').setInputFiles(file("book.csv", Buffer.from("504b0304140000000800786c2f", "hex")));
  await page.getByRole("button", { name: "Upload" }).click();
  await expect(page.getByRole("alert")).toContainText("unpacked");
});
