import { createHash, X509Certificate } from "node:crypto";
import { spawnSync } from "node:child_process";
import * as fs from "node:fs";
import * as path from "node:path";
import puppeteer, { type Browser, type CookieData, type Page } from "puppeteer-core";
import { program } from "./program";
import { cloudFolder, stackCloud, stackOutputs } from "./stack";
import { dashboardUrl } from "./tempest-conf";

/**
 * npm run dashboard -- INSTANCE [PICTURE]: log in to Horizon as admin with a real browser, see an instance in its list, log
 * out, and see that the session is gone, in the browser and on the server. A picture of the list is in
 * .cloud/STACK/horizon.png, and in PICTURE. The stack is $STACK, by default dev. The password is the stack's, or in
 * $DASHBOARD_PASSWORD.
 */

/** Milliseconds for a page: Horizon's first one takes long, on a busy machine of two cores. */
const TIMEOUT = 120_000;

/** A person's part of a visit. */
export interface Visit {
  /** Such as http://10.77.3.10/horizon/. */
  readonly url: string;
  readonly user: string;
  readonly password: string;
  /** Of the site, where nobody vouches for it that a browser knows: it alone is trusted, by its key. */
  readonly certificate?: string;
  /** For a form that asks for it. */
  readonly domain: string;
  /** Name of the instance to see. */
  readonly instance: string;
  readonly pictures: readonly string[];
}

/** Chromium on this machine, or what to do to have one. */
export function findChromium(): string {
  for (const command of ["chromium", "chromium-browser", "google-chrome"]) {
    const found = spawnSync("sh", ["-c", 'command -v "$1"', "sh", command], { encoding: "utf8" });
    if (found.status === 0) return found.stdout.trim();
  }
  throw new Error("wanted a browser, chromium, on PATH, found none; apt install chromium");
}

/** As Chromium takes it (services/network/public/cpp/network_switches.cc): base64 of the SHA-256 of the public key's DER. */
function trusted(certificate: string): string {
  const key = new X509Certificate(certificate).publicKey.export({ format: "der", type: "spki" });
  const hash = createHash("sha256").update(key).digest("base64");
  return `--ignore-certificate-errors-spki-list=${hash}`;
}

/** @throws Error that says what was wanted of which page, and what was found. */
export async function visit(plan: Visit): Promise<void> {
  const browser = await puppeteer.launch({
    executablePath: findChromium(),
    headless: true,
    timeout: TIMEOUT,
    protocolTimeout: TIMEOUT,
    defaultViewport: { width: 1400, height: 900 },
    args: [
      // The cloud is asked directly.
      "--no-proxy-server",
      // A small machine's /dev/shm is too small for it.
      "--disable-dev-shm-usage",
      ...(plan.certificate === undefined ? [] : [trusted(plan.certificate)]),
      // Chromium refuses to sandbox itself for root.
      ...(process.getuid?.() === 0 ? ["--no-sandbox"] : []),
    ],
  });
  try {
    const page = await browser.newPage();
    page.setDefaultTimeout(TIMEOUT);
    page.setDefaultNavigationTimeout(TIMEOUT);
    await logIn(page, plan);
    await seeInstance(page, plan);
    const session = await browser.cookies();
    await logOut(page, plan);
    await seeNoSession(browser, page, plan, session);
  } finally {
    await browser.close();
  }
}

async function logIn(page: Page, { url, user, password, domain }: Visit): Promise<void> {
  await open(page, new URL("auth/login/", url));
  await expect(page, "#id_username", "a login form");
  // Asked for where there are several domains.
  if (await page.$("input#id_domain")) await page.type("#id_domain", domain);
  await page.type("#id_username", user);
  await page.type("#id_password", password);
  await Promise.all([page.waitForNavigation(), page.click('form button[type="submit"]')]);
  if (isLogin(page)) {
    throw new Error(`${page.url()}: wanted to be logged in as ${user}, found ${await said(page)}`);
  }
}

async function seeInstance(page: Page, { url, instance, pictures }: Visit): Promise<void> {
  // The user's own project first, then all projects.
  const lists = ["project/instances/", "admin/instances/"].map((list) => new URL(list, url));
  for (const list of lists) {
    await open(page, list);
    if (isLogin(page)) throw new Error(`${list.href}: wanted a list of instances, found the login`);
    await expect(page, "table#instances", "a list of instances");
    if (!(await page.$(`xpath///table[@id="instances"]//tr[contains(., ${quoted(instance)})]`))) {
      continue;
    }
    for (const picture of pictures) {
      fs.mkdirSync(path.dirname(picture), { recursive: true });
      await page.screenshot({ path: picture });
    }
    return;
  }
  throw new Error(
    `Horizon: wanted an instance ${instance} in its lists, found ${await said(page)}`,
  );
}

async function logOut(page: Page, { url }: Visit): Promise<void> {
  // Horizon has a link in a menu; newer ones may have a form, which Django prefers.
  const link = 'a[href*="/auth/logout"]';
  const form = 'form[action*="/auth/logout"]';
  if (await page.$(link)) {
    const href = String(await page.evaluate(`document.querySelector('${link}').href`));
    await open(page, new URL(href, url));
  } else if (await page.$(form)) {
    await Promise.all([
      page.waitForNavigation(),
      page.evaluate(`document.querySelector('${form}').submit()`),
    ]);
  } else {
    throw new Error(`${page.url()}: wanted a way to log out, found ${await said(page)}`);
  }
  await expect(page, "#id_username", "the login form after the logout");
}

/** Neither the browser nor who kept its cookies is let in. */
async function seeNoSession(
  browser: Browser,
  page: Page,
  { url }: Visit,
  session: readonly CookieData[],
): Promise<void> {
  const list = new URL("project/instances/", url);
  for (const [who, cookies] of [
    ["the browser that was logged out", []],
    ["the cookies from before the logout", session],
  ] as const) {
    await browser.setCookie(...cookies);
    await open(page, list);
    if (!isLogin(page)) {
      throw new Error(`${list.href}: wanted the login for ${who}, found ${await said(page)}`);
    }
  }
}

async function open(page: Page, url: URL): Promise<void> {
  const response = await page.goto(url.href, { waitUntil: "load" });
  if (!response?.ok()) {
    throw new Error(
      `${url.href}: wanted a page, found ${response ? `status ${response.status()}` : "nothing"}`,
    );
  }
}

async function expect(page: Page, selector: string, what: string): Promise<void> {
  if (!(await page.$(selector))) {
    throw new Error(`${page.url()}: wanted ${what} (${selector}), found ${await said(page)}`);
  }
}

function isLogin(page: Page): boolean {
  return new URL(page.url()).pathname.endsWith("/auth/login/");
}

/** What a person would read on the page, shortened. */
async function said(page: Page): Promise<string> {
  // Where Horizon has its menus left out.
  const content = "document.querySelector('#content_body') ?? document.body";
  const text = String(await page.evaluate(`(${content})?.innerText ?? ""`));
  return JSON.stringify(text.replace(/\s+/g, " ").trim().slice(0, 300));
}

/** A text in XPath, which knows no escapes. */
function quoted(text: string): string {
  if (text.includes('"'))
    throw new Error(`wanted an instance's name without quotes, found ${text}`);
  return `"${text}"`;
}

async function main(): Promise<void> {
  const [instance, picture] = process.argv.slice(2);
  if (instance === undefined || instance.startsWith("-")) {
    throw new Error(
      "wanted the name of an instance, found none: npm run dashboard -- INSTANCE [PICTURE]",
    );
  }
  const stack = process.env.STACK ?? "dev";
  const cloud = stackCloud(stack);
  const url = dashboardUrl(cloud);
  const kept = path.join(cloudFolder(stack), "horizon.png");
  const began = Date.now();
  await visit({
    url,
    user: "admin",
    password: process.env.DASHBOARD_PASSWORD ?? stackOutputs(stack).adminPassword,
    domain: "Default",
    ...(cloud.tls?.authority === undefined ? {} : { certificate: cloud.tls.certificate }),
    instance,
    pictures: [kept, ...(picture === undefined ? [] : [path.resolve(picture)])],
  });
  console.log(
    `${url}: logged in, saw ${instance}, logged out, and the session is gone (${Math.round((Date.now() - began) / 1000)} s); ${path.relative(
      process.cwd(),
      kept,
    )}`,
  );
}

if (require.main === module) program(main);
