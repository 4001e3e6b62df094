import { execFileSync, spawn } from "node:child_process";
import * as fs from "node:fs";
import * as path from "node:path";
import test, { type ExecutionContext } from "ava";
import { parseCloud } from "../../config";
import type { Finding } from "../../tools/drift/scan";
import {
  project as projectName,
  readStackFile,
  set,
  type Options,
} from "../fixtures/config/fixtures";
import { finish, type Outcome as Said } from "../unit/support/runner";
import { type Outcome, Project, SEED } from "./support/engine";
import { problem, story, World } from "./support/world";

// Drift and its repair with the real engine, real SSH servers and the real runner on each host: it brings files and secrets,
// in a folder of each host's own, and runs no script. What scripts see of a host is in lib.test.ts and in bench/drift.ts.

const STACK = "drift";
const options = readStackFile("Pulumi.controllers.yaml");
const cloud = parseCloud(options, { project: projectName, stack: STACK });

let project: Project;
let world: World;

test.before(async () => {
  if (problem !== undefined) return;
  project = await Project.open(STACK);
  world = await World.open(project, cloud, { runner: true });
  await configure(options);
});

test.after.always(() => {
  (world as World | undefined)?.close();
  (project as Project | undefined)?.close();
});

/** The tools find a stack's own file alone. */
async function configure(changed: Options): Promise<void> {
  const file = project.configFile(STACK, "drift", changed);
  await project.setSecret(STACK, file, "seed", SEED);
  fs.copyFileSync(file, path.join(project.work, `Pulumi.${STACK}.yaml`));
}

function up(...flags: string[]): Promise<Outcome> {
  return project.run(world.enter, "up", "--yes", "--skip-preview", "--stack", STACK, ...flags);
}

/** One of tools/, in the project of the test and the world of its hosts. */
function tool(name: string, ...args: string[]): Promise<Said> {
  const node = [process.execPath, "--preserve-symlinks", "--preserve-symlinks-main"];
  const [command, ...rest] = [
    ...world.enter,
    ...["env", "-C", project.work, ...node, "--require", "tsx/cjs", `tools/${name}.ts`, STACK],
    ...args,
  ];
  return finish(
    spawn(command!, rest, { env: project.environment, stdio: ["ignore", "pipe", "pipe"] }),
  );
}

interface Report {
  readonly exitCode: number;
  readonly drift: readonly Finding[];
}

async function drift(t: ExecutionContext): Promise<Report> {
  const { status, stdout, stderr } = await tool("drift", "--json");
  t.notThrows(() => JSON.parse(stdout) as unknown, stderr);
  const report = JSON.parse(stdout) as Report;
  t.is(status, report.exitCode);
  return report;
}

/** Which steps ran; checks are none. */
function ran(): string[] {
  return world
    .received()
    .filter(({ what }) => !what.endsWith("--check"))
    .map(({ what, host }) => {
      if (what === "sh_-s") return `base-runner-${host}`;
      return what.endsWith("--secrets") ? `base-secrets-${host}` : `${what}-${host}`;
    })
    .sort();
}

const names = (report: Report): string[] =>
  [...new Set(report.drift.map(({ step }) => step))].sort();

/** The project that the cloud's own services have, as the double of Keystone keeps it. */
function keystone(method: string, body = ""): string {
  const [command, ...enter] = world.enter;
  const url = `http://${cloud.vips.internal}:5000/v3/projects/project-1`;
  return execFileSync(command!, [...enter, "curl", "-s", "-X", method, "-d", body, url], {
    encoding: "utf8",
  });
}

const HAPROXY = "/etc/haproxy/haproxy.cfg";
const DRIFTED = [
  "base-runner-ctl3",
  "base-secrets-ctl1",
  "haproxy-configure-ctl2",
  "keystone-configure-ctl3",
  "pacemaker-configure-ctl1",
  "registration-project-service",
];

story(
  "a cloud that was just made has no drift, and to look costs each host one connection",
  async (t) => {
    const outcome = await up();
    t.is(outcome.status, 0, outcome.stdout + outcome.stderr);
    const outputs = await tool("outputs");
    t.is(outputs.status, 0, outputs.stderr);
    world.received();
    const report = await drift(t);
    t.deepEqual(report.drift, []);
    t.is(report.exitCode, 0);
    t.deepEqual(
      world
        .received()
        .map(({ host, what }) => [host, what.endsWith("--check")])
        .sort(),
      [
        ["ctl1", true],
        ["ctl2", true],
        ["ctl3", true],
      ],
    );
  },
);

story("what somebody did by hand is found, each in its step, and no secret is told", async (t) => {
  const at = (host: string, file: string): string => world.hostPath(host, file);
  const original = fs.readFileSync(at("ctl2", HAPROXY), "utf8");
  fs.writeFileSync(at("ctl2", HAPROXY), original.replace("retries 3", "retries 7"));
  fs.chmodSync(at("ctl1", "/etc/corosync/authkey"), 0o644);
  fs.rmSync(at("ctl3", "/etc/keystone/fernet-keys/0"));
  fs.writeFileSync(at("ctl3", "/etc/keystone/fernet-keys/77"), "a key of somebody's own");
  fs.appendFileSync(at("ctl3", "/usr/local/lib/openstack-ha/lib.sh"), "echo mine\n");
  const store = at("ctl1", "/etc/openstack-ha/secrets.json");
  const secrets = fs.readFileSync(store, "utf8");
  const edited = secrets.replace(/("pacemaker-bmc": \{\s*"value": ")[^"]+/, "$1another");
  t.not(edited, secrets);
  fs.writeFileSync(store, edited);
  keystone("PATCH", JSON.stringify({ project: { description: "mine" } }));

  const report = await drift(t);
  t.is(report.exitCode, 1);
  t.deepEqual(names(report), DRIFTED);
  const found = (step: string): string[] =>
    report.drift.filter((each) => each.step === step).map((each) => each.found);
  t.regex(found("haproxy-configure-ctl2")[0]!, /\n-\s+retries 7\n\+\s+retries 3/);
  // The mode, and the file that has another secret than the store now.
  t.regex(found("pacemaker-configure-ctl1").join(), /mode 0644[^]*<other line/);
  t.deepEqual(found("keystone-configure-ctl3"), ["missing", "present, wanted absent"]);
  t.deepEqual(found("registration-project-service"), [
    `found "mine", wanted "Accounts of the cloud's own services"`,
  ]);
  const said = JSON.stringify(report);
  for (const [, value] of secrets.matchAll(/"value": "([^"]{12,})"/g))
    t.false(said.includes(value!.slice(0, 40)));
  t.deepEqual(ran(), [], "nothing was changed");
});

story("a repair that nobody agrees to does nothing", async (t) => {
  const { status, stdout, stderr } = await tool("drift", "--repair");
  t.is(status, 1);
  t.regex(stdout, /to repair, each after what it waits for:\n/);
  t.regex(stderr, /not repaired: there is nobody to ask; give --yes/);
  t.deepEqual(ran(), []);
});

story("a repair of a name runs that step alone", async (t) => {
  const { status, stdout } = await tool(
    ...["drift", "--repair", "haproxy-configure-ctl2", "--yes"],
  );
  t.is(status, 1, "the rest is still there");
  t.deepEqual(ran(), ["haproxy-configure-ctl2"], stdout);
  t.regex(fs.readFileSync(world.hostPath("ctl2", HAPROXY), "utf8"), /retries 3/);
});

story(
  "a repair runs what has drifted, and nothing else; then all is as it was applied",
  async (t) => {
    const left = names(await drift(t));
    t.false(left.includes("haproxy-configure-ctl2"));
    const { status, stdout, stderr } = await tool("drift", "--repair", "--yes");
    t.is(status, 0, stdout + stderr);
    t.deepEqual(
      ran(),
      left.filter((name) => !name.startsWith("registration-")),
    );
    t.regex(keystone("GET"), /Accounts of the cloud's own services/);
    const report = await drift(t);
    t.deepEqual(report.drift, []);
  },
);

story("an update after a repair changes nothing, and asks no host", async (t) => {
  world.received();
  const outcome = await up("--expect-no-changes");
  t.is(outcome.status, 0, outcome.stdout + outcome.stderr);
  t.deepEqual(world.received(), []);
});

story("a configuration that was changed since is not brought by a repair", async (t) => {
  const changed = structuredClone(options);
  set(changed, "haproxy.interMs", 1000);
  await configure(changed);
  fs.appendFileSync(world.hostPath("ctl2", HAPROXY), "# mine\n");
  const { status, stderr } = await tool("drift", "--repair", "--yes");
  t.is(status, 2);
  t.regex(
    stderr,
    /error: haproxy-configure-ctl2 is planned otherwise than it was applied last, .* then `npm run up`/,
  );
  t.deepEqual(ran(), []);
});
