// A server with sign-in: the first administrator by the printed link, an invitation, what a viewer may not, a key.

import { Ayar, expect, LOST_CONNECTION, seriousViolations, test as base } from "./ayar";
import type { Browser, Page } from "@playwright/test";

const test = base.extend({
  ayar: async ({}, use, info) => {
    const ayar = await Ayar.start(["--access", "sign-in"]);
    await use(ayar);
    if (info.status !== info.expectedStatus) console.log(`The server's log:\n${ayar.log}`);
    await ayar.end();
  },
});

const PASSWORD = "purple tram nine";

/** Opens the link that the server has printed, and makes the first administrator. */
async function setUp(page: Page, ayar: Ayar) {
  await expect.poll(() => ayar.said).toMatch(/\/setup\/\w+/);
  await page.goto(ayar.said.match(/\/setup\/\w+/)![0]);
  await fillAccount(page, "Ann Lee", "ann@example.org");
  await page.getByRole("button", { name: "Make the account" }).click();
  await expect(page.getByRole("heading", { level: 1, name: "People" })).toBeVisible();
}

async function fillAccount(page: Page, name: string, email: string) {
  await page.getByLabel("Name", { exact: true }).fill(name);
  await page.getByLabel("Email").fill(email);
  await page.getByLabel("Password").fill(PASSWORD);
}

/** Another person's browser, who joins by an invitation. */
async function join(page: Page, browser: Browser, ayar: Ayar, role: string, javaScriptEnabled = true) {
  await page.goto("/people");
  await page.getByLabel("Role of the invited person").selectOption(role);
  await page.getByRole("button", { name: "Make an invitation" }).click();
  const link = page.locator("[data-made]");
  await expect(link).toHaveText(/\/invitations\/\w+/);
  const address = (await link.textContent())!.trim();
  const context = await browser.newContext({ baseURL: ayar.url, javaScriptEnabled });
  const other = await context.newPage();
  await other.goto(new URL(address, ayar.url).href);
  await expect(other.getByText(`Ann Lee invites you as ${role}`)).toBeVisible();
  await fillAccount(other, "Bob Ray", "bob@example.org");
  await other.getByRole("button", { name: "Join" }).click();
  await expect(other).toHaveURL(`${ayar.url}/`);
  return other;
}

test("from the printed link to a key", async ({ page, ayar, browser, request, complaints }) => {
  complaints.expect(LOST_CONNECTION, /status of 40[13]/);
  // Whoever is unknown is led to the door, and from there to where they wanted to go.
  await page.goto("/runs?page=1");
  await expect(page).toHaveURL(/\/sign-in\?then=/);
  await setUp(page, ayar);
  await expect(page.getByRole("banner").getByText("Ann Lee")).toBeVisible();
  await page.getByRole("button", { name: "Sign out", exact: true }).click();
  await expect(page).toHaveURL(/\/sign-in$/);

  await page.goto("/datasets");
  await page.getByLabel("Email").fill("ann@example.org");
  await page.getByLabel("Password").fill("wrong words here");
  await page.getByRole("button", { name: "Sign in" }).click();
  await expect(page.getByRole("alert").first()).toContainText("No account has this email address with this password.");
  await page.getByLabel("Email").fill("ann@example.org");
  await page.getByLabel("Password").fill(PASSWORD);
  await page.getByRole("button", { name: "Sign in" }).click();
  await expect(page).toHaveURL(/\/datasets$/);
  await expect(page.getByRole("heading", { level: 1, name: "Datasets" })).toBeVisible();

  const bob = await join(page, browser, ayar, "viewer");
  // A viewer sees everything and starts nothing.
  await bob.goto("/runs/new");
  await expect(bob.getByRole("heading", { level: 1 })).toBeVisible();
  await bob.getByRole("link", { name: "Small base, quick" }).click();
  await bob.getByRole("button", { name: "Start the run" }).click();
  await expect(bob.getByText("This is for an editor; you are viewer.")).toBeVisible();
  expect((await bob.goto("/people"))!.status()).toBe(403);
  await expect(bob.getByRole("heading", { name: "Not allowed" })).toBeVisible();

  // The page says what to press; the role counts at once.
  await page.goto("/people");
  await page.getByLabel("Role of Bob Ray", { exact: true }).selectOption("editor");
  await page.getByRole("button", { name: "Change the role of Bob Ray" }).click();
  await expect(page.getByLabel("Role of Bob Ray", { exact: true })).toHaveValue("editor");
  await bob.goto("/datasets/new");
  await expect(bob.getByRole("heading", { level: 1 })).toBeVisible();

  // A key, shown once.
  await page.goto("/account");
  await page.getByLabel("Name of the key").fill("laptop");
  await page.getByLabel(/^read/).check();
  await page.getByRole("button", { name: "Make a key" }).click();
  const key = (await page.locator("[data-made]").textContent())!.trim();
  expect(key).toMatch(/^ayar_\w{43}$/);
  const asked = (path: string) => request.get(`${ayar.url}${path}`, { headers: { authorization: `Bearer ${key}` } });
  expect((await asked("/datasets")).status()).toBe(200);
  expect((await asked("/people")).status()).toBe(403);
  expect((await request.get(`${ayar.url}/datasets`, { headers: { accept: "*/*" } })).status()).toBe(401);
  await page.reload();
  await expect(page.locator("[data-made]")).toHaveCount(0);
  await page.getByRole("button", { name: "Revoke the key laptop" }).click();
  await expect(page.getByText("There are no keys.")).toBeVisible();
  expect((await asked("/datasets")).status()).toBe(401);

  // The last administrator stays; others can be removed.
  await page.goto("/people");
  await page.getByLabel("Role of Ann Lee", { exact: true }).selectOption("viewer");
  await page.getByRole("button", { name: "Change the role of Ann Lee" }).click();
  await expect(page.getByRole("alert").first()).toContainText("This is the last administrator.");
  await page.getByRole("button", { name: "Remove Bob Ray" }).click();
  await page.getByRole("button", { name: "Remove this person" }).click();
  await expect(page.getByText("bob@example.org")).toHaveCount(0);
  await bob.goto("/runs");
  await expect(bob).toHaveURL(/\/sign-in/);
  await bob.context().close();
});

test("the pages of people, in light and dark, wide and narrow", async ({ page, ayar, browser, complaints }) => {
  complaints.expect(/status of 40[134]/);
  await page.goto("/sign-in");
  await expect(page.getByRole("heading", { level: 1, name: "Sign in" })).toBeVisible();
  const look = async (name: string) => {
    for (const colorScheme of ["light", "dark"] as const) {
      await page.emulateMedia({ colorScheme, reducedMotion: "reduce" });
      await page.setViewportSize({ width: 1280, height: 900 });
      expect.soft(await seriousViolations(page), `${name}, ${colorScheme}`).toEqual([]);
      await page.screenshot({ path: `test-results/people/${name}-${colorScheme}.png`, fullPage: true });
      await page.setViewportSize({ width: 390, height: 844 });
      expect.soft(await page.evaluate(() => document.documentElement.scrollWidth), `${name} at 390`).toBeLessThanOrEqual(390);
      await page.screenshot({ path: `test-results/people/${name}-${colorScheme}-phone.png`, fullPage: true });
    }
  };
  await look("sign-in");
  await expect.poll(() => ayar.said).toMatch(/\/setup\/\w+/);
  await page.goto(ayar.said.match(/\/setup\/\w+/)![0]);
  await look("setup");
  await setUp(page, ayar);
  // Joining works without a script, too.
  const bob = await join(page, browser, ayar, "editor", false);
  await bob.goto("/account");
  await bob.getByRole("button", { name: "Sign out everywhere" }).click();
  await expect(bob).toHaveURL(/\/sign-in$/);
  await bob.context().close();
  await page.goto("/people");
  await page.getByRole("button", { name: "Make an invitation" }).click();
  await expect(page.locator("[data-made]")).toBeVisible();
  await look("people");
  await page.goto("/account");
  await page.getByLabel("Name of the key").fill("laptop");
  await page.getByRole("button", { name: "Make a key" }).click();
  await expect(page.locator("[data-made]")).toBeVisible();
  await look("account");
});
