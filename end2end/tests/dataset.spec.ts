// The page of a dataset: what is wrong with it, the repairs, its rows, its versions, and the review of its labels.

import type { Page } from "@playwright/test";
import { expect, file, importDataset, sampleRows, seriousViolations, startRun, test, toCsv } from "./ayar";

type Row = { text: string; label: string };

const WORDS =
  "amber anchor basket bridge candle canyon carpet castle cedar clover copper cotton desert dragon ember falcon feather fiddle forest garden glacier harbour hazel helmet island ivory jacket jungle kettle ladder lantern lemon marble meadow mirror needle oyster paddle pepper pillar pocket quarry ribbon river saddle silver spider sugar temple thunder ticket tunnel velvet violet walnut whistle window winter yellow zephyr".split(" ");

/** 300 rows with known defects: 20 texts with both labels, 30 rows twice, 12 garbled texts. The same ones every time. */
function rowsWithDefects(): Row[] {
  let state = 7;
  const below = (limit: number) => {
    state = (Math.imul(state, 1103515245) + 12345) >>> 0;
    return Math.floor((state / 2 ** 32) * limit);
  };
  const rows: Row[] = Array.from({ length: 250 }, (_, index) => ({
    text: Array.from({ length: 12 }, () => WORDS[below(WORDS.length)]).join(" "),
    label: index % 2 === 0 ? "good" : "bad",
  }));
  for (let index = 100; index < 112; index++) rows[index].text += " from MÃ¼nchen";
  const contradicting = rows.slice(0, 20).map(({ text, label }) => ({ text, label: label === "good" ? "bad" : "good" }));
  const repeated = rows.slice(40, 70);
  return [...rows, ...contradicting, ...repeated];
}

const defects = toCsv(rowsWithDefects());

const health = (page: Page) => page.locator("#health");
const finding = (page: Page, kind: string) => page.locator(`#finding-${kind}`);
const news = (page: Page) => page.getByLabel("What has just happened");
const grid = (page: Page) => page.getByRole("grid", { name: "Rows" });
const gridRow = (page: Page, line: number) => grid(page).getByRole("row").filter({ has: page.getByRole("gridcell", { name: String(line), exact: true }) });

/** A figure of the health card. */
const figure = (page: Page, name: string) =>
  health(page).locator(".stat").filter({ has: page.getByText(name, { exact: true }) }).locator(".stat-value");

async function open(page: Page, kind: string) {
  if (!(await finding(page, kind).evaluate((details: HTMLDetailsElement) => details.open))) {
    await finding(page, kind).locator("summary").click();
  }
}

test("the report says what is wrong; a repair is looked at, applied and undone", async ({ page }) => {
  await importDataset(page, "defects", defects);
  await test.step("the figures", async () => {
    await expect(health(page)).toContainText(/Health: (fair|poor)/, { timeout: 30_000 });
    await expect(figure(page, "Rows")).toHaveText("300");
    await expect(figure(page, "Labels")).toHaveText("2");
    await expect(figure(page, "Highest possible accuracy")).toHaveText("93.3 %");
    await expect(finding(page, "contradictions").locator("summary")).toContainText("20 ");
    await expect(finding(page, "exact_duplicates").locator("summary")).toContainText("50 ");
    await expect(finding(page, "mojibake").locator("summary")).toContainText("12 ");
    await expect(page.getByRole("img", { name: /^Length of the texts: most have/ })).toBeVisible();
    await expect(page.locator("#chart-lengths canvas").first()).toBeVisible();
  });

  await test.step("what to do first leads to a finding and opens it", async () => {
    await page.getByRole("link", { name: /^What to do first/ }).click();
    await expect(page.locator("details.finding[open]")).toHaveCount(1);
  });

  await test.step("contradicting texts stand once, with both labels", async () => {
    await open(page, "contradictions");
    const first = finding(page, "contradictions").locator(".group").first();
    await expect(first).toContainText("good");
    await expect(first).toContainText("bad");
    await expect(finding(page, "contradictions").getByText("1 to 8 of 20 texts")).toBeVisible();
    await finding(page, "contradictions").getByRole("button", { name: "Next" }).click();
    await expect(finding(page, "contradictions").getByText("9 to 16 of 20 texts")).toBeVisible();
  });

  await test.step("garbled characters are marked before and after", async () => {
    await open(page, "mojibake");
    const group = finding(page, "mojibake").locator(".group").first();
    await expect(group.locator("mark").first()).toHaveText("Ã¼");
    await expect(group.locator("mark").last()).toHaveText("ü");
  });

  await test.step("preview", async () => {
    await finding(page, "contradictions").getByRole("button", { name: /^Preview/ }).first().click();
    const preview = page.getByRole("region", { name: /^Preview/ });
    await expect(preview.getByRole("status")).toContainText("20 rows removed");
    await expect(preview.getByText("and 14 more rows")).toBeVisible();
    // Nothing has happened yet.
    await expect(figure(page, "Rows")).toHaveText("300");
  });

  await test.step("apply", async () => {
    await page.getByLabel("Your name").fill("Ada");
    await page.getByRole("region", { name: /^Preview/ }).getByRole("button", { name: "Apply" }).click();
    await expect(news(page)).toContainText("Version 2: 20 rows removed.");
    await expect(figure(page, "Rows")).toHaveText("280");
    await expect(finding(page, "contradictions")).toHaveCount(0, { timeout: 30_000 });
    await expect(figure(page, "Highest possible accuracy")).toHaveText("100.0 %");
    await expect(page.locator("#versions li").first()).toContainText(/Version 2 Contradictions: .*by Ada/s);
  });

  await test.step("undo", async () => {
    await news(page).getByRole("button", { name: "Undo" }).click();
    await expect(news(page)).toContainText("Version 3: 20 rows added.");
    await expect(figure(page, "Rows")).toHaveText("300");
    await expect(finding(page, "contradictions")).toBeVisible({ timeout: 30_000 });
    const hashes = page.locator("#versions .mono");
    expect(await hashes.first().getAttribute("title")).toBe(await hashes.last().getAttribute("title"));
  });

  await test.step("an older version can be looked at, and not edited", async () => {
    await page.locator("#versions li").nth(1).getByRole("link", { name: "Look at it" }).click();
    await expect(page).toHaveURL(/version=2/);
    await expect(page.getByText("This is version 2")).toBeVisible();
    await expect(page.locator("#rows").getByText("280 rows", { exact: true })).toBeVisible();
    await expect(grid(page).getByRole("button", { name: /^Edit/ })).toHaveCount(0);
    await page.getByRole("link", { name: "To the newest, version 3" }).click();
    await expect(page.locator("#rows").getByText("300 rows", { exact: true })).toBeVisible();
  });
});

test("rows are searched, filtered, walked through by keyboard and edited in place", async ({ page }) => {
  await importDataset(page, "rows", defects);
  await expect(grid(page)).toHaveAttribute("aria-rowcount", "301");

  await test.step("search as you type", async () => {
    await page.getByLabel("Search in the texts").pressSequentially("münchen");
    await expect(page.locator("#rows")).toContainText("0 rows with “münchen”");
    await page.getByLabel("Search in the texts").fill("nchen");
    await expect(page.locator("#rows")).toContainText("12 rows with “nchen”");
    await expect(page).toHaveURL(/q=nchen/);
    await expect(grid(page).locator("mark").first()).toHaveText("nchen");
    await page.reload();
    await expect(grid(page)).toHaveAttribute("aria-rowcount", "13");
    await page.getByRole("link", { name: "Show all" }).click();
    await expect(page.getByLabel("Search in the texts")).toHaveValue("");
    await expect(grid(page)).toHaveAttribute("aria-rowcount", "301");
  });

  await test.step("filters", async () => {
    await page.getByLabel("Only this label").selectOption("bad");
    await expect(page.locator("#rows")).toContainText(/\d+ rows with the label bad/);
    await page.getByLabel("Only this label").selectOption("");
    await expect(health(page)).toContainText(/Health: (fair|poor)/, { timeout: 30_000 });
    await page.getByLabel("Only this finding").selectOption("contradictions");
    await expect(page.locator("#rows")).toContainText("40 rows with the finding “Contradictions”");
    await page.getByLabel("Only this finding").selectOption("");
    await expect(grid(page)).toHaveAttribute("aria-rowcount", "301");
  });

  await test.step("keyboard", async () => {
    await grid(page).focus();
    await page.keyboard.press("End");
    await expect(grid(page).locator(".is-active")).toHaveAttribute("aria-rowindex", "301");
    await expect(grid(page).locator(".is-active")).toContainText("301");
    await page.keyboard.press("Home");
    await page.keyboard.press("ArrowDown");
    await page.keyboard.press("ArrowDown");
    await expect(grid(page).locator(".is-active")).toHaveAttribute("aria-rowindex", "4");
    await page.keyboard.press("Enter");
    await expect(page.getByRole("form", { name: "Edit: Line 4" })).toBeVisible();
    await page.keyboard.press("Escape");
    await expect(page.getByRole("form", { name: /^Edit/ })).toHaveCount(0);
    await expect(grid(page)).toBeFocused();
  });

  await test.step("edit the text, save with Enter", async () => {
    await page.keyboard.press("Enter");
    await page.getByLabel("Text, line 4").fill("a text that was mended by hand");
    await page.keyboard.press("Enter");
    await expect(news(page)).toContainText("Version 2: 1 row rewritten.");
    await expect(gridRow(page, 4)).toContainText("a text that was mended by hand");
  });

  await test.step("drop a row, and have it back", async () => {
    await gridRow(page, 5).getByRole("button", { name: "Edit" }).click();
    await page.getByRole("button", { name: "Drop the row" }).click();
    await expect(news(page)).toContainText("Version 3: 1 row removed.");
    await expect(gridRow(page, 5)).toHaveCount(0);
    await news(page).getByRole("button", { name: "Undo" }).click();
    await expect(gridRow(page, 5)).toBeVisible();
  });
});

test("two people edit the same row: the second is told, nothing is overwritten", async ({ page, browser, ayar, complaints }) => {
  complaints.expect(/status of 409/);
  await importDataset(page, "shared", defects);
  await page.getByLabel("Your name").fill("Ada");
  const other = await browser.newContext({ baseURL: ayar.url });
  const second = await other.newPage();
  await second.goto(new URL(page.url()).pathname);
  await second.getByLabel("Your name").fill("Ben");

  for (const viewer of [page, second]) {
    await gridRow(viewer, 3).getByRole("button", { name: "Edit" }).click();
    await expect(viewer.getByRole("form", { name: "Edit: Line 3" })).toBeVisible();
  }
  await page.getByLabel("Text, line 3").fill("Ada's words");
  await page.getByRole("button", { name: "Save", exact: true }).click();
  await expect(news(page)).toContainText("Version 2: 1 row rewritten.");

  await second.getByLabel("Text, line 3").fill("Ben's words");
  await second.getByRole("button", { name: "Save", exact: true }).click();
  await expect(second.getByRole("form", { name: "Edit: Line 3" })).toContainText("Ada has changed this row in version 2");
  await expect(second.getByRole("form", { name: "Edit: Line 3" })).toContainText("Ada's words");
  // Having seen it, the second may still want theirs.
  await second.getByRole("button", { name: "Save mine all the same" }).click();
  await expect(news(second)).toContainText("Version 3: 1 row rewritten.");
  // And the first hears of it.
  await expect(news(page)).toContainText("Ben made version 3: 1 row rewritten.");
  await expect(gridRow(page, 3)).toContainText("Ben's words");
  await other.close();
});

test("labels are reviewed by two people at once", async ({ page, browser, ayar, complaints }) => {
  test.setTimeout(420_000);
  complaints.expect(/status of 409/);
  const rows = sampleRows(60);
  // Some labels are wrong, so that there is something to doubt.
  rows.forEach((row, index) => (row.label = index % 9 === 0 ? "positive" : row.label));
  await importDataset(page, "doubtful", toCsv(rows));
  await page.getByRole("link", { name: "Fine-tune on this" }).click();
  await startRun(page, { epochs: 4, name: "To check with" });
  await expect(page.getByLabel("Where the run stands").getByText("finished", { exact: true })).toBeVisible({ timeout: 180_000 });

  await page.goto("/datasets");
  await page.getByRole("link", { name: "doubtful" }).click();
  await page.getByLabel("Parts, each a run").selectOption("2");
  await page.getByRole("button", { name: "Start the check" }).click();
  await page.getByRole("link", { name: "Review the labels" }).click({ timeout: 240_000 });
  await expect(page.getByRole("heading", { name: /^Row 1 of/ })).toBeVisible();

  const other = await browser.newContext({ baseURL: ayar.url });
  const second = await other.newPage();
  await second.goto(page.url());
  await page.getByLabel("Your name").fill("Ada");
  await page.getByLabel("Your name").press("Tab");
  await expect(second.getByText("Ada looks at this row, too.")).toBeVisible();
  await second.getByLabel("Your name").fill("Ben");
  await second.getByLabel("Your name").press("Tab");

  await test.step("one accepts; the other is told and overwrites nothing", async () => {
    await page.keyboard.press("a");
    await expect(page.getByText(/^1 of \d+ rows decided$/)).toBeVisible();
    await expect(page.getByRole("heading", { name: /^Row 2 of/ })).toBeVisible();
    await expect(second.getByText("Ada decided: the label stands.")).toBeVisible();
    await second.keyboard.press("d");
    await expect(second.getByText("Ada has decided on this row already")).toBeVisible();
  });

  await test.step("relabel, take back, drop", async () => {
    await page.keyboard.press("d");
    await expect(page.getByText(/^2 of \d+ rows decided$/)).toBeVisible();
    await page.keyboard.press("u");
    await expect(page.getByText(/^1 of \d+ rows decided$/)).toBeVisible();
    await expect(page.getByRole("heading", { name: /^Row 2 of/ })).toBeVisible();
    await page.keyboard.press("d");
    await expect(page.getByText(/^2 of \d+ rows decided$/)).toBeVisible();
    await page.screenshot({ path: "test-results/pages/review-light-wide.png", fullPage: true });
    expect.soft(await seriousViolations(page)).toEqual([]);
  });

  await test.step("narrow and dark", async () => {
    await page.emulateMedia({ colorScheme: "dark", reducedMotion: "reduce" });
    await page.setViewportSize({ width: 390, height: 844 });
    const [wide, room] = await page.evaluate(() => [document.documentElement.scrollWidth, innerWidth]);
    expect.soft(wide, "at 390 pixels").toBeLessThanOrEqual(room);
    expect.soft(await seriousViolations(page)).toEqual([]);
    await page.screenshot({ path: "test-results/pages/review-dark-narrow.png", fullPage: true });
  });

  await test.step("the decisions become a version", async () => {
    await page.getByRole("button", { name: "Make a version of 2 decisions" }).click();
    await expect(page.getByText("Version 2 is there")).toBeVisible();
    await page.getByRole("link", { name: "Look at it" }).click();
    await expect(page.locator("#versions li").first()).toContainText("Decisions of label check");
  });
  await other.close();
});

test("wide, narrow, light and dark", async ({ page }) => {
  await importDataset(page, "defects", `${defects}"",good\n`);
  await expect(health(page)).toContainText(/Health: (fair|poor)/, { timeout: 30_000 });
  for (const colorScheme of ["light", "dark"] as const) {
    await page.emulateMedia({ colorScheme, reducedMotion: "reduce" });
    for (const [name, width, height] of [["wide", 1280, 900], ["narrow", 390, 844]] as const) {
      await page.setViewportSize({ width, height });
      await page.reload({ waitUntil: "networkidle" });
      await open(page, "contradictions");
      await open(page, "mojibake");
      await finding(page, "contradictions").getByRole("button", { name: /^Preview/ }).first().click();
      await expect(page.getByRole("region", { name: /^Preview/ })).toBeVisible();
      const [wide, room] = await page.evaluate(() => [document.documentElement.scrollWidth, innerWidth]);
      expect.soft(wide, `${name}, ${colorScheme}`).toBeLessThanOrEqual(room);
      expect.soft(await seriousViolations(page), `${name}, ${colorScheme}`).toEqual([]);
      await page.screenshot({ path: `test-results/pages/dataset-${colorScheme}-${name}.png`, fullPage: true });
      await gridRow(page, 3).getByRole("button", { name: "Edit" }).click();
      await expect(page.getByRole("form", { name: "Edit: Line 3" })).toBeVisible();
      expect.soft(await seriousViolations(page), `editor, ${name}, ${colorScheme}`).toEqual([]);
      await page.locator("#rows").screenshot({ path: `test-results/pages/dataset-editor-${colorScheme}-${name}.png` });
    }
  }
});

test.describe("without a script", () => {
  test.use({ javaScriptEnabled: false });

  test("the report, the search and the pages of rows are there", async ({ page, complaints }) => {
    complaints.expect(/preloaded using link preload but not used/);
    await page.goto("/datasets/new");
    await page.locator('input[type="file"]').setInputFiles(file("plain.csv", defects));
    await page.getByRole("button", { name: "Upload" }).click();
    await page.getByRole("button", { name: "Import" }).click();
    await expect(page.getByRole("heading", { level: 1, name: "plain" })).toBeVisible();
    await expect(async () => {
      await page.reload();
      await expect(finding(page, "contradictions")).toBeVisible({ timeout: 500 });
    }).toPass({ timeout: 30_000 });
    await expect(page.locator(".plain-rows").getByRole("row")).toHaveCount(101);
    await page.getByRole("link", { name: "Next" }).click();
    await expect(page).toHaveURL(/page=2/);
    await page.getByLabel("Search in the texts").fill("nchen");
    await page.getByRole("button", { name: "Search" }).click();
    await expect(page.getByText("12 rows with “nchen”")).toBeVisible();
  });
});
