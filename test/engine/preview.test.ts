import { spawnSync } from "node:child_process";
import * as fs from "node:fs";
import * as path from "node:path";
import test from "ava";
import { parseCloud } from "../../config";
import { plainSecrets } from "../../secrets";
import { project as projectName, readStackFile } from "../fixtures/config/fixtures";
import {
  nameOf,
  Project,
  REPOSITORY,
  SEED,
  tellTales,
  type Digest,
  type Outcome,
} from "./support/engine";

// `pulumi preview` of the development stack as a person runs it: the real engine, language host and plugins, and an
// empty state. No host is there, and none is asked for.

const STACK = "dev";
const options = readStackFile("Pulumi.dev.yaml");
const secrets = plainSecrets(parseCloud(options, { project: projectName, stack: STACK }), SEED);

let project: Project;
let seeded: string;
let seedless: string;
/** Each preview is made once and looked at from several sides. */
let withSeed: Outcome;
let withoutSeed: Outcome;

test.before(async () => {
  project = await Project.open(STACK);
  seedless = project.configFile(STACK, "seedless", options);
  seeded = project.configFile(STACK, "seeded", options);
  await project.setSecret(STACK, seeded, "seed", SEED);
  withSeed = await preview(seeded, "--json");
  withoutSeed = await preview(seedless, "--json");
});

test.after.always(() => {
  // Not there if there is no pulumi.
  (project as Project | undefined)?.close();
});

function preview(configFile: string, ...flags: string[]): Promise<Outcome> {
  return project.pulumi("preview", "--stack", STACK, "--config-file", configFile, ...flags);
}

function digest({ stdout }: Outcome): Digest {
  return JSON.parse(stdout) as Digest;
}

/** Every resource that the unit tests know, from the snapshot that they are compared with. */
function reviewed(): string[] {
  const tree = fs.readFileSync(path.join(REPOSITORY, "test/unit/snapshots/RESOURCES.txt"), "utf8");
  return tree
    .trimEnd()
    .split("\n")
    .map((line) => line.trim().split(/\s+/)[0]!)
    .sort();
}

for (const [what, outcome] of [
  ["with a seed", () => withSeed],
  ["without a seed", () => withoutSeed],
] as const) {
  test(`${what}: every resource is to be created, without a word of complaint`, (t) => {
    t.is(outcome().status, 0, outcome().stderr);
    const { steps, changeSummary, diagnostics = [] } = digest(outcome());
    t.deepEqual(steps.map(({ urn }) => nameOf(urn)).sort(), reviewed());
    t.deepEqual(changeSummary, { create: reviewed().length });
    t.deepEqual(
      diagnostics.filter(
        // The upstream provider says this to everyone who does not use load balancers.
        ({ severity, message }) => severity !== "debug" && !message.includes("neutron-lbaas"),
      ),
      [],
    );
    t.log(`${outcome().milliseconds} ms`);
  });
}

test("the plan has the text of every step, the same with and without a seed", (t) => {
  const texts = (outcome: Outcome): [string, unknown][] =>
    digest(outcome)
      .steps.filter(
        ({ newState }) => newState?.inputs?.create === "/usr/local/sbin/openstack-ha-step",
      )
      .map(({ urn, newState }): [string, unknown] => [nameOf(urn), newState!.inputs!.stdin])
      .sort();
  const [first] = [texts(withSeed)];
  t.true(first.length >= 66);
  for (const [name, text] of first) {
    const { step } = JSON.parse(text as string) as {
      step: { service: string; stage: string; host: string };
    };
    t.is(`${step.service}-${step.stage}-${step.host}`, name);
  }
  t.deepEqual(texts(withoutSeed), first);
});

test("no secret is in what a preview shows, in any of its forms", async (t) => {
  const shown = new Map([
    ["--json", withSeed.stdout + withSeed.stderr],
    ...(await Promise.all(
      [["--diff"], ["--diff", "--show-secrets=false", "--show-sames"], []].map(
        async (flags): Promise<[string, string]> => {
          const { status, stdout, stderr } = await preview(seeded, ...flags);
          t.is(status, 0, stderr);
          return [flags.join(" "), stdout + stderr];
        },
      ),
    )),
  ]);
  for (const [form, text] of shown) {
    for (const [name, part] of [...tellTales(secrets), ["seed", SEED]] as const) {
      t.false(text.includes(part), `${name} is in preview ${form}`);
    }
  }
  // The search can find: the texts of steps are there.
  t.true(shown.get("--json")!.includes("timeout connect 1s"));
  t.true(shown.get("--diff")!.includes("haproxy-configure-ctl1"));
  for (const [file, text] of project.stateFiles()) {
    for (const [name, part] of tellTales(secrets))
      t.false(text.includes(part), `${name} is in ${file}`);
  }
});

test("the seed in the stack's file is encrypted", (t) => {
  const text = fs.readFileSync(seeded, "utf8");
  t.regex(text, /openstack-ha:seed:\n\s+secure: v1:/);
  t.false(text.includes(SEED));
});

test("a preview opens no connection to anything but this machine, and makes no lab", async (t) => {
  if (spawnSync("strace", ["-V"]).status !== 0) {
    t.log("not asked: strace is not installed");
    t.pass();
    return;
  }
  const trace = path.join(project.folder, "trace");
  const { status, stderr } = await project.run(
    ["strace", "--follow-forks", "--seccomp-bpf", "--trace=connect", "--output", trace],
    ...["preview", "--stack", STACK, "--config-file", seeded],
  );
  t.is(status, 0, stderr);
  const calls = fs
    .readFileSync(trace, "utf8")
    .split("\n")
    .filter((line) => line.includes("connect("));
  const local = calls.filter((line) => /127\.0\.0\.1|"::1"|::ffff:127\.0\.0\.1/.test(line));
  t.true(local.length >= 3, "the engine's own connections are seen");
  t.deepEqual(
    calls.filter((line) => /AF_INET6?\b/.test(line) && !local.includes(line)),
    [],
  );
  t.false(fs.existsSync(project.labState), "the lab's folder");
});

test("an update without a seed is refused before anything is made", async (t) => {
  const { status, stdout, stderr } = await project.pulumi(
    ...["up", "--yes", "--skip-preview", "--stack", STACK, "--config-file", seedless],
  );
  t.not(status, 0);
  t.regex(
    stdout + stderr,
    /openstack-ha:seed: is missing, and every password and key is derived from it; set it: openssl rand .* pulumi config set --stack \S+ --secret/,
  );
  t.notRegex(stdout + stderr, /\n\s+at /, "no stack trace");
  t.false(fs.existsSync(project.labState));
});

test("a seed in clear text is refused, with what to do", async (t) => {
  const file = project.configFile(STACK, "clear", { ...options, seed: SEED });
  const { status, stdout, stderr } = await preview(file);
  t.not(status, 0);
  t.regex(
    stdout + stderr,
    /openstack-ha:seed: it is stored in clear text, .*; make a new one: openssl rand .* pulumi config set --stack \S+ --secret/,
  );
  t.false((stdout + stderr).includes(SEED));
});
