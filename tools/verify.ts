import { spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import * as fs from "node:fs";
import * as os from "node:os";
import * as path from "node:path";
import * as readline from "node:readline";
import {
  classOf,
  type Exclusion,
  exclusions,
  nameOf,
  type Outcome,
  outcome,
  report,
  type TestEvent,
  withoutExcluded,
} from "../test/tempest/report";
import { ensurePython, installed, pythonEnvironment } from "../test/tempest/venv";
import { OpenStack } from "./openstack";
import { authorityFile } from "./outputs";
import { program } from "./program";
import { cloudFolder, stackCloud, stackOutputs } from "./stack";
import {
  dashboardUrl,
  lookUp,
  planned,
  PREFIX,
  type TempestInput,
  writeTempestFiles,
} from "./tempest-conf";

const USAGE = `npm run verify: tempest, the tests that OpenStack itself is released with, against the cloud at its public address.

  npm run verify                    every smoke test
  npm run verify -- --full          compute, network, volume, image and identity APIs, and scenarios; takes hours
  npm run verify -- REGEX           the tests whose names match
  npm run verify -- --list [...]    only name them
  npm run verify -- --cleanup       remove what an interrupted run has left in the cloud

The stack is $STACK, by default dev. $TEMPEST_CONCURRENCY tests run at once, by default 2. Everything that was said and done
is in .cloud/STACK/tempest. The last line counts: "N passed, N failed, N skipped". Exit code 1 if a test failed.`;

/** What tempest itself calls full: all APIs and scenarios, but what is marked as slow; without the services that we lack. */
const FULL =
  "^(?!.*\\[.*\\bslow\\b.*\\])tempest\\.(api\\.(?!object_storage)|scenario|serial_tests)";

/** Seconds for a single test, so that none holds up the run for ever. */
const TEST_TIMEOUT = 2400;
/** Seconds of silence after which a person is told what runs. */
const SILENCE = 60;

const EXCLUDE = path.join(__dirname, "../test/tempest/exclude.txt");
const EVENTS = path.join(__dirname, "../test/tempest/events.py");

interface Wanted {
  readonly verb: "run" | "list" | "cleanup" | "help";
  /** Options of `tempest run` that select the tests. */
  readonly selection: readonly string[];
}

/** @throws Error where the arguments make no sense. */
export function wanted(args: readonly string[]): Wanted {
  const options = args.filter((arg) => arg.startsWith("-"));
  const regexes = args.filter((arg) => !arg.startsWith("-"));
  const unknown = options.find(
    (arg) => !["--full", "--list", "--cleanup", "--help", "-h"].includes(arg),
  );
  if (unknown !== undefined) throw new Error(`no such option: ${unknown}; see --help`);
  const has = (option: string): boolean => options.includes(option);
  const [regex, ...others] = regexes;
  if (others.length > 0 || (regex !== undefined && has("--full"))) {
    throw new Error("wanted one regular expression or --full, found more; see --help");
  }
  const verb =
    has("--help") || has("-h")
      ? "help"
      : has("--cleanup")
        ? "cleanup"
        : has("--list")
          ? "list"
          : "run";
  if (regex !== undefined) return { verb, selection: ["--regex", regex] };
  return { verb, selection: has("--full") ? ["--regex", FULL] : ["--smoke"] };
}

async function main(): Promise<number> {
  const { verb, selection } = wanted(process.argv.slice(2));
  if (verb === "help") {
    console.log(USAGE);
    return 0;
  }
  const python = ensurePython();
  const excluded = exclusions(fs.readFileSync(EXCLUDE, "utf8"));
  if (verb === "list") {
    for (const test of select(python, selection, excluded).run) console.log(test);
    return 0;
  }
  const stack = process.env.STACK ?? "dev";
  const input = await tempestInput(stack);
  if (verb === "cleanup") return cleanUp(python, input);
  return verify(python, input, select(python, selection, excluded));
}

/** The tests of a selection, and those of them that are excluded. Asks no cloud. */
function select(
  python: string,
  selection: readonly string[],
  excluded: readonly Exclusion[],
): Selection {
  const tests = listTests(python, selection);
  if (tests.length === 0) throw new Error("wanted tests to run, found none; see --list");
  return withoutExcluded(tests, excluded);
}

type Selection = ReturnType<typeof withoutExcluded>;

export function listTests(python: string, selection: readonly string[]): string[] {
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), "openstack-ha-tempest-"));
  try {
    prepareFolder(python, folder);
    const listed = spawnSync(
      python,
      ["-m", "tempest.cmd.main", "run", "--list-tests", ...selection],
      { cwd: folder, encoding: "utf8", env: environment(folder), maxBuffer: 64 << 20 },
    );
    if (listed.status !== 0) {
      throw new Error(`tempest: wanted a list of tests, found: ${listed.stdout}${listed.stderr}`);
    }
    return listed.stdout
      .split("\n")
      .filter((line) => line.startsWith("tempest."))
      .sort();
  } finally {
    fs.rmSync(folder, { recursive: true, force: true });
  }
}

/** A folder that tempest can work in. */
function prepareFolder(python: string, folder: string): void {
  const asked = spawnSync(
    python,
    ["-c", "import os, tempest; print(os.path.dirname(tempest.__file__))"],
    { cwd: folder, encoding: "utf8", env: environment(folder) },
  );
  const tempest = asked.stdout.trim();
  fs.writeFileSync(
    path.join(folder, ".stestr.conf"),
    `[DEFAULT]\ntest_path=${tempest}/test_discover\ntop_dir=${path.dirname(tempest)}\n` +
      // Tests of one class share what its set-up makes, and so run one after the other.
      "group_regex=([^\\.]*\\.)*\n",
  );
  if (!fs.existsSync(path.join(folder, ".stestr"))) {
    spawnSync(python, ["-m", "stestr.cli", "init"], { cwd: folder, env: environment(folder) });
  }
}

function environment(folder: string, authority?: string): NodeJS.ProcessEnv {
  // The cloud is asked directly.
  const direct = Object.entries(pythonEnvironment()).filter(([name]) => !/^\w+_proxy$/i.test(name));
  return {
    ...Object.fromEntries(direct),
    // For what asks without tempest's own option, as the dashboard's test does: OpenSSL's.
    ...(authority === undefined ? {} : { SSL_CERT_FILE: authority }),
    OS_TEST_TIMEOUT: String(TEST_TIMEOUT),
    PYTHONUNBUFFERED: "1",
    TEMPEST_CONFIG: "tempest.conf",
    TEMPEST_CONFIG_DIR: folder,
  };
}

async function tempestInput(stack: string): Promise<TempestInput> {
  const cloud = stackCloud(stack);
  const outputs = stackOutputs(stack);
  const plan = planned(cloud);
  return {
    outputs,
    planned: plan,
    found: await lookUp(await asAdmin(outputs), plan),
    dashboardUrl: dashboardUrl(cloud),
    authority: authorityFile(outputs, stack),
    folder: path.join(cloudFolder(stack), "tempest"),
  };
}

function asAdmin(outputs: TempestInput["outputs"]): Promise<OpenStack> {
  const { adminPassword, authUrl } = outputs;
  return OpenStack.login({ authUrl, user: "admin", password: adminPassword, project: "admin" });
}

// ---- A run ------------------------------------------------------------------------------------------------------

export async function verify(
  python: string,
  input: TempestInput,
  { run, skipped }: Selection,
): Promise<number> {
  const { folder } = input;
  if (input.planned.network && !pingable()) {
    throw new Error(
      "wanted the command ping, which tempest uses, found none; install iputils-ping",
    );
  }
  writeTempestFiles(input);
  prepareFolder(python, folder);
  for (const name of ["tempest.log", "run.log"]) keepOld(path.join(folder, name));
  const shown = path.relative(process.cwd(), folder);
  const began = Date.now();
  console.log(`${run.length} tests, logs in ${shown}`);
  const { events, interrupted } = await runTempest(python, input, run);
  const result = outcome(run, events);
  const whole: Outcome = { ...result, skipped: [...result.skipped, ...skipped] };
  const text = report(whole);
  fs.appendFileSync(path.join(folder, "run.log"), `\n${text}\n`);
  const left = await leftBehind(input);
  if (left > 0) {
    console.log(
      `\n${left} projects of tests are still in the cloud, with what is in them: npm run verify -- --cleanup`,
    );
  }
  console.log(
    `\n${elapsed(began)}${whole.failed.length > 0 ? `, details in ${shown}/run.log` : ""}\n`,
  );
  console.log(text);
  return interrupted ? 130 : whole.failed.length > 0 ? 1 : 0;
}

function pingable(): boolean {
  const ask = (): true | undefined =>
    spawnSync("ping", ["-V"], { stdio: "ignore" }).status === 0 || undefined;
  return ask() ?? installed(["iputils-ping"], ask) ?? false;
}

function keepOld(file: string): void {
  if (fs.existsSync(file)) fs.renameSync(file, `${file}.old`);
}

/** Run these tests, tell of each, and keep everything in run.log. */
async function runTempest(
  python: string,
  { authority, folder }: Pick<TempestInput, "authority" | "folder">,
  tests: readonly string[],
): Promise<{ events: TestEvent[]; interrupted: boolean }> {
  if (tests.length === 0) return { events: [], interrupted: false };
  const selected = path.join(folder, "selected");
  fs.writeFileSync(selected, `${tests.join("\n")}\n`);
  const log = fs.openSync(path.join(folder, "run.log"), "a");
  const concurrency = process.env.TEMPEST_CONCURRENCY ?? "2";
  const args = ["-m", "tempest.cmd.main", "run", "--subunit", "--load-list", selected];
  const run = { cwd: folder, detached: true, env: environment(folder, authority) };
  // Groups of their own: an interrupt reaches tempest once, from here, and the reader not at all.
  const tempest = spawn(python, [...args, "--concurrency", concurrency], run);
  const reader = spawn(python, [EVENTS], run);
  tempest.stdin.end();
  tempest.stdout.pipe(reader.stdin);
  for (const { stderr } of [tempest, reader]) {
    stderr.on("data", (data: Buffer) => fs.writeSync(log, data));
  }
  const closed = [tempest, reader].map((child) => once(child, "close"));
  const signals: NodeJS.Signals[] = [];
  const stop = (): void => {
    console.error("\ninterrupted; stopping the tests");
    const signal = signals.length > 0 ? "SIGKILL" : "SIGINT";
    signals.push(signal);
    if (tempest.pid !== undefined && tempest.exitCode === null) process.kill(-tempest.pid, signal);
  };
  process.on("SIGINT", stop);
  process.on("SIGTERM", stop);

  const progress = new Progress(tests);
  const silence = setInterval(() => {
    progress.stillRunning();
  }, 1000);
  const events: TestEvent[] = [];
  for await (const line of readline.createInterface({ input: reader.stdout })) {
    const event = JSON.parse(line) as TestEvent;
    events.push(event);
    fs.writeSync(log, logged(event));
    progress.add(event);
  }
  await Promise.all(closed);
  clearInterval(silence);
  process.off("SIGINT", stop);
  process.off("SIGTERM", stop);
  fs.closeSync(log);
  const interrupted = signals.length > 0;
  if (events.length === 0 && !interrupted) {
    throw new Error(
      `tempest: wanted it to run tests, found that it ended with exit code ${String(tempest.exitCode)}; see ${folder}/run.log`,
    );
  }
  return { events, interrupted };
}

function logged({ status, id, seconds, reason, details }: TestEvent): string {
  const time = new Date().toISOString();
  const more = [seconds !== undefined && `${seconds} s`, reason].filter(Boolean).join(", ");
  return `${time} ${status} ${id}${more ? `: ${more}` : ""}\n${details === undefined ? "" : `${details}\n`}`;
}

/** One line for each test that ends, and a word now and then while none does. */
class Progress {
  private readonly began = Date.now();
  private last = Date.now();
  private done = 0;
  private readonly running = new Map<string, number>();

  constructor(private readonly tests: readonly string[]) {}

  add({ status, id, seconds, reason }: TestEvent): void {
    if (status === "said") return;
    if (status === "started") {
      this.running.set(id, Date.now());
      return;
    }
    this.running.delete(id);
    const whole = id.startsWith("setUpClass ");
    const count = whole ? this.tests.filter((test) => classOf(test) === classOf(id)).length : 1;
    if (whole || this.tests.includes(id)) this.done += count;
    const name = whole ? `${classOf(id)} (${count} tests)` : nameOf(id);
    const time = seconds === undefined ? "" : `${seconds.toFixed(1)} s`;
    const word = status === "failed" ? "FAILED" : status === "passed" ? "ok" : status;
    this.say(
      `${this.count()} ${word.padEnd(7)} ${time.padStart(8)}  ${name}${reason ? `: ${reason}` : ""}`,
    );
  }

  stillRunning(): void {
    if (Date.now() - this.last < SILENCE * 1000) return;
    const names = [...this.running].map(([id, since]) => `${nameOf(id)} (${elapsed(since)})`);
    this.say(
      `${this.count()} ${elapsed(this.began)}: ${names.join(", ") || "setting up or cleaning up a class of tests"}`,
    );
  }

  private count(): string {
    const total = String(this.tests.length);
    return `[${String(this.done).padStart(total.length)}/${total}]`;
  }

  private say(line: string): void {
    this.last = Date.now();
    console.log(line);
  }
}

function elapsed(since: number): string {
  return `${Math.round((Date.now() - since) / 1000)} s`;
}

// ---- What tests leave behind ------------------------------------------------------------------------------------

async function projectsOfTests(api: OpenStack): Promise<{ id: string; name: string }[]> {
  const all = await api.get<{ id: string; name: string }[]>("identity", "/projects", "projects");
  return all.filter(({ name }) => name.startsWith(`${PREFIX}-`));
}

async function leftBehind({ outputs }: TempestInput): Promise<number> {
  try {
    return (await projectsOfTests(await asAdmin(outputs))).length;
  } catch {
    // The tests have told already if the cloud does not answer.
    return 0;
  }
}

/** Remove all whose name says that it is a test's, and what has no name in projects of such a name. */
export async function cleanUp(python: string, input: TempestInput): Promise<number> {
  writeTempestFiles(input);
  const api = await asAdmin(input.outputs);
  // First what tempest's own clean-up does not know, or not by name.
  if (input.planned.network) {
    for (const { id } of await projectsOfTests(api)) {
      const where = `/v2.0/floatingips?project_id=${id}`;
      for (const address of await api.get<{ id: string }[]>("network", where, "floatingips")) {
        await api.remove("network", `/v2.0/floatingips/${address.id}`);
      }
    }
  }
  for (const kind of ["services", "groups", "regions"]) {
    const all = await api.get<{ id: string; name?: string }[]>("identity", `/${kind}`, kind);
    for (const { id, name } of all) {
      if ((name ?? id).startsWith(`${PREFIX}-`)) await api.remove("identity", `/${kind}/${id}`);
    }
  }
  const done = spawnSync(python, ["-m", "tempest.cmd.main", "cleanup", "--prefix", `${PREFIX}-`], {
    cwd: input.folder,
    env: environment(input.folder, input.authority),
    stdio: ["ignore", "inherit", "inherit"],
  });
  const left = await projectsOfTests(await asAdmin(input.outputs));
  console.log(`${left.length} projects of tests are left`);
  return done.status === 0 && left.length === 0 ? 0 : 1;
}

if (require.main === module)
  program(async () => {
    process.exitCode = await main();
  });
