// Every page for every person: automated accessibility checks in light and dark, narrow screens, keyboard alone.

import { expect, importDataset, LOST_CONNECTION, sampleRows, seriousViolations, startRun, test, toCsv } from "./ayar";

test("all pages, in light and dark, wide and narrow", async ({ page, complaints }) => {
  test.setTimeout(300_000);
  complaints.expect(LOST_CONNECTION, /status of 404/);
  await importDataset(page, "pages", toCsv(sampleRows(40)) + ",positive\n");
  const dataset = new URL(page.url()).pathname;
  await page.getByRole("link", { name: "Fine-tune on this" }).click();
  await startRun(page, { epochs: 2 });
  const run = new URL(page.url()).pathname;
  await expect(page.getByLabel("Where the run stands").getByText("finished", { exact: true })).toBeVisible({ timeout: 90_000 });
  const id = run.split("/").at(-1);

  const addresses = [
    "/",
    "/datasets",
    "/datasets/new",
    dataset,
    "/models",
    "/runs",
    "/runs/new",
    run,
    `/classify?run=${id}&texts=Sales+rose`,
    "/nowhere",
  ];
  for (const address of addresses) {
    for (const colorScheme of ["light", "dark"] as const) {
      await test.step(`${address}, ${colorScheme}`, async () => {
        await page.emulateMedia({ colorScheme, reducedMotion: "reduce" });
        await page.setViewportSize({ width: 1280, height: 900 });
        await page.goto(address, { waitUntil: "networkidle" });
        expect.soft(await seriousViolations(page), `${address}, ${colorScheme}`).toEqual([]);
        await page.screenshot({ path: picture(address, colorScheme, "wide"), fullPage: true });

        await page.setViewportSize({ width: 390, height: 844 });
        await page.waitForTimeout(300);
        const [wide, room] = await page.evaluate(() => [document.documentElement.scrollWidth, innerWidth]);
        expect.soft(wide, `${address} at 390 pixels`).toBeLessThanOrEqual(room);
        await page.screenshot({ path: picture(address, colorScheme, "narrow"), fullPage: true });
      });
    }
  }
});

function picture(address: string, colorScheme: string, width: string): string {
  const name = address.split("?")[0].replaceAll("/", "-").replace(/^-/, "") || "overview";
  return `test-results/pages/${name}-${colorScheme}-${width}.png`;
}

test("the keyboard alone starts a run", async ({ page, complaints }) => {
  complaints.expect(LOST_CONNECTION);
  const press = async (key: string, until: () => Promise<boolean>, most = 80) => {
    for (let times = 0; times < most; times++) {
      if (await until()) return;
      await page.keyboard.press(key);
    }
    throw new Error(`${key} ${most} times did not lead there; the focus is on ${await focused()}`);
  };
  const focused = () => page.evaluate(() => document.activeElement?.textContent?.trim().slice(0, 80) ?? "nothing");
  const isFocused = (words: RegExp) => async () => words.test(await focused());

  await page.goto("/");
  // The first stop of all leads past the navigation.
  await page.keyboard.press("Tab");
  expect(await focused()).toBe("Skip to content");
  await page.keyboard.press("Enter");
  await press("Tab", isFocused(/^Start a run/));
  await page.keyboard.press("Enter");
  await expect(page).toHaveURL(/\/runs\/new/);
  await press("Tab", isFocused(/^Small base, quick/));
  await page.keyboard.press("Enter");
  await expect(page.getByLabel("Learning rate", { exact: true })).toHaveValue("1e-3");
  await press("Tab", async () => (await page.evaluate(() => document.activeElement?.id)) === "run-num_train_epochs");
  await page.keyboard.press("ControlOrMeta+a");
  await page.keyboard.type("1");
  await press("Tab", isFocused(/^Start the run/));
  await page.keyboard.press("Enter");
  await expect(page).toHaveURL(/\/runs\/\d+$/);
  await press("Tab", isFocused(/^Cancel/));
  await page.keyboard.press("Enter");
  await expect(page.getByLabel("Where the run stands").getByText("cancelled", { exact: true })).toBeVisible({ timeout: 60_000 });
});

test("the choice between light and dark stays", async ({ page }) => {
  await page.emulateMedia({ colorScheme: "light" });
  await page.goto("/");
  const ink = () => page.evaluate(() => getComputedStyle(document.body).color);
  const light = await ink();
  await page.getByRole("button", { name: "Light / dark" }).click();
  await expect.poll(ink).not.toBe(light);
  const dark = await ink();
  await page.reload();
  expect(await ink()).toBe(dark);
});
