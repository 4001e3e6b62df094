import test from "ava";
import { parseCloud } from "../../config";
import { plainSecrets } from "../../secrets";
import {
  project as projectName,
  readStackFile,
  set,
  type Options,
} from "../fixtures/config/fixtures";
import { SERVICES, servicesIn } from "../../catalogue";
import { nameOf, Project, SEED, tellTales, type Outcome } from "./support/engine";
import { problem, story, World, type Received } from "./support/world";

// The life of a stack in the real engine with the real plugins, where hosts only take note of what they are sent: what runs,
// in which order, how often, and what is kept of it.

const STACK = "life";
// Controllers alone: the double of Keystone has no other service behind it.
const options = readStackFile("Pulumi.controllers.yaml");
const cloud = parseCloud(options, { project: projectName, stack: STACK });
const secrets = plainSecrets(cloud, SEED);

let project: Project;
let world: World;
/** All that any run said. */
let said = "";

test.before(async () => {
  if (problem !== undefined) return;
  project = await Project.open(STACK);
  world = await World.open(project, cloud);
});

test.after.always(() => {
  (world as World | undefined)?.close();
  (project as Project | undefined)?.close();
});

async function pulumi(...args: string[]): Promise<Outcome> {
  const outcome = await project.run(world.enter, ...args);
  said += outcome.stdout + outcome.stderr;
  return outcome;
}

async function up(changed: Options = options, ...flags: string[]): Promise<Outcome> {
  const file = project.configFile(STACK, "life", changed);
  await project.setSecret(STACK, file, "seed", SEED);
  return pulumi("up", "--yes", "--skip-preview", "--stack", STACK, "--config-file", file, ...flags);
}

/** `{created: 94}` of the summary at the end. */
function counts({ stdout }: Outcome): Record<string, number> {
  const summary = stdout.split(/^Resources:$/m)[1] ?? "";
  return Object.fromEntries(
    [...summary.matchAll(/^\s+(?:\S+ )?(\d+) (created|updated|deleted|replaced|unchanged)/gm)].map(
      ([, count, what]) => [what!, Number(count)],
    ),
  );
}

const named = ({ what, host }: Received): string => `${what}-${host}`;

interface State {
  readonly deployment: {
    /** Not there if there is none. */
    readonly resources?: readonly {
      readonly urn: string;
      readonly type: string;
      readonly dependencies?: readonly string[];
      readonly outputs?: Readonly<Record<string, unknown>>;
    }[];
  };
}

async function state(): Promise<NonNullable<State["deployment"]["resources"]>> {
  const { status, stdout, stderr } = await project.pulumi("stack", "export", "--stack", STACK);
  if (status !== 0) throw new Error(stderr);
  return (JSON.parse(stdout) as State).deployment.resources ?? [];
}

let history: Received[] = [];

story(
  "a step that fails stops what hangs on it, is not repeated, and says why; a lost connection is repeated",
  async (t) => {
    world.order("fail", "rabbitmq-start-ctl2");
    world.order("drop", "memcached-configure-ctl1");
    const outcome = await up();
    t.not(outcome.status, 0);
    t.regex(
      outcome.stdout + outcome.stderr,
      /rabbitmq-start on ctl2: wanted a good end, found the order to fail; run it again/,
    );
    history = world.received();
    const times = (name: string): number => history.filter((each) => named(each) === name).length;
    t.is(times("rabbitmq-start-ctl2"), 1, "what failed is not repeated");
    t.is(times("memcached-configure-ctl1"), 2, "what was cut off is");
    t.is(times("memcached-configure-ctl2"), 1);
    t.true(world.lab().length > 0);
  },
);

story("the next update does the rest, and nothing twice", async (t) => {
  const outcome = await up();
  t.is(outcome.status, 0, outcome.stdout + outcome.stderr);
  const rest = world.received();
  t.true(rest.some((each) => named(each) === "rabbitmq-start-ctl2"));
  const done = new Set(history.map(named));
  t.deepEqual(
    rest.map(named).filter((name) => done.has(name)),
    ["rabbitmq-start-ctl2"],
  );
  history = [...history, ...rest];
  // Every step, the runner and the secrets, of three hosts.
  const remote = (await state()).filter(({ type }) => type === "command:remote:Command");
  t.is(new Set(history.map(named)).size, remote.length);
});

story("no step began before what it waits for had ended", async (t) => {
  const ended = new Map<string, bigint>();
  // Of those that were repeated, the last.
  for (const each of history) ended.set(resourceName(each), each.ended);
  let checked = 0;
  for (const { urn, dependencies = [] } of await state()) {
    const began = history.findLast((each) => resourceName(each) === nameOf(urn))?.began;
    for (const dependency of dependencies.map(nameOf)) {
      const end = ended.get(dependency);
      if (began === undefined || end === undefined) continue;
      t.true(end <= began, `${nameOf(urn)} began before ${dependency} ended`);
      checked++;
    }
  }
  t.true(checked > 200, `${checked} pairs`);
});

/** The runner and the secrets are brought by other commands than the runner's own. */
function resourceName({ what, host }: Received): string {
  if (what === "sh_-s") return `base-runner-${host}`;
  return what.endsWith("--secrets") ? `base-secrets-${host}` : `${what}-${host}`;
}

story("an update without a change changes nothing and asks no host", async (t) => {
  world.lab();
  const outcome = await up(options, "--expect-no-changes");
  t.is(outcome.status, 0, outcome.stdout + outcome.stderr);
  t.deepEqual(Object.keys(counts(outcome)), ["unchanged"]);
  t.deepEqual(world.received(), []);
  t.deepEqual(world.lab(), []);
});

story(
  "a changed option of HAProxy is brought to each controller, and HAProxy alone is started anew",
  async (t) => {
    const changed = structuredClone(options);
    set(changed, "haproxy.interMs", 1000);
    const outcome = await up(changed);
    t.is(outcome.status, 0, outcome.stdout + outcome.stderr);
    t.is(counts(outcome).updated, 6);
    t.deepEqual(Object.keys(counts(outcome)).sort(), ["unchanged", "updated"]);
    t.deepEqual(
      world.received().map(named).sort(),
      ["configure", "start"].flatMap((stage) =>
        ["ctl1", "ctl2", "ctl3"].map((host) => `haproxy-${stage}-${host}`),
      ),
    );
    t.deepEqual(world.lab(), []);
  },
);

story(
  "a secret in a new version is brought, and those that use it run again, each once",
  async (t) => {
    const changed = structuredClone(options);
    set(changed, "haproxy.interMs", 1000);
    set(changed, "secretVersions.keystone-db", 2);
    const outcome = await up(changed);
    t.is(outcome.status, 0, outcome.stdout + outcome.stderr);
    const received = world.received().map(resourceName).sort();
    t.deepEqual(
      received,
      ["base-secrets", "keystone-bootstrap", "keystone-configure", "keystone-start"].flatMap(
        (step) => ["ctl1", "ctl2", "ctl3"].map((host) => `${step}-${host}`),
      ),
    );
  },
);

story(
  "what is kept of a stack has no secret in clear, nor has anything that was said",
  async (t) => {
    const rotated = new Map([
      ...secrets,
      ...[...plainSecrets({ ...cloud, secretVersions: { "keystone-db": 2 } }, SEED)].map(
        ([name, value]): [string, string] => [`${name}, rotated`, value],
      ),
      ["the seed", SEED],
    ]);
    const files = project.stateFiles();
    t.true([...files.keys()].some((file) => file.includes(".pulumi/history")));
    t.true(
      [...files.values()].some((text) => text.includes("timeout connect 1s")),
      "states have the texts of steps",
    );
    const { stdout: exported } = await project.pulumi("stack", "export", "--stack", STACK);
    const { stdout: outputs } = await project.pulumi("stack", "output", "--json", "--stack", STACK);
    for (const [where, text] of [
      ...files,
      ["the export", exported],
      ["outputs", outputs],
      ["output", said],
    ] as const) {
      for (const [name, part] of tellTales(rotated))
        t.false(text.includes(part), `${name} is in ${where}`);
    }
    t.deepEqual((JSON.parse(outputs) as Record<string, unknown>).adminPassword, "[secret]");
    // They are kept, though: whoever has the passphrase gets them, and so would a leak have been found.
    const { stdout: opened } = await project.pulumi(
      ...["stack", "export", "--show-secrets", "--stack", STACK],
    );
    const unseen = tellTales(secrets).filter(([, part]) => !opened.includes(part));
    // Those of services that controllers alone do not have are nowhere, nor is what hypervisors are asked with, nor the key of a
    // certificate that there is none of.
    const here = new Set<string>(servicesIn(cloud).flatMap((entry) => entry.secrets));
    const absent = new Set<string>([
      "libvirt-fence",
      "tls-public",
      ...SERVICES.flatMap((entry) => entry.secrets).filter((name) => !here.has(name)),
    ]);
    // The one that was rotated is there in its second version.
    t.deepEqual(
      [...new Set(unseen.map(([name]) => name))].filter((name) => !absent.has(name)),
      ["keystone-db"],
    );
  },
);

story("a cloud is destroyed with its hosts: none of them is asked to undo anything", async (t) => {
  world.received();
  world.lab();
  const refused = await pulumi("destroy", "--yes", "--skip-preview", "--stack", STACK);
  t.not(refused.status, 0, "not by accident");
  t.deepEqual(world.lab(), []);
  await pulumi("state", "unprotect", "--all", "--yes", "--stack", STACK);
  const outcome = await pulumi("destroy", "--yes", "--skip-preview", "--stack", STACK);
  t.is(outcome.status, 0, outcome.stdout + outcome.stderr);
  t.deepEqual(world.received(), []);
  t.deepEqual(world.lab(), [
    "host --delete ctl1",
    "host --delete ctl2",
    "host --delete ctl3",
    `network --delete ${STACK}`,
  ]);
  t.deepEqual(await state(), []);
});
