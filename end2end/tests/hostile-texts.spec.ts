// Texts and labels that are markup, script or SQL: shown as they are, run nowhere.

import { expect, importDataset, test, toCsv } from "./ayar";

const LABELS = [`<script>window.hurt = "label"</script>`, `'; DROP TABLE datasets; --`];
const TEXTS = [`<img src=x onerror="window.hurt = 'text'">`, `"><svg onload="window.hurt = 'svg'">`];

test("markup, script and SQL in texts and labels are texts and labels", async ({ page, complaints }) => {
  const rows = Array.from({ length: 40 }, (_, index) => ({
    text: `${TEXTS[index % 2]} number ${index}`,
    label: LABELS[index % 2],
  }));
  const name = `<b onclick="window.hurt='name'">bold<b>`;
  await importDataset(page, name, toCsv(rows));
  await expect(page.getByText(LABELS[0]).first()).toBeVisible();
  await expect(page.getByText(LABELS[1]).first()).toBeVisible();
  await expect(page.getByText(TEXTS[0]).first()).toBeVisible();
  expect(await page.locator("main img, main b[onclick], main svg[onload]").count()).toBe(0);
  await page.goto("/datasets");
  await expect(page.getByText(name).first()).toBeVisible();
  expect(await page.evaluate(() => (window as any).hurt)).toBeUndefined();

  await test.step("and had one become part of the page, the policy would not let it run", async () => {
    complaints.expect(/Content Security Policy/);
    await page.evaluate(() => {
      const script = document.createElement("script");
      script.textContent = "window.hurt = 'inline'";
      document.body.append(script);
      const place = document.createElement("div");
      place.innerHTML = `<img src="data:," onerror="window.hurt = 'attribute'">`;
      document.body.append(place);
    });
    await page.waitForTimeout(500);
    expect(await page.evaluate(() => (window as any).hurt)).toBeUndefined();
  });
});
