// What goes wrong is said where the person is looking, and loses nothing.

import { expect, file, importDataset, sampleRows, test, toCsv } from "./ayar";

// Answers with an error status are what these tests are about; Chromium notes each of them.
test.beforeEach(({ complaints }) => complaints.expect(/Failed to load resource: the server responded with a status of 4/));

const rows = (label: (index: number) => string) => sampleRows(5).map(({ text }, index) => ({ text, label: label(index) }));

test("a file that is no table", async ({ page }) => {
  await page.goto("/datasets/new");
  const png = Buffer.from("89504e470d0a1a0a0000000d49484452000000010000000108060000001f15c489", "hex");
  await page.getByLabel("Drop a file here, or choose one").setInputFiles(file("picture.csv", png));
  await expect(page.getByRole("alert")).toContainText("no table; it seems to be a PNG image");
  // It can be read in another way all the same, which here is no better.
  await page.getByLabel("Format").selectOption({ label: "Parquet" });
  await page.getByRole("button", { name: "Read it this way" }).click();
  await expect(page.getByRole("alert")).toContainText("The Parquet file cannot be read");
  await expect(page.getByLabel("Format")).toHaveValue("parquet");
  await page.getByRole("link", { name: "Read it as detected" }).click();
  await expect(page.getByRole("alert")).toContainText("a PNG image");
  // The next try is not hindered by the first.
  await page.getByRole("link", { name: "Upload another file" }).click();
  await page.getByLabel("Drop a file here, or choose one").setInputFiles(file("good.csv", toCsv(sampleRows(5))));
  await expect(page.getByRole("button", { name: "Import" })).toBeVisible();
});

for (const [what, content, message] of [
  ["one label only", toCsv(rows(() => "same")), /Every row has the label "same"/],
  ["a label that stands on one row", toCsv(rows((index) => ["a", "b", "rare"][index === 0 ? 2 : index % 2])), /Label "rare" stands on one row only/],
] as const) {
  test(what, async ({ page }) => {
    await page.goto("/datasets/new");
    await page.getByLabel("Drop a file here, or choose one").setInputFiles(file("labels.csv", content));
    await page.getByRole("button", { name: "Import" }).click();
    await expect(page.getByRole("alert")).toContainText(message);
    // Still on the preview, the upload at hand.
    await expect(page.getByRole("region", { name: "First rows of the file" })).toBeVisible();
    await page.goto("/datasets");
    await expect(page.getByRole("link", { name: "labels" })).toHaveCount(0);
  });
}

test("a template without its placeholder, and a knob out of range", async ({ page }) => {
  await importDataset(page, "small", toCsv(sampleRows(20)));
  await page.getByRole("link", { name: "Fine-tune on this" }).click();
  await page.getByRole("link", { name: "Small base, quick" }).click();
  await page.getByText("Edit the template").click();
  await page.getByLabel("Template").fill("What is the mood?");
  await expect(page.getByText("The template has no {text} placeholder.").first()).toBeVisible();
  await page.getByLabel("LoRA rank").fill("many");
  await page.getByRole("button", { name: "Start the run" }).click();
  const summary = page.getByRole("alert");
  await expect(summary).toContainText("placeholder");
  await expect(summary).toContainText("many");
  await expect(page).toHaveURL(/\/runs\/new/);
  await page.goto("/runs");
  await expect(page.getByText("No runs yet")).toBeVisible();
});

test("addresses that lead nowhere say so, with the status code that programs look at", async ({ page }) => {
  for (const [address, words] of [
    ["/nowhere", "no page at this address"],
    ["/runs/999", "no run"],
    ["/datasets/999", "no dataset"],
  ]) {
    const response = await page.goto(address);
    expect(response?.status(), address).toBe(404);
    await expect(page.locator("main")).toContainText(words, { ignoreCase: true });
  }
});

test("what another site's page sends is refused", async ({ page, ayar }) => {
  const from = (origin: string) =>
    page.request.post("/api/upload", {
      headers: { origin },
      multipart: { file: { name: "a.csv", mimeType: "text/csv", buffer: Buffer.from(toCsv(sampleRows(2))) } },
    });
  expect((await from("http://elsewhere.example")).status()).toBe(403);
  expect((await from(ayar.url)).ok()).toBe(true);
});
