import * as fs from "node:fs";
import * as path from "node:path";
import test from "ava";
import { RULES } from "../../policy/rules";
import { readStackFile, set, type Options } from "../fixtures/config/fixtures";
import { Project, REPOSITORY, SEED, type Outcome } from "./support/engine";

// The policy pack through the real engine: what a person sees of a plan that is in order, of one that is not quite, and
// of programs that were changed so that they break a rule.

const STACK = "dev";
const PACK = path.join(REPOSITORY, "policy");
const options = readStackFile("Pulumi.dev.yaml");

let project: Project;

test.before(async () => {
  project = await Project.open(STACK);
});

test.after.always(() => {
  // Not there if there is no pulumi.
  (project as Project | undefined)?.close();
});

function preview(configFile: string, ...flags: readonly string[]): Promise<Outcome> {
  return project.pulumi(
    ...["preview", "--stack", STACK, "--config-file", configFile, "--policy-pack", PACK],
    ...flags,
  );
}

async function seeded(name: string, cloud: Options): Promise<string> {
  const file = project.configFile(STACK, name, cloud);
  await project.setSecret(STACK, file, "seed", SEED);
  return file;
}

/** What the engine says of policies: `[mandatory] name (resource)` and the message of each violation. */
function violations({ stdout }: Outcome): { title: string; message: string }[] {
  const lines = stdout.split("\n").map((line) => line.trim());
  return lines.flatMap((line, i) => {
    const title = /^- (\[(?:mandatory|advisory)\].*)$/.exec(line)?.[1]?.replace(/\s+/g, " ");
    return title === undefined ? [] : [{ title, message: lines[i + 2]! }];
  });
}

test.serial("the development stack is in order, with a seed and without one", async (t) => {
  for (const file of [
    await seeded("seeded", options),
    project.configFile(STACK, "seedless", options),
  ]) {
    const outcome = await preview(file);
    t.is(outcome.status, 0, outcome.stdout + outcome.stderr);
    t.deepEqual(violations(outcome), []);
    t.regex(outcome.stdout, /✅ openstack-ha@v/);
    t.log(`${outcome.milliseconds} ms`);
  }
});

test.serial("what is advised against is told, and stops nobody", async (t) => {
  const cloud = structuredClone(options);
  set(cloud, "ceph.replicas", 2);
  set(cloud, "ceph.minReplicas", 1);
  const outcome = await preview(await seeded("two-copies", cloud));
  t.is(outcome.status, 0, outcome.stdout + outcome.stderr);
  t.deepEqual(violations(outcome), [
    {
      title: "[advisory] ceph-two-at-least (command:remote:Command: ceph-bootstrap-ctl1)",
      message:
        "the pools of Ceph on ctl1, ctl2, ctl3: wanted 2 copies or more for a write, found 1; " +
        "set ceph.replicas to 3 and ceph.minReplicas to 2",
    },
  ]);
});

/** A mistake in the program, which the configuration's own rules cannot see. */
const CHANGES: readonly { file: string; from: string; to: string }[] = [
  { file: "components/ha/haproxy.ts", from: ":${frontend.port} check`", to: ":${frontend.port}`" },
  {
    file: "components/ha/pacemaker.ts",
    from: '"stonith-enabled": "true"',
    to: '"stonith-enabled": "false"',
  },
  {
    file: "components/shared/memcached.ts",
    from: "`-l ${host.addresses.management}`",
    to: '"-l 0.0.0.0"',
  },
];

test.serial("a program that breaks rules is stopped, with each thing said once", async (t) => {
  // Copies: a link would lead back to the repository's own files.
  for (const name of [
    "index.ts",
    "config.ts",
    "catalogue.ts",
    "secrets.ts",
    "config",
    "components",
  ]) {
    fs.rmSync(path.join(project.work, name), { recursive: true });
    fs.cpSync(path.join(REPOSITORY, name), path.join(project.work, name), { recursive: true });
  }
  for (const { file, from, to } of CHANGES) {
    const target = path.join(project.work, file);
    const text = fs.readFileSync(target, "utf8");
    t.true(text.includes(from), file);
    fs.writeFileSync(target, text.replace(from, to));
  }
  const outcome = await preview(await seeded("broken", options));
  t.not(outcome.status, 0);
  const said = violations(outcome);
  const frontends = said.filter(({ title }) => title.includes("backend-checked"));
  // Each server of each frontend, and each on all controllers at once.
  t.is(frontends.length, new Set(frontends.map(({ message }) => message)).size);
  t.is(frontends.length, 30);
  t.true(
    frontends.every(({ message }) =>
      message.includes(" on ctl1, ctl2, ctl3: wanted check, found none; "),
    ),
  );
  t.deepEqual(
    said
      .filter((each) => !frontends.includes(each))
      .map(({ title }) => title.replace(/ \(.*/, ""))
      .sort(),
    [
      "[mandatory] fencing-enabled",
      ...Array.from({ length: 3 }, () => "[mandatory] shared-services-inside"),
    ],
  );
  for (const { title } of said) {
    t.true(
      RULES.some(({ name }) => title.includes(` ${name} `)),
      title,
    );
  }
  t.false(outcome.stdout.includes(SEED));
});
