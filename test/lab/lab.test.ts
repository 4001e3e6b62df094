import { spawnSync } from "node:child_process";
import * as fs from "node:fs";
import * as path from "node:path";
import test from "ava";
import {
  bmcOff,
  bmcPassword,
  killContainer,
  type Lab,
  onHost,
  openLab,
  outage,
  seconds,
  sleep,
  TokenClient,
  untilHealthy,
  vipHolder,
} from "../../bench/lib";
import { committed, Scratch } from "../../bench/scratch";
import { plainSecrets } from "../../secrets";
import { cloudFolder } from "../../tools/stack";
import { CommandLines, machineState, type Residue } from "./support/machine";

/**
 * The real thing, from nothing to nothing: a lab of three controllers is deployed, interrupted, repaired, changed, shot
 * at and removed. The tests are one story and run in order; each says what it proves.
 */

let before: Residue;
let scratch: Scratch;
let lab: Lab;
let deployment: CommandLines;

test.before(() => {
  before = machineState("labtest");
  scratch = new Scratch("labtest", committed("controllers", "10.78."));
  deployment = new CommandLines();
});

test.after.always(async () => {
  deployment.stop();
  await scratch.dispose();
});

test.serial("a deployment that is killed half-way is repaired by running it again", async (t) => {
  t.timeout(60 * 60_000);
  t.log(`killed after ${(await scratch.killedUp(60)).toFixed(0)} s`);
  t.is(await scratch.cloud("up"), 0, "the second up ends well");
  deployment.stop();
  lab = openLab(scratch.stack);
  await t.notThrowsAsync(untilHealthy(lab, 60));
});

test.serial("a token is issued through the public VIP, to the stock client", (t) => {
  t.timeout(120_000);
  const environment = fs.readFileSync(path.join(cloudFolder(scratch.stack), "openrc"), "utf8");
  const token = onHost(
    lab,
    "ctl1",
    "bash -s",
    `${environment}\nopenstack token issue -f value -c id\n`,
  );
  t.regex(token, /^gAAAA/);
  const catalogue = onHost(
    lab,
    "ctl1",
    "bash -s",
    `${environment}\nopenstack endpoint list -f json\n`,
  );
  const urls = (JSON.parse(catalogue) as { Interface: string; URL: string }[])
    .map((endpoint) => `${endpoint.Interface} ${endpoint.URL}`)
    .sort();
  t.deepEqual(urls, [
    "admin http://10.78.0.10:5000/v3",
    "internal http://10.78.0.10:5000/v3",
    "public http://10.78.3.10:5000/v3",
  ]);
});

test.serial("files for people are readable by their owner only", (t) => {
  for (const name of ["clouds.yaml", "openrc", "id_ed25519", "ssh_config"]) {
    t.is(fs.statSync(path.join(cloudFolder(scratch.stack), name)).mode & 0o777, 0o600, name);
  }
});

test.serial("a second up changes nothing and reaches no host", async (t) => {
  t.timeout(10 * 60_000);
  const logins = (): string =>
    lab.cloud.hosts
      .map((host) =>
        onHost(lab, host.name, "journalctl -u ssh -o cat | grep -c 'Accepted publickey'").trim(),
      )
      .join(" ");
  // Asking is a login itself: one more on each host.
  const expected = logins()
    .split(" ")
    .map((count) => String(Number(count) + 1))
    .join(" ");
  t.is((await scratch.pulumi("up", "--yes", "--skip-preview", "--expect-no-changes")).status, 0);
  t.is(logins(), expected);
});

test.serial(
  "a changed option runs the steps of one service, and no request fails meanwhile",
  async (t) => {
    t.timeout(10 * 60_000);
    t.is(
      (await scratch.pulumi("config", "set", "--path", "openstack-ha:haproxy.fall", "3")).status,
      0,
    );
    const preview = JSON.parse((await scratch.pulumi("preview", "--json")).stdout) as {
      steps: { op: string; urn: string }[];
    };
    const touched = preview.steps
      .filter((step) => step.op !== "same")
      .map((step) => step.urn.split("::").pop())
      .sort();
    t.deepEqual(touched, [
      ...["ctl1", "ctl2", "ctl3"].map((host) => `haproxy-configure-${host}`),
      ...["ctl1", "ctl2", "ctl3"].map((host) => `haproxy-start-${host}`),
    ]);
    const client = new TokenClient(lab);
    client.start();
    t.is((await scratch.pulumi("up", "--yes", "--skip-preview")).status, 0);
    await client.stop();
    t.true(client.samples.length > 10);
    t.deepEqual(
      client.samples.filter((sample) => !sample.ok),
      [],
    );
  },
);

test.serial(
  "no secret is in the state, in a preview, on the console, in a log of a host or in a command line",
  async (t) => {
    t.timeout(5 * 60_000);
    // Asked for by the test, so no leak: taken out of what the console is searched for.
    const seed = (await scratch.pulumi("config", "get", "openstack-ha:seed")).stdout.trim();
    const shown = scratch.console.replace(seed, "");
    const values = new Map([["seed", seed], ...plainSecrets(lab.cloud, seed)]);
    const state = (await scratch.pulumi("stack", "export")).stdout;
    const preview =
      (await scratch.pulumi("preview", "--diff")).stdout +
      (await scratch.pulumi("preview", "--json")).stdout;
    const logs = lab.cloud.hosts
      .map((host) =>
        onHost(
          lab,
          host.name,
          "cat /var/log/openstack-ha/*.log; journalctl --no-pager -o cat; ps -eo args",
        ),
      )
      .join("\n");
    const commandLines = [...deployment.seen].join("\n");
    t.log(`${deployment.seen.size} command lines seen in ${deployment.rounds} looks during up`);
    t.regex(commandLines, /mariadbd.*--wsrep/, "it sees processes of the hosts");
    const places = { state, preview, logs, console: shown, commandLines };
    for (const [name, value] of values) {
      for (const [where, text] of Object.entries(places)) {
        // A private key's lines are compared one by one, since files may be folded or indented.
        const needles = value.includes("\n")
          ? value.split("\n").filter((line) => line.length > 40)
          : [value];
        for (const needle of needles) t.false(text.includes(needle), `${name} is in ${where}`);
      }
    }
  },
);

test.serial(
  "a controller that loses power is fenced, replaced and comes back by itself",
  async (t) => {
    t.timeout(10 * 60_000);
    const victim = vipHolder(lab, "public");
    const password = bmcPassword(lab);
    const client = new TokenClient(lab);
    client.start();
    await sleep(2000);
    const event = Date.now();
    bmcOff(lab, victim, password);
    await sleep(12_000);
    await client.stop();
    t.log(`outage ${seconds(outage(client.samples, event))} s`);
    t.true(Number.isFinite(outage(client.samples, event)), "tokens are issued again");
    t.not(vipHolder(lab, "public"), victim);
    t.log(`all well after ${seconds((await untilHealthy(lab, 240)) + 14_000)} s`);
  },
);

test.serial(
  "all hosts lose power at once: everything comes back, with what was committed",
  async (t) => {
    t.timeout(15 * 60_000);
    onHost(
      lab,
      "ctl2",
      "mariadb",
      "CREATE DATABASE lost; CREATE TABLE lost.row (id INT PRIMARY KEY); INSERT INTO lost.row VALUES (42);",
    );
    for (const host of lab.cloud.hosts) killContainer(lab, host.name);
    // What `npm run up` does first after the machine itself was restarted.
    t.is(spawnSync("scripts/lab/lab", ["resume", scratch.stack], { stdio: "inherit" }).status, 0);
    t.log(`all well after ${seconds(await untilHealthy(lab, 400))} s`);
    t.is(onHost(lab, "ctl1", "mariadb -BN -e 'SELECT id FROM lost.row'").trim(), "42");
  },
);

test.serial("destroy leaves nothing but the cache", async (t) => {
  t.timeout(10 * 60_000);
  t.is(await scratch.cloud("destroy"), 0);
  t.deepEqual(machineState("labtest"), before);
});
