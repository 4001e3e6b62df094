import * as fs from "node:fs";
import * as path from "node:path";
import test from "ava";
import { readStackFile } from "../fixtures/config/fixtures";
import { nameOf, Project, REPOSITORY, SEED, type Digest, type Outcome } from "./support/engine";

// `pulumi preview` of the production example, as somebody sees it who has filled nothing in: no host of it is reachable,
// and none is asked. By the real engine.

const STACK = "production";
const options = readStackFile("Pulumi.production.example.yaml");

let project: Project;
let configFile: string;
let outcome: Outcome;

test.before(async () => {
  project = await Project.open(STACK);
  configFile = project.configFile(STACK, "production", options);
  await project.setSecret(STACK, configFile, "seed", SEED);
  outcome = await preview(configFile);
});

test.after.always(() => {
  // Not there if there is no pulumi.
  (project as Project | undefined)?.close();
});

function preview(file: string): Promise<Outcome> {
  return project.pulumi("preview", "--stack", STACK, "--config-file", file, "--json");
}

test("every host's resources are to be created, without an error", (t) => {
  t.is(outcome.status, 0, outcome.stderr);
  const { steps, diagnostics = [] } = JSON.parse(outcome.stdout) as Digest;
  t.deepEqual(
    diagnostics.filter(({ severity }) => severity === "error"),
    [],
  );
  const hosts = (options.hosts as { name: string }[]).map(({ name }) => name);
  const counts = hosts.map(
    (host) => [host, steps.filter(({ urn }) => nameOf(urn).endsWith(`-${host}`)).length] as const,
  );
  for (const [host, count] of counts) t.true(count >= 7, `${host}: ${count}`);
  t.true(steps.every(({ op }) => op === "create"));
  t.false(steps.some(({ urn }) => nameOf(urn).startsWith("lab")));
  t.log(`${outcome.milliseconds} ms, ${steps.length} resources`);
  t.log(counts.map(([host, count]) => `${host} ${count}`).join(", "));
});

test("hosts in a file of their own give the same plan, and a mistake there is told by its name", async (t) => {
  const { hosts, inventory, ...rest } = options;
  const file = path.join(project.work, "hosts.yaml");
  const write = (change: object): void => {
    // YAML takes JSON.
    fs.writeFileSync(file, JSON.stringify({ hosts, ...(inventory as object), ...change }));
  };
  write({});
  const stack = project.configFile(STACK, "split", { ...rest, inventory: { file: "hosts.yaml" } });
  await project.setSecret(STACK, stack, "seed", SEED);
  const names = ({ stdout }: Outcome): string[] =>
    (JSON.parse(stdout) as Digest).steps.map(({ urn }) => nameOf(urn)).sort();
  const split = await preview(stack);
  t.is(split.status, 0, split.stderr);
  t.deepEqual(names(split), names(outcome));
  write({ bmc: { port: 0 } });
  const { status, stdout, stderr } = await preview(stack);
  t.not(status, 0);
  t.regex(stdout + stderr, /hosts\.yaml: bmc\.port: 0 is too small; use 1 to 65535/);
});

test("an update without the management controllers' passwords is refused before anything is made", async (t) => {
  const { status, stdout, stderr } = await project.pulumi(
    ...["up", "--yes", "--skip-preview", "--stack", STACK, "--config-file", configFile],
  );
  t.not(status, 0);
  t.regex(
    stdout + stderr,
    /openstack-ha:secrets\.pacemaker-bmc: is missing, and the management controllers have a password already; set it: tools\/cloud run pulumi config set --stack \S+ --secret --path/,
  );
});

test("the example names a secrets provider, and has no secret in clear", (t) => {
  const text = fs.readFileSync(path.join(REPOSITORY, "Pulumi.production.example.yaml"), "utf8");
  t.regex(text, /secretsprovider: /);
  t.regex(text, /encryptedkey: /);
  t.notRegex(text, /openstack-ha:(?:seed|secrets|sshPrivateKey):/);
});
