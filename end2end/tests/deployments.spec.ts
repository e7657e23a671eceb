// A run gets a name, programs ask it, another run is tried out and takes over, and everybody with the link may try it.

import { expect, importDataset, sampleRows, seriousViolations, startRun, test, toCsv } from "./ayar";

test("a deployment is made, asked, moved and rolled back", async ({ page, ayar, request, browser }) => {
  await importDataset(page, "news", toCsv(sampleRows(60)));
  const dataset = page.url();
  for (const name of ["first", "second"]) {
    await page.goto(dataset);
    await page.getByRole("link", { name: "Fine-tune on this" }).click();
    await startRun(page, { epochs: 1, name });
    await expect(page.getByLabel("Where the run stands").getByText("finished", { exact: true })).toBeVisible({
      timeout: 120_000,
    });
  }

  await page.goto(`${ayar.url}/deployments`);
  await expect(page.getByText("No deployments yet")).toBeVisible();
  await page.getByLabel("Name", { exact: true }).fill("headlines");
  await page.getByLabel("Version", { exact: true }).selectOption("run-1");
  await page.getByRole("button", { name: "Deploy" }).click();
  await expect(page).toHaveURL(/\/deployments\/headlines$/);
  await expect(page.getByText("first answers.")).toBeVisible();

  const ask = async () => {
    const answer = await request.post(`${ayar.url}/v1/classify`, { data: { model: "headlines", text: "Profit rose." } });
    expect(answer.status()).toBe(200);
    return (await answer.json()).version;
  };
  expect(await ask()).toBe("run-1");

  // Half of the requests go to the second run; both answer them.
  await page.getByLabel("Try out").selectOption("run-2");
  await page.getByLabel("Percent of the requests").fill("50");
  await page.getByRole("button", { name: "Try out" }).click();
  await expect(page.getByText("second answers 50 % of the requests.")).toBeVisible();
  const versions = [];
  for (let number = 0; number < 4; number++) versions.push(await ask());
  expect(versions.filter((version) => version === "run-2")).toHaveLength(2);
  await expect(page.getByText(/Both versions say the same of \d of 2 texts/)).toBeVisible();
  await page.screenshot({ path: "test-results/deployment.png", fullPage: true });
  expect(await seriousViolations(page)).toEqual([]);

  await page.getByRole("button", { name: "Give it all requests" }).click();
  await expect(page.getByText("second answers.")).toBeVisible();
  expect(await ask()).toBe("run-2");
  await page.getByRole("button", { name: "Roll back to first" }).click();
  await expect(page.getByText("first answers.")).toBeVisible();
  await expect(page.getByRole("row", { name: /rolled back/ })).toBeVisible();
  expect(await ask()).toBe("run-1");

  // A demo, on a phone and without a script.
  await page.getByLabel("Title").fill("Try our headlines");
  await page.getByRole("button", { name: "Make a link" }).click();
  const link = page.getByRole("link", { name: "Try our headlines" });
  await expect(link).toBeVisible();
  const address = await link.getAttribute("href");
  for (const javaScriptEnabled of [true, false]) {
    const phone = await browser.newContext({
      baseURL: ayar.url,
      viewport: { width: 390, height: 700 },
      javaScriptEnabled,
    });
    const demo = await phone.newPage();
    await demo.goto(address!);
    await expect(demo.getByRole("heading", { name: "Try our headlines" })).toBeVisible();
    await demo.getByLabel("Text").fill("Profit rose by a third.");
    await demo.getByRole("button", { name: "Classify" }).click();
    await expect(demo.locator(".label")).toHaveText(/positive|neutral|negative/);
    if (javaScriptEnabled) {
      await demo.screenshot({ path: "test-results/demo.png" });
      expect(await demo.evaluate(() => document.documentElement.scrollWidth)).toBeLessThanOrEqual(390);
    }
    await phone.close();
  }

  // The page of the API sends what is typed.
  await page.goto(`${ayar.url}/docs`);
  const first = page.locator("article").first();
  await first.getByRole("button", { name: "Send" }).click();
  await expect(first.getByRole("status")).toHaveText(/^200 after/);
  await page.screenshot({ path: "test-results/docs.png" });

  await page.goto(`${ayar.url}/deployments/headlines`);
  await page.getByRole("button", { name: "Revoke the link to Try our headlines" }).click();
  await expect(page.getByText("revoked", { exact: true })).toBeVisible();
  expect((await request.get(`${ayar.url}${address}`)).status()).toBe(404);

  await page.setViewportSize({ width: 390, height: 800 });
  expect(await page.evaluate(() => document.documentElement.scrollWidth)).toBeLessThanOrEqual(390);
  await page.screenshot({ path: "test-results/deployment-phone.png", fullPage: true });
});
