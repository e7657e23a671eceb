// Every kind of file comes in, every detection can be corrected, and a connection that breaks costs nothing.

import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { crc32, deflateRawSync, gzipSync } from "node:zlib";
import type { Page } from "@playwright/test";
import { Ayar, expect, file, importDataset, root, sampleRows, seriousViolations, test, toCsv } from "./ayar";
import { Hub } from "./hub";

const fixture = (name: string) => readFileSync(join(root, "end2end/fixtures", name));
const rows = sampleRows(8);

/** Chooses files in the drop zone. */
async function choose(page: Page, files: Parameters<ReturnType<Page["locator"]>["setInputFiles"]>[0]) {
  await page.goto("/datasets/new");
  await page.getByLabel("Drop a file here, or choose one").setInputFiles(files);
}

/** Imports what stands on the confirm page and returns the rows of the dataset, as its export has them. */
async function imported(page: Page): Promise<string[][]> {
  await page.getByRole("button", { name: "Import" }).click();
  await expect(page).toHaveURL(/\/datasets\/\d+(\?|$)/);
  const id = new URL(page.url()).pathname.split("/").pop();
  const answer = await page.request.get(`/datasets/${id}/export.csv`);
  expect(answer.headers()["content-disposition"]).toContain("attachment");
  const lines = (await answer.text()).trim().split(/\r?\n/).slice(1);
  return lines.map((line) => [...line.matchAll(/("(?:[^"]|"")*"|[^,]*)(,|$)/g)].map(([, field]) => field.replace(/^"|"$/g, "")));
}

/** An archive with these files, after PKWARE's APPNOTE: a local header before each, a directory at the end. */
function zip(files: Record<string, string>): Buffer {
  const [parts, directory]: Buffer[][] = [[], []];
  let offset = 0;
  for (const [name, content] of Object.entries(files)) {
    const bytes = Buffer.from(content);
    const packed = deflateRawSync(bytes);
    const head = Buffer.alloc(26);
    [20, 0, 8, 0, 0].forEach((value, index) => head.writeUInt16LE(value, 2 * index));
    head.writeUInt32LE(crc32(bytes), 10);
    head.writeUInt32LE(packed.length, 14);
    head.writeUInt32LE(bytes.length, 18);
    head.writeUInt16LE(name.length, 22);
    const place = Buffer.alloc(14);
    place.writeUInt32LE(offset, 10);
    parts.push(Buffer.from("PK\x03\x04"), head, Buffer.from(name), packed);
    directory.push(Buffer.from("PK\x01\x02\x14\x00"), head, place, Buffer.from(name));
    offset = parts.reduce((sum, part) => sum + part.length, 0);
  }
  const length = directory.reduce((sum, part) => sum + part.length, 0);
  const end = Buffer.alloc(18);
  [0, 0, Object.keys(files).length, Object.keys(files).length].forEach((value, index) => end.writeUInt16LE(value, 2 * index));
  end.writeUInt32LE(length, 8);
  end.writeUInt32LE(offset, 12);
  return Buffer.concat([...parts, ...directory, Buffer.from("PK\x05\x06"), end]);
}

const csv = toCsv(rows);
const lines = (separator: string) =>
  ["headline", ...rows.map(({ text }) => text)].map((text, index) => {
    const label = index === 0 ? "label" : rows[index - 1].label;
    return `"${text.replaceAll('"', '""')}"${separator}${label}`;
  });

test.describe("every format", () => {
  for (const [name, content, fact] of [
    ["comma.csv", csv, "2 columns"],
    ["tab.tsv", lines("\t").join("\r\n"), "2 columns"],
    ["semicolon.csv", lines(";").join("\n"), "2 columns"],
    ["pipe.txt", lines("|").join("\n"), "2 columns"],
    ["utf16.csv", Buffer.concat([Buffer.from([0xff, 0xfe]), Buffer.from(csv, "utf16le")]), "2 columns"],
    ["flat.jsonl", rows.map((row) => JSON.stringify(row)).join("\n"), "columns"],
    ["flat.json", JSON.stringify(rows), "columns"],
    [
      "chat.jsonl",
      rows.map(({ text, label }) => JSON.stringify({ messages: [{ role: "user", content: text }, { role: "assistant", content: label }] })).join("\n"),
      "OpenAI",
    ],
    ["alpaca.json", JSON.stringify(rows.map(({ text, label }) => ({ instruction: "What is the mood?", input: text, output: label }))), "Alpaca"],
    ["packed.csv.gz", gzipSync(csv), "packed with gzip"],
    ["packed.csv.zst", fixture("headlines.csv.zst"), "packed with zstd"],
    ["packed.zip", zip({ "a/notes.txt": "nothing", "b/rows.csv": csv }), "packed with zip"],
    ["sheet.xlsx", fixture("headlines.xlsx"), "column"],
    ["rows.parquet", fixture("train.parquet"), "2 columns"],
  ] as const) {
    test(name, async ({ page }) => {
      await choose(page, file(name, content));
      await expect(page.locator(".file-facts")).toContainText(fact);
      await expect(page.getByLabel("Name of the dataset")).toHaveValue(name.replace(/(\.\w+)+$/, ""));
      if (name === "packed.zip") await page.getByLabel("File in the archive").selectOption("b/rows.csv");
      if (name === "sheet.xlsx") await page.getByLabel("Sheet").selectOption("Headlines");
      await expect(page.getByRole("region", { name: "First rows of the file" })).toContainText(rows[0].text.slice(0, 40));
      const found = await imported(page);
      expect(found.length).toBe(name === "rows.parquet" ? 16 : rows.length);
      const labels = new Set(found.map(([, label]) => label));
      // Parquet from the Hub has integers with names.
      for (const label of labels) expect(["positive", "neutral", "negative"]).toContain(label);
    });
  }
});

test.describe("a connection that breaks", () => {
  let folder: string;
  let path: string;
  test.beforeEach(({ complaints }) => {
    complaints.expect(/ERR_FAILED|ERR_ABORTED|Failed to load resource/);
    folder = mkdtempSync(join(tmpdir(), "ayar-upload-"));
    path = join(folder, "large.csv");
    // Ten megabytes: one piece of eight, then the connection breaks.
    const row = `"${"A headline of some length, about nothing in particular ".repeat(18)}%","positive"\n`;
    const count = Math.ceil((10 * 1024 * 1024) / row.length);
    const body = Array.from({ length: count }, (_, index) =>
      row.replace("%", String(index)).replace("positive", index % 2 ? "positive" : "negative"),
    );
    writeFileSync(path, "text,label\n" + body.join(""));
  });
  test.afterEach(() => rmSync(folder, { recursive: true }));

  test("at 80 % goes on from there", async ({ page }) => {
    const offsets: number[] = [];
    await page.route(/\/uploads\/\w+\?offset=/, async (route) => {
      const offset = Number(new URL(route.request().url()).searchParams.get("offset"));
      offsets.push(offset);
      if (offset > 0 && offsets.length === 2) return route.abort("connectionreset");
      return route.continue();
    });
    await choose(page, path);
    await expect(page.getByText(/The connection broke at \d+ %; trying again in \d+ s/)).toBeVisible();
    await expect(page.getByRole("button", { name: "Import" })).toBeVisible();
    expect(offsets).toEqual([0, 8 * 1024 * 1024, 8 * 1024 * 1024]);
    await page.getByRole("button", { name: "Import" }).click();
    await expect(page.getByRole("heading", { level: 1, name: "large" })).toBeVisible();
  });

  test("and a reload go on with the same file", async ({ page }) => {
    const offsets: number[] = [];
    await page.route(/\/uploads\/\w+\?offset=/, async (route) => {
      const offset = Number(new URL(route.request().url()).searchParams.get("offset"));
      if (offset > 0) return route.abort("connectionreset");
      return route.continue();
    });
    await choose(page, path);
    await expect(page.getByText(/The connection broke at \d+ %/)).toBeVisible();
    await page.unroute(/\/uploads\/\w+\?offset=/);
    page.on("request", (request) => {
      if (request.method() === "PUT") offsets.push(Number(new URL(request.url()).searchParams.get("offset")));
    });
    await page.reload();
    await expect(page.getByText("8.0 MB of 10.0 MB are there. Choose the same file again")).toBeVisible();
    await page.getByLabel("Drop a file here, or choose one").setInputFiles(path);
    await expect(page.getByRole("button", { name: "Import" })).toBeVisible();
    expect(offsets).toEqual([8 * 1024 * 1024]);
  });

  test("a stopped upload waits for its return", async ({ page }) => {
    await page.route(/\/uploads\/\w+\?offset=/, (route) => {
      const offset = Number(new URL(route.request().url()).searchParams.get("offset"));
      return offset > 0 ? route.abort("connectionreset") : route.continue();
    });
    await choose(page, path);
    await expect(page.getByText(/The connection broke at/)).toBeVisible();
    await page.getByRole("button", { name: "Stop the upload" }).click();
    await expect(page.getByRole("list", { name: "Uploads" })).toHaveCount(0);
  });
});

test("several files at once become several uploads", async ({ page }) => {
  await choose(page, [file("one.csv", csv), file("two.csv", csv), file("broken.csv", "")]);
  const uploads = page.getByRole("list", { name: "Uploads" });
  await expect(uploads.getByRole("listitem")).toHaveCount(3);
  await expect(uploads.getByText("two.csv is there")).toBeVisible();
  await uploads.getByRole("link", { name: "Look at it" }).nth(1).click();
  await expect(page.getByLabel("Name of the dataset")).toHaveValue("two");
  await imported(page);
  // The other one waits where it was left.
  await page.goto("/datasets/new");
  const earlier = page.locator("section", { hasText: "Uploaded earlier" });
  await expect(earlier.getByText("one.csv")).toBeVisible();
  await expect(earlier.getByText("two.csv")).toHaveCount(0);
});

test("texts over two columns, by a template", async ({ page }) => {
  const table = ["title,body,label", ...rows.map(({ text, label }, index) => `Title ${index},"${text.replaceAll('"', '""')}",${label}`)];
  await choose(page, file("two.csv", table.join("\n")));
  await page.getByRole("radio", { name: "Text over several columns" }).check();
  const template = page.getByRole("textbox", { name: "Template" });
  await template.fill("");
  await page.getByRole("button", { name: "title", exact: true }).click();
  await template.press("End");
  await template.pressSequentially(": ");
  await page.getByRole("button", { name: "body", exact: true }).click();
  await expect(template).toHaveValue("{title}: {body}");
  await expect(page.getByRole("list", { name: "First texts" })).toContainText(`Title 0: ${rows[0].text.slice(0, 30)}`);
  await expect(page).toHaveURL(/template=/);
  // What was chosen stands in the address.
  await page.reload();
  await expect(page.getByRole("list", { name: "First texts" })).toContainText("Title 0: ");
  const found = await imported(page);
  expect(found[3][0]).toContain("Title 3: ");
});

test("labels are merged only where the person agrees", async ({ page }) => {
  const variants = ["positive", "Positive", "pos", "negative", "Negative"];
  const table = ["text,label", ...Array.from({ length: 40 }, (_, index) => `Text number ${index},${variants[index % variants.length]}`)];
  await choose(page, file("aliases.csv", table.join("\n")));
  const merges = page.getByRole("group", { name: "These look like one label" });
  const boxes = merges.getByRole("checkbox");
  await expect(boxes).toHaveCount(2);
  for (const box of await boxes.all()) await expect(box).not.toBeChecked();
  const positive = merges.getByRole("checkbox", { name: /“pos”/ });
  await positive.check();
  const found = await imported(page);
  const labels = new Set(found.map(([, label]) => label));
  expect(labels.has("pos")).toBe(false);
  expect([...labels].filter((label) => label.toLowerCase() === "negative").length).toBe(2);
});

test("labels that are numbers get names", async ({ page }) => {
  const table = ["text,label", ...rows.map((_, index) => `Text number ${index},${index % 2}`)];
  await choose(page, file("numbers.csv", table.join("\n")));
  await page.getByLabel("Label 0").fill("ham");
  await page.getByLabel("Label 1").fill("spam");
  const found = await imported(page);
  expect(new Set(found.map(([, label]) => label))).toEqual(new Set(["ham", "spam"]));
});

test("an encoding is corrected, and read again at once", async ({ page }) => {
  // Windows-1254 and -1252 differ in six letters; a short file does not tell.
  const text = "headline;label\n" + rows.map((_, index) => `Şirket ${index} kârını açıkladı;${index % 2 ? "olumlu" : "olumsuz"}`).join("\n");
  const turkish: Record<string, number> = { "Ş": 0xde, "ı": 0xfd, "ş": 0xfe, "ğ": 0xf0, "İ": 0xdd };
  const bytes = Buffer.from([...text].map((letter) => turkish[letter] ?? letter.charCodeAt(0)));
  await choose(page, file("turkish.csv", bytes));
  const encoding = page.getByLabel("Encoding");
  await encoding.focus();
  await encoding.selectOption("windows-1252");
  await expect(page.getByRole("region", { name: "First rows of the file" })).toContainText("Þirket 0");
  await encoding.selectOption("windows-1254");
  await expect(page.getByRole("region", { name: "First rows of the file" })).toContainText("Şirket 0 kârını açıkladı");
  await expect(page).toHaveURL(/encoding=windows-1254/);
  // Keyboards stay where they are.
  await expect(encoding).toBeFocused();
  expect((await imported(page))[0][0]).toBe("Şirket 0 kârını açıkladı");
});

test("a delimiter and a header are corrected", async ({ page }) => {
  await choose(page, file("headless.csv", lines(";").slice(1).join("\n")));
  await page.getByLabel("First row", { exact: true }).selectOption("yes");
  await expect(page.getByRole("columnheader").first()).toContainText(rows[0].text.slice(0, 20));
  await page.getByLabel("First row", { exact: true }).selectOption("no");
  await expect(page.getByRole("columnheader").first()).not.toContainText(rows[0].text.slice(0, 20));
  expect((await imported(page)).length).toBe(rows.length);
});

test("a file is added to a dataset as its next version", async ({ page }) => {
  await importDataset(page, "grows", csv);
  const further = rows.map(({ label }, index) => ({ text: `A further headline, number ${index}`, label }));
  await choose(page, file("further.csv", toCsv([rows[0], ...further])));
  await page.getByRole("radio", { name: "Add to a dataset" }).check();
  await page.getByLabel("Dataset", { exact: true }).selectOption({ label: `grows (${rows.length} rows)` });
  const found = await imported(page);
  expect(found.length).toBe(2 * rows.length);
  await expect(page.getByRole("heading", { level: 1, name: "grows" })).toBeVisible();
});

test("a reading that does not work leaves the one before", async ({ page, complaints }) => {
  complaints.expect(/status of 4/);
  await choose(page, file("plain.csv", csv));
  await page.getByLabel("Format").selectOption("parquet");
  await expect(page.getByRole("alert")).toBeVisible();
  await expect(page.getByRole("region", { name: "First rows of the file" })).toContainText(rows[0].text.slice(0, 30));
  await page.getByRole("button", { name: "Read it as detected" }).click();
  await expect(page.getByRole("alert")).toHaveCount(0);
  expect((await imported(page)).length).toBe(rows.length);
});

test("a dataset of the Hub", async ({ page: _, browser, complaints }) => {
  const hub = await Hub.start({
    "datasets/ada/news/README.md": "---\nlicense: mit\n---\n",
    "datasets/ada/news/data/train-00000-of-00001.parquet": fixture("train.parquet"),
    "datasets/ada/news/data/test-00000-of-00001.parquet": fixture("test.parquet"),
  });
  const ayar = await Ayar.start([], hub.url);
  const page = await browser.newPage({ baseURL: ayar.url });
  complaints.watch(page);
  try {
    await page.goto("/datasets/new");
    await page.getByLabel("Dataset on the Hub").fill("ada/news");
    await page.getByRole("button", { name: "Look" }).click();
    await expect(page.getByRole("checkbox")).toHaveCount(2);
    await expect(page.getByText("split train")).toBeVisible();
    expect(await seriousViolations(page)).toEqual([]);
    await page.getByRole("button", { name: "Fetch these files" }).click();
    await expect(page.getByLabel("Name of the dataset")).toHaveValue("news");
    await expect(page.getByLabel("Split")).not.toHaveValue("none");
    const found = await imported(page);
    expect(found.length).toBe(24);
    const parts = new Map<string, number>();
    for (const [, label, part] of found) {
      expect(["positive", "neutral", "negative"]).toContain(label);
      parts.set(part, (parts.get(part) ?? 0) + 1);
    }
    expect(Object.fromEntries(parts)).toEqual({ train: 16, test: 8 });

    complaints.expect(/status of 404/);
    await page.goto("/datasets/new?hub=ada/nothing");
    await expect(page.getByRole("alert")).toContainText("ada/nothing");
  } finally {
    await page.close();
    await ayar.end();
    await hub.end();
  }
});

test("the pages of a new dataset in light and dark, wide and narrow", async ({ page }, info) => {
  const table = [
    "title,body,sentiment,part",
    ...rows.map(({ text, label }, index) => `Title ${index},"${text.replaceAll('"', '""')}",${["", " ", "!"][index % 3] && label === "positive" ? "Positive" : label},${index % 4 ? "train" : "test"}`),
    "half a row",
  ];
  for (const [width, scheme] of [[1280, "light"], [1280, "dark"], [390, "light"], [390, "dark"]] as const) {
    await page.setViewportSize({ width, height: 900 });
    await page.emulateMedia({ colorScheme: scheme });
    await page.goto("/datasets/new");
    await page.screenshot({ path: info.outputPath(`new-${scheme}-${width}.png`), fullPage: true });
    expect(await seriousViolations(page), `new, ${scheme}, ${width}`).toEqual([]);
    await page.getByLabel("Drop a file here, or choose one").setInputFiles(file("table.csv", table.join("\n")));
    await page.getByRole("radio", { name: "Text over several columns" }).check();
    await expect(page.getByRole("list", { name: "First texts" })).toBeVisible();
    await page.screenshot({ path: info.outputPath(`confirm-${scheme}-${width}.png`), fullPage: true });
    expect(await seriousViolations(page), `confirm, ${scheme}, ${width}`).toEqual([]);
    expect(await page.evaluate(() => document.documentElement.scrollWidth)).toBeLessThanOrEqual(width);
  }
});
