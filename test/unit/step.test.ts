import { spawn } from "node:child_process";
import * as fs from "node:fs";
import * as path from "node:path";
import test, { type ExecutionContext } from "ava";
import { runnerScript } from "../../components/hosts/base";
import {
  finish,
  isAlive,
  LIBRARY,
  Room,
  step,
  until,
  type Outcome,
  type StepDocument,
} from "./support/runner";

// The runner is run as it is on a host, as a process, in folders of each test's own.

/** AVA starts all tests of a file at once, and some of these measure time. */
const MOST_AT_ONCE = 4;
let atOnce = 0;
const waiting: (() => void)[] = [];

async function room(t: ExecutionContext): Promise<Room> {
  if (atOnce >= MOST_AT_ONCE) await new Promise<void>((resolve) => waiting.push(resolve));
  else atOnce++;
  const made = new Room();
  t.teardown(() => {
    made.remove();
    const next = waiting.shift();
    if (next) next();
    else atOnce--;
  });
  return made;
}

function succeeds(t: ExecutionContext, { status, stdout, stderr }: Outcome, line: string): void {
  t.deepEqual({ status, stdout, stderr }, { status: 0, stdout: `${line}\n`, stderr: "" });
}

/** It failed with one line for the operator, which is returned. */
function fails(t: ExecutionContext, { status, stdout, stderr }: Outcome): string {
  t.is(status, 1, stderr);
  t.is(stdout, "");
  t.regex(stderr, /^[^\n]+\n$/, "one line on stderr");
  return stderr.trimEnd();
}

interface Checked {
  readonly service: string;
  readonly stage: string;
  readonly host: string;
  readonly differences: readonly { kind: string; what: string; found: string }[];
  readonly facts: readonly string[];
}

/** What --check found; its exit code says the same. */
function found(t: ExecutionContext, { status, stdout, stderr }: Outcome): Checked {
  t.is(stderr, "");
  const checked = JSON.parse(stdout) as Checked;
  t.is(status, checked.differences.length > 0 ? 3 : 0);
  return checked;
}

const PASSWORD = "Tr0ub4dorAndThreeOthers";
const OLD_PASSWORD = "CorrectHorseBatteryStaple";

// ---- Files ------------------------------------------------------------------------------------------------------

test("files are written with their mode, and folders on the way are made", async (t) => {
  const r = await room(t);
  const document = step({
    files: {
      [r.at("host/etc/deep/a.conf")]: { content: "a = 1\n", mode: "0640" },
      [r.at("host/b.conf")]: { content: "b = ü\n" },
    },
  });
  succeeds(t, await r.apply(document), "changed: 2 files (b.conf, a.conf)");
  t.is(r.read("host/etc/deep/a.conf"), "a = 1\n");
  t.is(r.mode("host/etc/deep/a.conf"), "640");
  t.is(r.read("host/b.conf"), "b = ü\n");
  t.is(r.mode("host/b.conf"), "644");
});

test("a second run finds nothing to do, and touches nothing", async (t) => {
  const r = await room(t);
  const document = step({
    files: { [r.at("host/a.conf")]: { content: "a\n", mode: "0600" } },
    directories: { [r.at("host/folder")]: { mode: "2750" } },
    script: "[[ -e $STEP_STATE/done ]] || change 'marker' touch \"$STEP_STATE/done\"\n",
  });
  succeeds(t, await r.apply(document), `changed: 2 files (folder, a.conf), marker`);
  const before = [...r.tree(r.at("host")), ...r.tree(r.state)];
  succeeds(t, await r.apply(document), "unchanged");
  t.deepEqual([...r.tree(r.at("host")), ...r.tree(r.state)], before);
});

test("an existing file is replaced at once: who has the old one open keeps it whole", async (t) => {
  const r = await room(t);
  const file = r.write("host/a.conf", "old\n");
  fs.linkSync(file, r.at("host/old-inode"));
  succeeds(
    t,
    await r.apply(step({ files: { [file]: { content: "new\n" } } })),
    "changed: 1 files (a.conf)",
  );
  t.is(r.read("host/a.conf"), "new\n");
  t.is(r.read("host/old-inode"), "old\n");
  t.deepEqual(
    fs.readdirSync(r.at("host")).sort(),
    ["a.conf", "old-inode"],
    "no temporary file stays",
  );
});

test("a wrong mode alone is put right", async (t) => {
  const r = await room(t);
  const file = r.write("host/a.conf", "a\n", 0o666);
  const document = step({ files: { [file]: { content: "a\n", mode: "0600" } } });
  succeeds(t, await r.apply(document), "changed: 1 files (a.conf)");
  t.is(r.mode("host/a.conf"), "600");
  succeeds(t, await r.apply(document), "unchanged");
});

test("a file with a wrong mode alone is not written anew: its time says when its content came", async (t) => {
  const r = await room(t);
  const file = r.write("host/a.conf", "a\n", 0o666);
  fs.utimesSync(file, 1_000_000, 1_000_000);
  const { ino } = fs.statSync(file);
  await r.apply(step({ files: { [file]: { content: "a\n", mode: "0640" } } }));
  const { ino: after, mtimeMs, mode } = fs.statSync(file);
  t.deepEqual([after, mtimeMs, mode & 0o7777], [ino, 1_000_000_000, 0o640]);
});

test("an owner that does not exist is said, and nothing is written", async (t) => {
  const r = await room(t);
  const document = step({
    files: { [r.at("host/a")]: { content: "a\n", owner: "nobody-of-ours" } },
  });
  t.regex(
    fails(t, await r.apply(document)),
    /^demo configure on ctl1: .*host\/a should belong to nobody-of-ours:root, found no such account .*installed\?$/,
  );
  t.false(fs.existsSync(r.at("host/a")));
});

test("files that are to be absent go, others stay", async (t) => {
  const r = await room(t);
  r.write("host/gone", "x");
  fs.symlinkSync("/nowhere", r.at("host/dangling"));
  r.write("host/stays", "x");
  const document = step({ absent: [r.at("host/gone"), r.at("host/dangling"), r.at("host/never")] });
  succeeds(t, await r.apply(document), "changed: 2 files (dangling, gone)");
  t.deepEqual(fs.readdirSync(r.at("host")), ["stays"]);
  succeeds(t, await r.apply(document), "unchanged");
});

test("a folder that is purged keeps the plan's files alone, and its subfolders", async (t) => {
  const r = await room(t);
  r.write("host/keys/0", "old");
  r.write("host/keys/7", "stale");
  r.write("host/keys/sub/file", "not looked at");
  const document = step({
    directories: { [r.at("host/keys")]: { mode: "0700", purge: true } },
    files: {
      [r.at("host/keys/0")]: { content: "staged" },
      [r.at("host/keys/1")]: { content: "primary" },
    },
  });
  const { differences } = found(t, await r.check(document));
  t.deepEqual(
    differences.map(({ what }) => path.relative(r.at("host"), what)),
    ["keys", "keys/0", "keys/1", "keys/7"],
  );
  // What is new comes before what it replaces, and what goes, goes last.
  succeeds(t, await r.apply(document), "changed: 3 files (keys, 0, 1), removed 7");
  t.deepEqual(fs.readdirSync(r.at("host/keys")).sort(), ["0", "1", "sub"]);
  t.is(r.read("host/keys/0"), "staged");
  t.is(r.mode("host/keys"), "700");
  succeeds(t, await r.apply(document), "unchanged");
});

test("a file that is to be written last is written after the others, whatever its name", async (t) => {
  const r = await room(t);
  // The staged key of a repository becomes the primary one: that has to be there before the staged one is another.
  r.program("checker", `[[ -e ${r.at("host/keys/1")} && -e ${r.at("host/keys/2")} ]]`);
  const document = step({
    files: {
      [r.at("host/keys/0")]: { content: "0", last: true, validate: [r.at("bin/checker")] },
      [r.at("host/keys/1")]: { content: "1" },
      [r.at("host/keys/2")]: { content: "2" },
    },
  });
  succeeds(t, await r.apply(document), "changed: 3 files (1, 2, 0)");
});

// ---- Secrets in files -------------------------------------------------------------------------------------------

test("placeholders are filled in with the value as it is", async (t) => {
  const r = await room(t);
  // What a replacement or a format would trip over.
  const nasty = `\\1 $& \${secret:other} {0} %s "'\``;
  await r.secrets({ nasty, other: "never" });
  const document = step({
    files: {
      [r.at("host/a")]: { content: "p = ${secret:nasty}; p = ${secret:nasty}\n", mode: "0600" },
    },
    secrets: { nasty: 1 },
  });
  succeeds(t, await r.apply(document), "changed: 1 files (a)");
  t.is(r.read("host/a"), `p = ${nasty}; p = ${nasty}\n`);
  succeeds(t, await r.apply(document), "unchanged");
});

test("a file that names a secret which the step does not declare is refused", async (t) => {
  const r = await room(t);
  await r.secrets({ db: PASSWORD });
  const document = step({ files: { [r.at("host/a")]: { content: "p = ${secret:db}\n" } } });
  t.regex(
    fails(t, await r.apply(document)),
    /host\/a names secret db, which the step does not declare$/,
  );
  t.false(fs.existsSync(r.at("host/a")));
});

for (const [what, stored, have] of [
  ["missing", undefined, "none"],
  ["older", 1, "version 1"],
  ["newer", 3, "version 3"],
] as const) {
  test(`a secret that is ${what} on the host is refused before anything is changed`, async (t) => {
    const r = await room(t);
    await r.secrets({ other: "x" });
    if (stored !== undefined) await r.secrets({ db: PASSWORD }, stored);
    const document = step({
      files: { [r.at("host/a")]: { content: "a\n" } },
      secrets: { db: 2 },
      script: `touch ${r.at("host/ran")}`,
    });
    t.is(
      fails(t, await r.apply(document)),
      `demo configure on ctl1: wanted secret db version 2, found ${have} in ${r.store}; run \`pulumi up\`, which brings the secrets first`,
    );
    t.deepEqual(fs.readdirSync(r.at("host")), []);
    // In a check it is a difference, so that it does not hide the other steps' state.
    const { differences } = found(t, await r.check(document));
    t.deepEqual(
      differences.map(({ kind, what: service }) => [kind, service]),
      [["error", "demo"]],
    );
  });
}

// ---- --secrets --------------------------------------------------------------------------------------------------

test("the store of secrets is replaced as a whole, and only root reads it", async (t) => {
  const r = await room(t);
  const one = { a: { version: 1, value: "one" }, b: { version: 1, value: "two" } };
  succeeds(t, await r.apply(one, "--secrets"), "changed: 2 secrets (a, b)");
  t.is(r.mode("etc/secrets.json"), "600");
  t.deepEqual(JSON.parse(r.read("etc/secrets.json")), one);

  const before = r.tree(r.etc);
  succeeds(t, await r.apply(one, "--secrets"), "unchanged");
  t.deepEqual(r.tree(r.etc), before);

  const two = { b: { version: 2, value: "two" }, c: { version: 1, value: "three" } };
  succeeds(t, await r.apply(two, "--secrets"), "changed: 3 secrets (a, b, c)");
  t.deepEqual(JSON.parse(r.read("etc/secrets.json")), two, "what is no longer used does not stay");
  t.is(r.mode("etc/secrets.json"), "600");
});

test("another value of a secret under the same version is refused: no service would be told", async (t) => {
  const r = await room(t);
  await r.secrets({ db: PASSWORD, other: "x" });
  const before = r.read("etc/secrets.json");
  const store = { db: { version: 1, value: OLD_PASSWORD }, other: { version: 2, value: "y" } };
  const line = fails(t, await r.apply(store, "--secrets"));
  t.regex(
    line,
    /^secrets: wanted another value of db under the version that this host has already; /,
  );
  t.notRegex(line, new RegExp(`${PASSWORD}|${OLD_PASSWORD}`));
  t.is(r.read("etc/secrets.json"), before, "nothing of it is taken over");
});

test("a store that others can read is put right", async (t) => {
  const r = await room(t);
  await r.secrets({ a: "one" });
  fs.chmodSync(r.store, 0o644);
  const { status } = await r.apply({ a: { version: 1, value: "one" } }, "--secrets");
  t.is(status, 0);
  t.is(r.mode("etc/secrets.json"), "600");
});

test("a store that was edited by hand is put right, under the versions that it had", async (t) => {
  const r = await room(t);
  const store = { db: { version: 1, value: PASSWORD } };
  await r.secrets({ db: PASSWORD });
  for (const text of [JSON.stringify({ db: { version: 1, value: OLD_PASSWORD } }), "{ no", ""]) {
    fs.writeFileSync(r.store, text);
    succeeds(
      t,
      await r.apply(store, "--secrets"),
      "changed: the store of secrets, which was edited by hand",
    );
    t.deepEqual(JSON.parse(r.read("etc/secrets.json")), store);
    succeeds(t, await r.apply(store, "--secrets"), "unchanged");
  }
  fs.rmSync(r.store);
  succeeds(t, await r.apply(store, "--secrets"), "changed: 1 secrets (db)");
  // What the program wants otherwise is refused as before.
  fails(t, await r.apply({ db: { version: 1, value: OLD_PASSWORD } }, "--secrets"));
});

test("more than four changed secrets are counted, not listed", async (t) => {
  const r = await room(t);
  const many = Object.fromEntries(
    "abcdef".split("").map((name) => [name, { version: 1, value: name }]),
  );
  succeeds(t, await r.apply(many, "--secrets"), "changed: 6 secrets (a, b, c, d and 2 more)");
});

for (const [what, store] of [
  ["without a version", { db: { value: PASSWORD } }],
  ["whose value is a number", { db: { version: 1, value: 12345678 } }],
] as const) {
  test(`a store with a secret ${what} is refused, and the old one stays`, async (t) => {
    const r = await room(t);
    await r.secrets({ a: "one" });
    const before = r.read("etc/secrets.json");
    const line = fails(t, await r.apply(store, "--secrets"));
    t.regex(line, /^secret db: wanted a version and a text value; /);
    t.notRegex(line, /Tr0ub4dor|12345678/);
    t.is(r.read("etc/secrets.json"), before);
  });
}

// ---- Check ------------------------------------------------------------------------------------------------------

test("a check changes nothing and says what differs", async (t) => {
  const r = await room(t);
  await r.secrets({ db: PASSWORD });
  r.write("host/same", "same\n");
  r.write("host/mode", "same\n", 0o666);
  r.write("host/text", "a = 1\nb = 2\n");
  r.write("host/gone", "x");
  r.write("host/keys/9", "x");
  const document = step({
    directories: { [r.at("host/keys")]: { purge: true }, [r.at("host/new")]: {} },
    files: {
      [r.at("host/same")]: { content: "same\n" },
      [r.at("host/mode")]: { content: "same\n" },
      [r.at("host/text")]: { content: "a = 1\nb = 3\n" },
      [r.at("host/never/there")]: { content: "x" },
      [r.at("host/keys/1")]: { content: "${secret:db}" },
    },
    absent: [r.at("host/gone")],
    secrets: { db: 1 },
    script: `change "started demo" touch ${r.at("host/started")}
checking && [[ $STEP_MODE == check ]]
verify() { echo "demo is ill"; return 1; }
verified 5
`,
  });
  // The runner's own folders are there on a host that was set up.
  succeeds(t, await r.apply(step({ step: { service: "other" } })), "unchanged");
  const folders = [r.at("host"), r.etc, r.log, r.state];
  const before = folders.map((folder) => r.tree(folder));

  const { differences, ...where } = found(t, await r.check(document));

  t.deepEqual(
    folders.map((folder) => r.tree(folder)),
    before,
  );
  t.deepEqual(fs.readdirSync(r.run).sort(), ["demo.lock", "other.lock"], "nothing is left behind");
  t.deepEqual(where, { service: "demo", stage: "configure", host: "ctl1", facts: [] });
  t.deepEqual(
    differences.map(({ kind, what, found: text }) => [
      kind,
      what.replace(`${r.at("host")}/`, ""),
      text,
    ]),
    [
      ["directory", "new", "missing"],
      ["file", "keys/1", "missing"],
      ["file", "mode", `mode 0666 uid ${process.getuid!()} gid ${process.getgid!()}`],
      ["file", "never/there", "missing"],
      [
        "file",
        "text",
        `--- ${r.at("host/text")} (host)\n+++ ${r.at("host/text")} (plan)\n@@ -1,2 +1,2 @@\n a = 1\n-b = 2\n+b = 3`,
      ],
      ["file", "gone", "present, wanted absent"],
      ["file", "keys/9", "present, wanted absent"],
      ["state", "demo", "started demo"],
      ["health", "demo", "demo is ill"],
    ],
  );
});

test("a check of what is as planned says so, with the facts of its service", async (t) => {
  const r = await room(t);
  r.write("host/a", "a\n");
  const document = step({
    files: { [r.at("host/a")]: { content: "a\n" } },
    script: 'verify() { echo "3 of 3 members"; }\nverified 5\n',
  });
  const { differences, facts } = found(t, await r.check(document));
  t.deepEqual({ differences, facts }, { differences: [], facts: ["3 of 3 members"] });
});

test("a list of documents is checked as a list, in its order, and one that fails does not hide the others", async (t) => {
  const r = await room(t);
  const documents = [
    step({ step: { service: "good" }, script: "verify() { echo fine; }\nverified 1\n" }),
    step({ step: { service: "bad" }, script: "fail 'wanted peace, found war; talk'\n" }),
    step({ step: { service: "ugly" }, secrets: { none: 1 } }),
    step({ step: { service: "last" }, files: { [r.at("host/a")]: { content: "a" } } }),
  ];
  const { status, stdout } = await r.check(documents);
  t.is(status, 3);
  const results = JSON.parse(stdout) as Checked[];
  t.deepEqual(
    results.map(({ service, differences }) => [service, differences.map(({ kind }) => kind)]),
    [
      ["good", []],
      ["bad", ["error"]],
      ["ugly", ["error"]],
      ["last", ["file"]],
    ],
  );
  t.regex(results[1]!.differences[0]!.found, /wanted peace, found war; talk/);

  const good = await r.check([documents[0]]);
  t.is(good.status, 0);
  t.deepEqual(
    (JSON.parse(good.stdout) as Checked[]).map(({ facts }) => facts),
    [["fine"]],
  );
});

test("a check that cannot be done still says what it had found", async (t) => {
  const r = await room(t);
  const document = step({
    files: { [r.at("host/a")]: { content: "a\n" } },
    script: "change 'started demo' true\nfail 'wanted a cluster, found none'\n",
  });
  t.deepEqual(
    found(t, await r.check(document)).differences.map(({ kind, found: text }) => [kind, text]),
    [
      ["file", "missing"],
      ["state", "started demo"],
      ["error", "demo configure on ctl1: wanted a cluster, found none"],
    ],
  );
});

test("a check does not wait for a step that runs", async (t) => {
  const r = await room(t);
  const slow = r.start(step({ script: `touch ${r.at("host/started")}; sleep 20` }));
  t.teardown(() => slow.process.kill());
  await until("the step runs", () => fs.existsSync(r.at("host/started")));
  const checked = await r.check(step());
  t.is(checked.status, 0);
  t.true(checked.milliseconds < 10_000, `${checked.milliseconds} ms`);
});

// The host's file may hold another value than the store: that of before a rotation, or one that somebody set by hand.
const FILES_WITH_SECRETS: readonly [what: string, content: (secret: string) => string][] = [
  ["an option", (secret) => `user = demo\npassword = ${secret}\n`],
  ["a URL", (secret) => `connection = mysql+pymysql://demo:${secret}@10.0.0.1/demo?charset=utf8\n`],
  ["YAML", (secret) => `user: demo\npassword: ${secret}\n`],
  ["a key file, all of it secret", (secret) => secret],
  ["base64 with padding, all of it secret", (secret) => `${secret}==`],
  ["a quoted argument", (secret) => `#!/bin/sh\nprintf '%s\\n' '${secret}'\n`],
  ["two on a line", (secret) => `users = a:\${secret:same} b:${secret}\n`],
];

for (const [what, content] of FILES_WITH_SECRETS) {
  test(`neither value of a secret is in a check's difference: ${what}`, async (t) => {
    const r = await room(t);
    await r.secrets({ db: PASSWORD, same: "TheSameOnHostAndInPlan" });
    r.write(
      "host/a",
      `# by hand\n${content(OLD_PASSWORD)}`.replace("${secret:same}", "TheSameOnHostAndInPlan"),
    );
    const document = step({
      files: { [r.at("host/a")]: { content: content("${secret:db}"), mode: "0600" } },
      secrets: { db: 1, same: 1 },
    });
    const checked = await r.check(document);
    t.is(found(t, checked).differences.length, 1);
    for (const secret of [PASSWORD, OLD_PASSWORD, "TheSameOnHostAndInPlan"]) {
      t.false(checked.stdout.includes(secret), checked.stdout);
    }
  });
}

test("a difference in another line of a file with a secret is still shown", async (t) => {
  const r = await room(t);
  await r.secrets({ db: PASSWORD });
  r.write("host/a", `retries = 1\npassword = ${PASSWORD}\n`);
  const document = step({
    files: { [r.at("host/a")]: { content: "retries = 2\npassword = ${secret:db}\n" } },
    secrets: { db: 1 },
  });
  const text = found(t, await r.check(document)).differences[0]!.found;
  t.regex(text, /^-retries = 1$/m);
  t.regex(text, /^\+retries = 2$/m);
});

test("that a secret's value differs on the host is seen, though not what it is", async (t) => {
  const r = await room(t);
  await r.secrets({ db: PASSWORD });
  r.write("host/a", `password = ${OLD_PASSWORD}\n`);
  const document = step({
    files: { [r.at("host/a")]: { content: "password = ${secret:db}\n" } },
    secrets: { db: 1 },
  });
  const text = found(t, await r.check(document)).differences[0]!.found;
  t.regex(text, /^-password/m);
  t.regex(text, /^\+password = <secret:db>$/m);
});

// ---- Validation -------------------------------------------------------------------------------------------------

test("a file that its daemon refuses is not written, and the old one stays", async (t) => {
  const r = await room(t);
  await r.secrets({ db: PASSWORD });
  r.program(
    "checker",
    `cat "$2"; grep -q good "$2" || { echo "line 1: not good, $(cat "$2")" >&2; exit 1; }`,
  );
  const file = r.write("host/a.conf", "good old\n");
  const before = r.tree(r.at("host"));
  const document = (content: string): StepDocument =>
    step({
      files: { [file]: { content, validate: [r.at("bin/checker"), "-c", "{}"] } },
      secrets: { db: 1 },
      script: `touch ${r.at("host/ran")}`,
    });
  const line = fails(t, await r.apply(document("bad ${secret:db}\n")));
  t.regex(
    line,
    /^demo configure on ctl1: .*checker refuses the new .*a\.conf, the old one stays: .*not good/,
  );
  t.deepEqual(r.tree(r.at("host")), before, "not even the script has run");
  t.false(line.includes(PASSWORD));
  t.false(r.logs().includes(PASSWORD));
  t.deepEqual(fs.readdirSync(r.run), ["demo.lock"], "no candidate with a secret is left behind");

  succeeds(t, await r.apply(document("good ${secret:db}\n")), "changed: 1 files (a.conf)");
  t.is(r.read("host/a.conf"), `good ${PASSWORD}\n`);
});

test("the daemon's parser is given the whole new content, under the file's own name, readable by root only", async (t) => {
  const r = await room(t);
  r.program(
    "checker",
    `cp "$1" ${r.at("host/seen")}; basename "$1" >${r.at("host/name")}; stat -c %a "$(dirname "$1")" >${r.at("host/mode")}`,
  );
  const document = step({
    files: { [r.at("host/a.conf")]: { content: "x = 1\n", validate: [r.at("bin/checker"), "{}"] } },
  });
  succeeds(t, await r.apply(document), "changed: 1 files (a.conf)");
  t.is(r.read("host/seen"), "x = 1\n");
  t.is(r.read("host/name"), "a.conf\n");
  t.is(r.read("host/mode"), "700\n");
});

test("a parser that is not installed is an error of one line", async (t) => {
  const r = await room(t);
  const document = step({
    files: { [r.at("host/a")]: { content: "x", validate: ["no-such-parser", "{}"] } },
  });
  t.regex(fails(t, await r.apply(document)), /^demo configure on ctl1: .*no-such-parser/);
  t.false(fs.existsSync(r.at("host/a")));
});

test("an image that is being built validates nothing: its daemons cannot run there", async (t) => {
  const r = await room(t);
  const document = step({
    files: { [r.at("host/a")]: { content: "x", validate: ["false"] } },
    script: "baking\n",
  });
  succeeds(t, await r.apply(document, "--bake"), "changed: 1 files (a)");
});

// ---- Scripts ----------------------------------------------------------------------------------------------------

test("a script says what it changed, in the step's one line", async (t) => {
  const r = await room(t);
  const document = step({ script: "change 'restarted demo' true\nchanged 'and more'\n" });
  succeeds(t, await r.apply(document), "changed: restarted demo, and more");
});

test("what a script answers comes after the step's own line, whatever it changed", async (t) => {
  const r = await room(t);
  const answers = "answer admin a1\nanswer service 5e two words\n";
  succeeds(
    t,
    await r.apply(step({ script: answers })),
    "unchanged\nadmin a1\nservice 5e two words",
  );
  succeeds(
    t,
    await r.apply(step({ script: `answer first 1\nchanged it\n${answers}` })),
    "changed: it\nfirst 1\nadmin a1\nservice 5e two words",
  );
  // The log has the one line.
  t.false(r.logs().includes("admin a1"));
});

test("a step that fails answers nothing", async (t) => {
  const r = await room(t);
  t.regex(
    fails(t, await r.apply(step({ script: "answer admin a1\nfail 'wanted a'\n" }))),
    /: wanted a;/,
  );
});

test("what a script answers in a check is a fact", async (t) => {
  const r = await room(t);
  const { differences, facts } = found(t, await r.check(step({ script: "answer admin a1\n" })));
  t.deepEqual({ differences, facts }, { differences: [], facts: ["admin a1"] });
});

test("`fail` ends a step with one line, from however deep", async (t) => {
  const r = await room(t);
  const line = "wanted a lamp, found darkness; light a candle";
  for (const script of [
    `fail '${line}'\necho not reached >${r.at("host/reached")}`,
    `deep() { fail '${line}'; }\nvalue=$(deep)\necho not reached >${r.at("host/reached")}`,
    `f() { fail '${line}'; }\nchange 'lamp' f\necho not reached >${r.at("host/reached")}`,
  ]) {
    t.is(
      fails(t, await r.apply(step({ script }))),
      `demo configure on ctl1: ${line}; log: ${r.log}/demo-configure.log`,
    );
  }
  t.false(fs.existsSync(r.at("host/reached")));
});

test("a message of many lines comes as one", async (t) => {
  const r = await room(t);
  t.regex(fails(t, await r.apply(step({ script: "fail $'one\\ntwo'" }))), /: one two; log: /);
});

test("a command that fails unforeseen is reported by the last line it wrote and the log that has the others", async (t) => {
  const r = await room(t);
  const script = "echo first\necho 'no such table: users' >&2\nfalse\necho not reached\n";
  t.is(
    fails(t, await r.apply(step({ script }))),
    `demo configure on ctl1: no such table: users; log: ${r.log}/demo-configure.log`,
  );
  t.regex(r.logs(), /first\nno such table: users$/m);
  t.notRegex(r.logs(), /not reached/);
});

test("a script that fails without a word is reported", async (t) => {
  const r = await room(t);
  t.regex(
    fails(t, await r.apply(step({ script: "false" }))),
    /: the script failed without a word; log: /,
  );
});

for (const [what, script] of [
  ["an unset variable", 'echo "$unheard_of"'],
  ["the first part of a pipe", "false | true"],
  ["a part of a substitution", "x=$(false)"],
] as const) {
  test(`${what} ends a script`, async (t) => {
    const r = await room(t);
    fails(t, await r.apply(step({ script: `${script}\ntouch ${r.at("host/reached")}` })));
    t.false(fs.existsSync(r.at("host/reached")));
  });
}

test("parameters arrive: text, numbers, booleans, lists, empty lists; one that is missing is named", async (t) => {
  const r = await room(t);
  const params = {
    text: "a b  'c'",
    number: 3,
    yes: true,
    no: false,
    list: ["x y", "z"],
    empty: [],
  };
  const script = `
{
  for key in text number yes no; do printf '%s=<%s>\\n' "$key" "$(param "$key")"; done
  mapfile -t list < <(param list)
  printf 'list=%s:<%s><%s>\\n' "\${#list[@]}" "\${list[@]}"
  mapfile -t empty < <(param empty)
  printf 'empty=%s\\n' "\${#empty[@]}"
} >${r.at("host/seen")}
param missing
`;
  const line = fails(t, await r.apply(step({ params, script })));
  t.regex(line, /parameter missing is missing from the step's document/);
  t.is(
    r.read("host/seen"),
    "text=<a b  'c'>\nnumber=<3>\nyes=<true>\nno=<false>\nlist=2:<x y><z>\nempty=0\n",
  );
});

test("an empty list is no reason for the error of something else", async (t) => {
  const r = await room(t);
  const script = "mapfile -t empty < <(param empty)\necho 'the true cause'\nfalse\n";
  t.regex(
    fails(t, await r.apply(step({ params: { empty: [] }, script }))),
    /: the true cause; log/,
  );
});

test("a script is told its mode, place and whether files changed", async (t) => {
  const r = await room(t);
  const document = step({
    files: { [r.at("host/a")]: { content: "a" } },
    script: `echo "$STEP_MODE $STEP_SERVICE $STEP_STAGE $STEP_HOST $STEP_FILES_CHANGED $PWD $LC_ALL" >>${r.at("host/seen")}\n`,
  });
  await r.apply(document);
  await r.apply(document);
  t.is(
    r.read("host/seen"),
    "apply demo configure ctl1 yes / C.UTF-8\napply demo configure ctl1 no / C.UTF-8\n",
  );
});

test("nothing of the caller's environment or input reaches a script", async (t) => {
  const r = await room(t);
  const script = `env >${r.at("host/env")}; cat >${r.at("host/input")}\n`;
  succeeds(t, await r.apply(step({ script })), "unchanged");
  t.notRegex(r.read("host/env"), /OPENSTACK_HA_|NODE|npm/);
  t.is(r.read("host/input"), "");
});

// ---- Secrets in scripts -----------------------------------------------------------------------------------------

test("a script reads its secrets from files that only root can read and that are gone afterwards", async (t) => {
  const r = await room(t);
  await r.secrets({ db: PASSWORD, other: OLD_PASSWORD });
  const script = `
file=$(secret_file db)
stat -c %a "$file" "$(dirname "$file")" "$STEP_DIR" >${r.at("host/modes")}
dirname "$file" >${r.at("host/where")}
secret db | sha256sum >${r.at("host/sum")}
ls "$(dirname "$file")" >${r.at("host/names")}
`;
  succeeds(t, await r.apply(step({ secrets: { db: 1 }, script })), "unchanged");
  t.is(r.read("host/modes"), "600\n700\n700\n");
  t.is(r.read("host/names"), "db\n", "only what the step declares");
  t.false(fs.existsSync(r.read("host/where").trim()));
  t.regex(
    fails(t, await r.apply(step({ secrets: { db: 1 }, script: "secret other" }))),
    /secret other is not declared by this step/,
  );
});

test("no secret is in what a step says or logs, however a script spills it", async (t) => {
  const r = await room(t);
  await r.secrets({ db: PASSWORD, key: `line one ${OLD_PASSWORD}\nline two\n` });
  const spill =
    'secret db; echo; secret key; changed "with $(secret db)"; differs "$(secret db)"; answer it "$(secret db)"';
  const scripts = [
    `${spill}\n`,
    `${spill}\necho "$(secret db)" >&2; false\n`,
    `${spill}\nfail "wanted $(secret db)"\n`,
    `set -x\nvalue=$(secret db)\n: "$value"\nfalse\n`,
    `${spill}\nverify() { echo "bad password $(secret db)"; return 1; }\nverified 0\n`,
  ];
  for (const script of scripts) {
    const document = step({ secrets: { db: 1, key: 1 }, script });
    for (const outcome of [await r.apply(document), await r.check(document)]) {
      const said = outcome.stdout + outcome.stderr + r.logs();
      t.false(said.includes(PASSWORD), said);
      t.false(said.includes(OLD_PASSWORD), said);
    }
  }
  t.regex(r.logs(), /<secret:db>/);
});

test("no secret is in the environment or the arguments of any process of a step", async (t) => {
  const r = await room(t);
  await r.secrets({ db: PASSWORD });
  const running = r.start(
    step({ secrets: { db: 1 }, script: `sleep 20 & : >${r.at("host/started")}; wait` }),
  );
  t.teardown(() => running.process.kill("SIGKILL"));
  await until("the step runs", () => fs.existsSync(r.at("host/started")));
  const pids = [running.process.pid!, ...children(running.process.pid!)];
  t.true(pids.length >= 3, "the runner, its shell and sleep");
  for (const pid of pids) {
    for (const file of ["environ", "cmdline"]) {
      t.false(
        fs.readFileSync(`/proc/${pid}/${file}`, "latin1").includes(PASSWORD),
        `${pid} ${file}`,
      );
    }
  }
  for (const pid of pids.slice(1)) process.kill(pid, "SIGKILL");
  await running.ended;
});

/** Every process below one. */
function children(pid: number): number[] {
  return fs
    .readFileSync(`/proc/${pid}/task/${pid}/children`, "utf8")
    .split(" ")
    .filter(Boolean)
    .map(Number)
    .flatMap((child) => [child, ...children(child)]);
}

// ---- Time -------------------------------------------------------------------------------------------------------

test("a step that takes too long is ended with all its processes, and says what it had got to", async (t) => {
  const r = await room(t);
  const script = `sleep 300 & echo $! >${r.at("host/child")}
(sleep 300; true) & echo $! >${r.at("host/grandparent")}
echo $$ >${r.at("host/shell")}
echo 'waiting for Godot'
sleep 300
`;
  const outcome = await r.apply(step({ step: { timeout: 1 }, script }));
  t.is(
    fails(t, outcome),
    `demo configure on ctl1: not done after 1 s (waiting for Godot); see ${r.log}/demo-configure.log on the host, then run \`pulumi up\` again`,
  );
  t.true(outcome.milliseconds < 8000, `${outcome.milliseconds} ms`);
  for (const name of ["child", "grandparent", "shell"]) {
    t.false(isAlive(Number(r.read(`host/${name}`))), name);
  }
});

test("a step that ignores the request to end is killed ten seconds later", async (t) => {
  const r = await room(t);
  const script = `trap '' TERM\necho $$ >${r.at("host/shell")}\nwhile :; do sleep 1; done\n`;
  const outcome = await r.apply(step({ step: { timeout: 1 }, script }));
  t.regex(fails(t, outcome), /not done after 1 s/);
  t.true(outcome.milliseconds < 20_000, `${outcome.milliseconds} ms`);
  t.false(isAlive(Number(r.read("host/shell"))));
});

test("a step that takes too long leaves nothing behind, not even a child that ignores the request to end", async (t) => {
  const r = await room(t);
  const script = `(trap '' TERM; echo $BASHPID >${r.at("host/child")}; while :; do sleep 1; done) &
wait_for 10 "the child" test -s ${r.at("host/child")}
sleep 300
`;
  const outcome = await r.apply(step({ step: { timeout: 1 }, script }));
  const child = Number(r.read("host/child"));
  t.teardown(() => {
    if (isAlive(child)) process.kill(child, "SIGKILL");
  });
  t.regex(fails(t, outcome), /not done after 1 s/);
  t.false(isAlive(child));
});

test("a script that gives up in time has its say", async (t) => {
  const r = await room(t);
  const script = "wait_for 1 'the moon' eval 'echo only stars; false'\n";
  const outcome = await r.apply(step({ script }));
  t.regex(fails(t, outcome), /: wanted the moon within 1 s, found: only stars; log/);
  t.true(outcome.milliseconds < 8000);
});

test("waiting ends as soon as the answer is yes", async (t) => {
  const r = await room(t);
  const script = `tries=${r.at("host/tries")}
ready() { echo x >>"$tries"; (($(wc -l <"$tries") >= 3)); }
wait_for 20 "three tries" ready
`;
  const outcome = await r.apply(step({ script }));
  succeeds(t, outcome, "unchanged");
  t.is(r.read("host/tries"), "x\nx\nx\n");
  t.true(outcome.milliseconds < 8000);
});

for (const [what, how] of [
  ["that stays in its process group", "sleep 30 &"],
  ["that left its process group", "setsid sleep 30 &"],
] as const) {
  test(`a step does not wait for a process ${what} and holds its output open`, async (t) => {
    const r = await room(t);
    const script = `${how}\necho $! >${r.at("host/pid")}\nchanged 'started a daemon'\n`;
    const outcome = await r.apply(step({ step: { timeout: 5 }, script }));
    t.teardown(() => {
      const pid = Number(r.read("host/pid"));
      if (isAlive(pid)) process.kill(pid);
    });
    succeeds(t, outcome, "changed: started a daemon");
    t.true(outcome.milliseconds < 4000, `${outcome.milliseconds} ms`);
  });
}

test("a step that takes too long ends although a process that left its group holds its output open", async (t) => {
  const r = await room(t);
  const script = `setsid sleep 60 &\necho $! >${r.at("host/pid")}\nsleep 60\n`;
  t.teardown(() => {
    const pid = Number(r.read("host/pid"));
    if (isAlive(pid)) process.kill(pid);
  });
  const running = r.start(step({ step: { timeout: 1 }, script }));
  const stuck = setTimeout(() => running.process.kill("SIGKILL"), 25_000);
  const outcome = await running.ended;
  clearTimeout(stuck);
  t.regex(fails(t, outcome), /not done after 1 s/);
});

test("a step waits for its twin as long as the twin may take", async (t) => {
  const r = await room(t);
  const twin = r.start(
    step({ step: { timeout: 20 }, script: `touch ${r.at("host/started")}\nsleep 2\nchanged it\n` }),
  );
  await until("the twin runs", () => fs.existsSync(r.at("host/started")));
  succeeds(
    t,
    await r.apply(step({ step: { timeout: 1 }, script: "changed again\n" })),
    "changed: again",
  );
  succeeds(t, await twin.ended, "changed: it");
});

test("a step that is killed with its connection goes on, alone, and is waited for", async (t) => {
  const r = await room(t);
  const script = `touch ${r.at("host/started")}
wait_for 20 "go" test -e ${r.at("host/go")}
sleep 1
changed it
`;
  const twin = r.start(step({ step: { timeout: 20 }, script }));
  await until("the twin runs", () => fs.existsSync(r.at("host/started")));
  // What a pulumi that is cancelled has sshd do: it reaches the whole group of the process that sshd started.
  const gone = new Promise((resolve) => twin.process.once("exit", resolve));
  process.kill(twin.process.pid!, "SIGKILL");
  await gone;
  fs.writeFileSync(r.at("host/go"), "");
  const outcome = await r.apply(step({ script: "changed again\n" }));
  succeeds(t, outcome, "changed: again");
  t.regex(r.logs(), /changed: it\n[^\n]*changed: again/);
});

test("a step's log is set aside when it is long, and kept once", async (t) => {
  const r = await room(t);
  const log = path.join(r.log, "demo-configure.log");
  fs.mkdirSync(r.log, { recursive: true });
  fs.writeFileSync(log, "x".repeat((1 << 20) + 1));
  fs.writeFileSync(`${log}.1`, "old");
  succeeds(t, await r.apply(step({ script: "changed it\n" })), "changed: it");
  t.is(fs.statSync(`${log}.1`).size, (1 << 20) + 1);
  t.regex(fs.readFileSync(log, "utf8"), /^\S+ changed: it\n$/);
});

// ---- The connection ---------------------------------------------------------------------------------------------

test("a step whose connection goes ends its work", async (t) => {
  const r = await room(t);
  const script = `touch ${r.at("host/started")}
wait_for 20 "go" test -e ${r.at("host/go")}
touch ${r.at("host/done")}
`;
  const running = r.start(step({ files: { [r.at("host/a")]: { content: "a" } }, script }));
  await until("the step runs", () => fs.existsSync(r.at("host/started")));
  // What sshd does: hang up, and nobody reads what is said.
  running.process.stdout!.destroy();
  running.process.stderr!.destroy();
  process.kill(running.process.pid!, "SIGHUP");
  await new Promise((resolve) => setTimeout(resolve, 300));
  t.true(isAlive(running.process.pid!));
  r.write("host/go", "");
  const { signal } = await running.ended;
  t.is(signal, null);
  t.true(fs.existsSync(r.at("host/done")));
  t.regex(r.logs(), /changed: 1 files \(a\)/, "the log has what could not be said");
});

test("the repeated step waits for its twin and finds the work done", async (t) => {
  const r = await room(t);
  const script = `echo "$$ in" >>${r.at("host/order")}
sleep 0.7
[[ -e ${r.at("host/done")} ]] || change "work" touch ${r.at("host/done")}
echo "$$ out" >>${r.at("host/order")}
`;
  const first = r.start(step({ script }));
  const second = r.start(step({ script }));
  const lines = (await Promise.all([first.ended, second.ended])).map(({ stdout }) => stdout).sort();
  t.deepEqual(lines, ["changed: work\n", "unchanged\n"]);
  const order = r
    .read("host/order")
    .trim()
    .split("\n")
    .map((line) => line.split(" "));
  t.is(order[0]![0], order[1]![0], "one is out before the other is in");
  t.deepEqual(
    order.map(([, what]) => what),
    ["in", "out", "in", "out"],
  );
});

test("steps of different services run at the same time", async (t) => {
  const r = await room(t);
  const meet = (me: string, other: string): StepDocument =>
    step({
      step: { service: me },
      script: `touch ${r.at(`host/${me}`)}; wait_for 15 "${other}" test -e ${r.at(`host/${other}`)}\n`,
    });
  const both = await Promise.all([r.apply(meet("one", "two")), r.apply(meet("two", "one"))]);
  t.deepEqual(
    both.map(({ stdout }) => stdout),
    ["unchanged\n", "unchanged\n"],
  );
});

// ---- Use --------------------------------------------------------------------------------------------------------

test("a wrong option is answered with how to use it", async (t) => {
  const r = await room(t);
  t.regex(fails(t, await r.apply(step(), "--destroy")), /^usage: openstack-ha-step \[--check/);
});

for (const [what, input] of [
  ["is no JSON", "hello"],
  ["is empty", ""],
  ["does not say where it belongs", "{}"],
] as const) {
  test(`a document that ${what} is refused in one line`, async (t) => {
    const r = await room(t);
    fails(t, await r.apply(input));
  });
}

test("a file that cannot be written is an error of one line", async (t) => {
  const r = await room(t);
  fs.mkdirSync(r.at("host/folder"));
  const document = step({ files: { [r.at("host/folder")]: { content: "x" } } });
  t.regex(fails(t, await r.apply(document)), /^demo configure on ctl1: .*host\/folder/);
});

// ---- How the runner gets to a host ------------------------------------------------------------------------------

/** Runs the script that brings the runner, with /usr/local in the room and stand-ins for Debian's package tools. */
async function bringRunner(
  r: Room,
  programs: Readonly<{ dpkgQuery: string; aptGet: string }>,
): Promise<Outcome> {
  r.program("dpkg-query", programs.dpkgQuery);
  r.program("apt-get", programs.aptGet);
  const child = spawn("sh", ["-s"], { env: { PATH: `${r.at("bin")}:${process.env.PATH}` } });
  child.stdin.end(runnerScript().replaceAll("/usr/local", r.at("host/local")));
  return finish(child);
}

const ALL_INSTALLED = { dpkgQuery: "printf 'ii '", aptGet: "exit 99" };
const INSTALLED = {
  "lib.sh": "host/local/lib/openstack-ha/lib.sh",
  "step.py": "host/local/sbin/openstack-ha-step",
} as const;

test("the runner is brought to a host, and what it is brought to stays untouched the second time", async (t) => {
  const r = await room(t);
  succeeds(t, await bringRunner(r, ALL_INSTALLED), "changed: lib.sh openstack-ha-step");
  for (const [source, target] of Object.entries(INSTALLED)) {
    const text = fs.readFileSync(path.join(LIBRARY, source), "utf8");
    t.is(r.read(target).replaceAll(r.at("host/local"), "/usr/local"), text, source);
  }
  t.is(r.mode(INSTALLED["lib.sh"]), "644");
  t.is(r.mode(INSTALLED["step.py"]), "755");

  const before = r.tree(r.at("host")).filter((line) => line.includes("."));
  succeeds(t, await bringRunner(r, ALL_INSTALLED), "unchanged");
  t.deepEqual(
    r.tree(r.at("host")).filter((line) => line.includes(".")),
    before,
  );
});

test("a runner that was tampered with is put right", async (t) => {
  const r = await room(t);
  await bringRunner(r, ALL_INSTALLED);
  fs.appendFileSync(r.at(INSTALLED["step.py"]), "# tampered\n");
  succeeds(t, await bringRunner(r, ALL_INSTALLED), "changed: openstack-ha-step");
  t.notRegex(r.read(INSTALLED["step.py"]), /tampered/);
});

test("the runner that was brought runs a step", async (t) => {
  const r = await room(t);
  await bringRunner(r, ALL_INSTALLED);
  const child = spawn(r.at(INSTALLED["step.py"]), [], {
    env: {
      PATH: process.env.PATH,
      OPENSTACK_HA_ETC: r.etc,
      OPENSTACK_HA_LOG: r.log,
      OPENSTACK_HA_RUN: r.run,
      OPENSTACK_HA_STATE: r.state,
    },
  });
  child.stdin.end(JSON.stringify(step({ script: "changed 'hello'" })));
  succeeds(t, await finish(child), "changed: hello");
});

test("what the runner needs is installed if it is missing, and only that", async (t) => {
  const r = await room(t);
  const outcome = await bringRunner(r, {
    dpkgQuery: '[[ ${*: -1} == python3 ]] && printf "ii "',
    aptGet: `echo "$@" >${r.at("host/apt")}`,
  });
  succeeds(t, outcome, "changed: jq lib.sh openstack-ha-step");
  t.regex(r.read("host/apt"), /^install .*--no-install-recommends .* jq$/m);
});

test("a host that cannot install it says so in one line", async (t) => {
  const r = await room(t);
  const outcome = await bringRunner(r, { dpkgQuery: "exit 1", aptGet: "exit 100" });
  t.regex(
    fails(t, outcome),
    /^wanted jq python3 on \S+, found that apt-get cannot install them; .*\?$/,
  );
  t.false(fs.existsSync(r.at(INSTALLED["step.py"])));
});
