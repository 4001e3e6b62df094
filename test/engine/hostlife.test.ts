import test from "ava";
import { parseCloud } from "../../config";
import {
  project as projectName,
  readStackFile,
  set,
  type Options,
} from "../fixtures/config/fixtures";
import { Project, SEED, type Outcome } from "./support/engine";
import { problem, story, World, type Received } from "./support/world";

// What the engine does when the list of hosts changes: with the real plugins, where hosts only take note of what they are sent.

const STACK = "hosts";

const options = readStackFile("Pulumi.controllers.yaml");
const hosts = options.hosts as Record<string, unknown>[];
/** Two more controllers, which are then taken out. */
const more: Options = {
  ...structuredClone(options),
  hosts: [
    ...hosts,
    { name: "ctl4", id: 14, roles: ["controller"] },
    { name: "ctl5", id: 15, roles: ["controller"] },
  ],
};
const cloud = parseCloud(more, { project: projectName, stack: STACK });

let project: Project;
let world: World;

test.before(async () => {
  if (problem !== undefined) return;
  project = await Project.open(STACK);
  world = await World.open(project, cloud);
});

test.after.always(() => {
  (world as World | undefined)?.close();
  (project as Project | undefined)?.close();
});

async function pulumi(verb: "preview" | "up", changed: Options): Promise<Outcome> {
  const file = project.configFile(STACK, "hosts", changed);
  await project.setSecret(STACK, file, "seed", SEED);
  const flags = verb === "up" ? ["--yes", "--skip-preview"] : [];
  return project.run(world.enter, verb, ...flags, "--stack", STACK, "--config-file", file);
}

const said = ({ stdout, stderr }: Outcome): string => stdout + stderr;

story("hosts come: what the others know of them changes, and no host begins anew", async (t) => {
  const first = await pulumi("up", options);
  t.is(first.status, 0, said(first));
  t.deepEqual(
    world.lab().filter((line) => line.startsWith("host ")),
    ["host ctl1", "host ctl2", "host ctl3"],
  );
  world.received();
  const second = await pulumi("up", more);
  t.is(second.status, 0, said(second));
  t.deepEqual(
    world.lab().filter((line) => line.startsWith("host ")),
    ["host ctl4", "host ctl5"],
  );
});

story("a host that was not drained is not taken out: the preview says so", async (t) => {
  const preview = await pulumi("preview", options);
  t.not(preview.status, 0);
  for (const host of ["ctl4", "ctl5"])
    t.regex(said(preview), new RegExp(`host-${host}\\W+cannot be deleted|${host}[^]*protected`));
  world.lab();
  // Nor by who makes no preview.
  const outcome = await pulumi("up", options);
  t.not(outcome.status, 0);
  t.deepEqual(
    world.lab().filter((line) => line.includes("--delete")),
    [],
  );
  const again = await pulumi("up", more);
  t.is(again.status, 0, said(again));
});

story(
  "a host that begins anew is removed and made, and all its steps run, and no others'",
  async (t) => {
    world.lab();
    world.received();
    const changed = structuredClone(more);
    set(changed, "hosts[1].rebuild", 2);
    const preview = await pulumi("preview", changed);
    t.is(preview.status, 0, said(preview));
    t.regex(said(preview), /lab-host-ctl2\s+replace/);
    const outcome = await pulumi("up", changed);
    t.is(outcome.status, 0, said(outcome));
    t.deepEqual(world.lab(), ["host --delete ctl2", "host ctl2"]);
    const received = world.received();
    t.deepEqual([...new Set(received.map(({ host }: Received) => host))], ["ctl2"]);
    const names = received.map(({ what }) => what);
    t.is(new Set(names).size, names.length, "each once");
    for (const what of ["rabbitmq-start", "pacemaker-start", "mariadb-start", "keystone-start"])
      t.true(names.includes(what), what);
    t.true(names.some((what) => what.endsWith("--secrets")));
    const again = await pulumi("up", changed);
    t.is(again.status, 0, said(again));
    t.deepEqual(world.lab(), []);
    t.deepEqual(world.received(), []);
  },
);
