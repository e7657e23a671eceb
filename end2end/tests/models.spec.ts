// Models come from a Hub and results go back there: a small real one, on loopback.

import type { Locator, Page } from "@playwright/test";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { Ayar, expect, importDataset, root, sampleRows, seriousViolations, startRun, test as base, toCsv } from "./ayar";
import { Hub, READER, WRITER } from "./hub";

const tiny = readFileSync(join(root, "engine/tests/fixtures/families/qwen3/model.gguf"));
const config = readFileSync(join(root, "engine/tests/fixtures/families/qwen3/config.json"));
const weights = readFileSync(join(root, "engine/tests/fixtures/families/qwen3/model.safetensors"));

/** A server with a Hub at hand that gives 84 KB in about eight seconds. */
const test = base.extend<{ hub: Hub }>({
  hub: async ({}, use) => {
    const files = {
      "team/tiny-gguf/tiny.gguf": tiny,
      "team/licensed/config.json": config,
      "team/licensed/model.safetensors": weights,
      "team/licensed/tokenizer.json": "{}",
      "team/licensed/.gated": "",
    };
    const hub = await Hub.start(files, 10_000);
    await use(hub);
    await hub.end();
  },
  ayar: async ({ hub }, use, info) => {
    const ayar = await Ayar.start([], hub.url);
    await use(ayar);
    if (info.status !== info.expectedStatus) console.log(`The server's log:\n${ayar.log}`);
    await ayar.end();
  },
});

/** The card of a model. */
const card = (page: Page, name: string) => page.getByRole("article", { name, exact: true });
const status = (card: Locator, word: string) => card.getByText(word, { exact: true });

async function check(page: Page, source: string) {
  // What is typed while the script is still on its way may be lost to it.
  await page.waitForFunction(() => performance.getEntriesByName("interactive").length > 0);
  await checkByForm(page, source);
}

/** As it goes without a script, too. */
async function checkByForm(page: Page, source: string) {
  await page.getByLabel("From the Hub or from the server's disk").fill(source);
  await page.getByRole("button", { name: "Check" }).click();
}

async function signIn(page: Page, token: string, user: string) {
  await page.getByLabel("Access token").fill(token);
  await page.getByRole("button", { name: "Use this token" }).click();
  await expect(page.getByText(`Signed in as ${user}`)).toBeVisible();
}

test("a model whose licence has to be accepted says so, step by step", async ({ page, hub }) => {
  await page.goto("/models");
  await check(page, "team/licensed");
  await expect(page.getByText("The Hub asks for a token")).toBeVisible();
  await expect(page.getByRole("link", { name: "Make a token" })).toHaveAttribute("href", /^http/);
  await expect(page.getByRole("button", { name: "Add", exact: true })).toBeDisabled();
  // What was found has the focus, so that it is read out and the keyboard goes on from there.
  await expect(page.locator("#check-result")).toBeFocused();

  await signIn(page, READER, "reader");
  expect(await page.content()).not.toContain(READER);
  await check(page, "team/licensed");
  await expect(page.getByText("Its licence has to be accepted first")).toBeVisible();
  await expect(page.getByRole("link", { name: "Open its page to accept the licence" })).toHaveAttribute(
    "href",
    `${hub.url}/team/licensed`,
  );

  await page.getByRole("button", { name: "Forget the token" }).click();
  await expect(page.getByText("Not signed in")).toBeVisible();
});

test("what cannot be added says why", async ({ page, complaints }) => {
  complaints.expect(/the server responded with a status of 4/);
  await page.goto("/models");
  // Without a token the Hub does not tell what is hidden from what is not there.
  await check(page, "team/nowhere");
  await expect(page.getByRole("alert")).toContainText("or does not exist");
  await signIn(page, READER, "reader");
  await check(page, "team/nowhere");
  await expect(page.getByText("There is no such model")).toBeVisible();
  await check(page, "gpt2");
  await expect(page.getByRole("alert")).toContainText("is no address on the Hub");
  await check(page, "/etc/passwd");
  await expect(page.getByRole("alert")).toContainText("/etc/passwd");
});

test("a model is fetched, trained, exported and pushed, and its adapter comes back", async ({ page, browser, ayar, complaints }) => {
  test.setTimeout(300_000);
  const elsewhere = await browser.newContext({ baseURL: ayar.url });
  const other = await elsewhere.newPage();
  complaints.watch(other);
  const viewers = [page, other];
  const name = "tiny";

  await test.step("what it is, before anything is fetched", async () => {
    for (const viewer of viewers) await viewer.goto("/models");
    await check(page, "team/tiny-gguf/tiny.gguf");
    await expect(page.getByText("can be added")).toBeVisible();
    await expect(page.getByText(/81.7 KB to fetch/)).toBeVisible();
    await page.getByRole("button", { name: "Add", exact: true }).click();
  });

  await test.step("both browsers see it coming; one pauses, the other resumes", async () => {
    for (const viewer of viewers) {
      await expect(status(card(viewer, name), "downloading").first()).toBeVisible();
      await expect(card(viewer, name).getByRole("progressbar", { name: `Download of ${name}` })).toBeVisible();
      await expect(card(viewer, name).getByText("tiny.gguf", { exact: true })).toBeVisible();
    }
    await page.screenshot({ path: "test-results/pages/models-downloading.png", fullPage: true });
    await card(page, name).getByRole("button", { name: "Pause" }).click();
    for (const viewer of viewers) await expect(status(card(viewer, name), "paused")).toBeVisible();
    await card(other, name).getByRole("button", { name: "Resume" }).click();
    for (const viewer of viewers) await expect(status(card(viewer, name), "ready")).toBeVisible({ timeout: 60_000 });
    await expect(card(page, name)).toContainText("context of 128 tokens");
  });

  await test.step("a run on it", async () => {
    // Before the short template is typed, the usual one is too long for such a small context.
    complaints.expect(/the server responded with a status of 400/);
    await importDataset(page, "small", toCsv(sampleRows(20)));
    await page.goto("/models");
    await card(page, name).getByRole("link", { name: "Fine-tune" }).click();
    await expect(page.getByLabel("Base model")).toHaveValue(/^[1-9]\d*$/);
    await startRun(page, { epochs: 1, template: "{text} =", name: "On tiny" });
    await expect(page.getByLabel("Where the run stands").getByText("finished", { exact: true })).toBeVisible({ timeout: 90_000 });
    await expect(page.getByRole("link", { name, exact: true })).toHaveAttribute("href", /\/models#model-\d+/);
  });

  const exported = (title: string) => page.getByRole("listitem", { name: title });
  await test.step("exports, each compared with the run", async () => {
    for (const title of ["Adapter alone (PEFT)", "Whole model (GGUF, Q8_0)"]) {
      await page.getByText(title, { exact: true }).first().click();
      await page.getByRole("button", { name: "Export", exact: true }).click();
      await expect(status(exported(title), "ready")).toBeVisible({ timeout: 90_000 });
      await expect(exported(title)).toContainText(/On the \d+ test rows the exported model/);
    }
    const download = page.waitForEvent("download");
    await exported("Adapter alone (PEFT)").getByRole("link", { name: "adapter_config.json" }).click();
    const content = readFileSync(await (await download).path(), "utf8");
    expect(JSON.parse(content).peft_type).toBe("LORA");
  });

  await test.step("one goes to the Hub", async () => {
    const adapter = exported("Adapter alone (PEFT)");
    await expect(adapter.getByText("sign in with a token that may write")).toBeVisible();
    const run = page.url();
    await page.goto("/models");
    await signIn(page, WRITER, "writer");
    await page.goto(run);
    await adapter.getByText("Push to the Hub").click();
    await adapter.getByLabel("Repository").fill("writer/on-tiny");
    await expect(adapter.getByLabel(/^Private/)).toBeChecked();
    await adapter.getByRole("button", { name: "Push", exact: true }).click();
    await expect(adapter.getByText(/Pushed to writer\/on-tiny/)).toBeVisible({ timeout: 60_000 });
    await page.locator("#exports").screenshot({ path: "test-results/pages/exports.png" });
  });

  await test.step("and comes back as an adapter, which classifies", async () => {
    await page.goto("/models");
    await check(page, "writer/on-tiny");
    await page.getByLabel("The base that it belongs on").selectOption({ label: name });
    await page.getByRole("button", { name: "Add", exact: true }).click();
    const adapter = card(page, "on-tiny");
    await expect(status(adapter, "ready")).toBeVisible({ timeout: 60_000 });
    await expect(adapter).toContainText("negative, neutral, positive");
    await adapter.getByRole("link", { name: "Classify with it" }).click();
    await expect(page.getByLabel("Classify with")).toHaveValue(/^model-/);
    await page.getByLabel("Texts").fill("Sales rose");
    await page.getByRole("button", { name: "Classify" }).click();
    await expect(page.getByRole("region", { name: "Answers" })).toContainText("With the adapter");
  });

  await test.step("training can go on from either", async () => {
    await page.goto("/models");
    await card(page, "on-tiny").getByRole("link", { name: "Train it further" }).click();
    await expect(page.getByLabel("Start from")).toHaveValue(/^model-/);
    await expect(page.getByText("Training goes on from on-tiny")).toBeVisible();
    await expect(page.getByLabel("LoRA rank")).toBeHidden();
    await page.getByLabel("Start from").selectOption("");
    await expect(page.getByLabel("LoRA rank")).toBeVisible();
  });

  await test.step("what is needed stays, what is not can be removed", async () => {
    await page.goto("/models");
    await card(page, name).getByRole("button", { name: "Remove" }).click();
    const dialog = page.getByRole("dialog");
    await expect(dialog).toContainText("1 run began from it");
    await expect(dialog.getByRole("button", { name: "Remove it" })).toHaveCount(0);
    await page.keyboard.press("Escape");
    await expect(dialog).toBeHidden();
    await card(page, "on-tiny").getByRole("button", { name: "Remove" }).click();
    await page.screenshot({ path: "test-results/pages/models-remove.png" });
    await dialog.getByRole("button", { name: "Remove it" }).click();
    for (const viewer of [page, other]) await expect(card(viewer, "on-tiny")).toHaveCount(0);
  });

  await test.step("wide, narrow, light and dark", async () => {
    const pages: [string, string, string][] = [
      ["models", "/models?source=team/licensed", "Its licence has to be accepted first"],
      ["new-run-on-tiny", "/runs/new?base=1&start=run-1", "Training goes on from On tiny"],
      ["run-on-tiny", "/runs/1", "Take it with you"],
    ];
    for (const [picture, address, words] of pages) {
      for (const colorScheme of ["light", "dark"] as const) {
        await page.emulateMedia({ colorScheme, reducedMotion: "reduce" });
        await page.setViewportSize({ width: 1280, height: 900 });
        await page.goto(address, { waitUntil: "networkidle" });
        await expect(page.getByText(words).first()).toBeVisible();
        expect.soft(await seriousViolations(page), `${address}, ${colorScheme}`).toEqual([]);
        await page.screenshot({ path: `test-results/pages/${picture}-${colorScheme}-wide.png`, fullPage: true });
        await page.setViewportSize({ width: 390, height: 844 });
        const [wide, room] = await page.evaluate(() => [document.documentElement.scrollWidth, innerWidth]);
        expect.soft(wide, `${address} at 390 pixels`).toBeLessThanOrEqual(room);
        await page.screenshot({ path: `test-results/pages/${picture}-${colorScheme}-narrow.png`, fullPage: true });
      }
    }
  });
  await elsewhere.close();
});

test("without a script a model is checked, added and removed, too", async ({ browser, ayar }) => {
  const context = await browser.newContext({ baseURL: ayar.url, javaScriptEnabled: false });
  const page = await context.newPage();
  await page.goto("/models");
  await checkByForm(page, "team/tiny-gguf/tiny.gguf");
  await page.getByRole("button", { name: "Add", exact: true }).click();
  await expect(async () => {
    await page.goto("/models");
    await expect(status(card(page, "tiny"), "ready")).toBeVisible({ timeout: 500 });
  }).toPass({ timeout: 60_000 });
  await card(page, "tiny").getByRole("button", { name: "Remove" }).click();
  await page.getByRole("dialog").getByRole("button", { name: "Remove it" }).click();
  await expect(card(page, "tiny")).toHaveCount(0);
  await context.close();
});

test("the keyboard alone adds a model and removes it", async ({ page }) => {
  const focused = () => page.evaluate(() => document.activeElement?.textContent?.trim() ?? "");
  const tabTo = async (words: RegExp) => {
    for (let times = 0; times < 60; times++) {
      if (words.test(await focused())) return;
      await page.keyboard.press("Tab");
    }
    throw new Error(`Tab does not lead to ${words}; the focus is on ${await focused()}`);
  };
  await page.goto("/models");
  await page.getByLabel("From the Hub or from the server's disk").focus();
  await page.keyboard.type("team/tiny-gguf/tiny.gguf");
  await page.keyboard.press("Enter");
  await expect(page.locator("#check-result")).toBeFocused();
  await tabTo(/^Add$/);
  await page.keyboard.press("Enter");
  await expect(card(page, "tiny")).toBeFocused();
  await tabTo(/^Remove$/);
  await page.keyboard.press("Enter");
  await expect(page.getByRole("dialog")).toBeVisible();
  await tabTo(/^Remove it$/);
  await page.keyboard.press("Enter");
  await expect(card(page, "tiny")).toHaveCount(0);
});
