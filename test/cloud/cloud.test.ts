import { spawnSync } from "node:child_process";
import * as path from "node:path";
import test from "ava";
import {
  fencings,
  killContainer,
  type Lab,
  openLab,
  ROOT,
  seconds,
  sleep,
  untilHealthy,
} from "../../bench/lib";
import { committed, Scratch } from "../../bench/scratch";
import { Guests } from "../../tools/guests";
import { onHost } from "../../tools/hosts";
import { eventually, OpenStack } from "../../tools/openstack";
import { cloudFolder } from "../../tools/stack";
import { machineState, type Residue } from "../lab/support/machine";

/**
 * A whole cloud, from nothing to nothing: the committed development stack, with controllers that also carry network and
 * storage, and two compute hosts. The tests are one story and run in order; each says what it proves.
 */

const STACK = "cloudtest";

let before: Residue;
let scratch: Scratch;
let lab: Lab;

test.before(() => {
  before = machineState(STACK);
  scratch = new Scratch(STACK, committed("dev", "10.82."));
});

test.after.always(async () => {
  await scratch.dispose();
});

test.serial(
  "one command ends with a cloud whose servers are reached, and keep what they write to a volume",
  async (t) => {
    t.timeout(40 * 60_000);
    t.is(await scratch.cloud("up"), 0);
    t.regex(scratch.console, /all 61 checks are well/);
    t.regex(scratch.console, /it is read in first-two/);
    lab = openLab(scratch.stack);
  },
);

test.serial("a second up changes nothing", async (t) => {
  t.timeout(10 * 60_000);
  const up = await scratch.pulumi("up", "--yes", "--skip-preview", "--expect-no-changes");
  t.is(up.status, 0);
});

test.serial("an option of one service touches that service's steps and no others", async (t) => {
  t.timeout(5 * 60_000);
  await scratch.pulumi("config", "set", "--path", "openstack-ha:horizon.sessionMinutes", "90");
  const preview = JSON.parse((await scratch.pulumi("preview", "--json")).stdout) as {
    steps: { op: string; urn: string }[];
  };
  t.deepEqual(
    preview.steps
      .filter((step) => step.op !== "same")
      .map((step) => step.urn.split("::").pop())
      .sort(),
    ["configure", "start"].flatMap((stage) =>
      ["ctl1", "ctl2", "ctl3"].map((host) => `horizon-${stage}-${host}`),
    ),
  );
  await scratch.pulumi("config", "rm", "--path", "openstack-ha:horizon.sessionMinutes");
});

test.serial("a guest's port that is taken down comes up again", async (t) => {
  const host = lab.cloud.hosts.find(({ roles }) => roles.includes("compute"))!;
  const run = (command: string): Promise<string> =>
    onHost(STACK, host, command, { limitSeconds: 20 });
  await run("ip tuntap add dev taptest mode tap && ip link set dev taptest up");
  t.teardown(() => run("ip tuntap del dev taptest mode tap"));
  await run("ip link set dev taptest down");
  const up = async (): Promise<string | undefined> =>
    (await run("ip -oneline link show up dev taptest")) || undefined;
  t.truthy(await eventually("the port to be up", 10, up));
});

test.serial(
  "the dashboard shows a server in a real browser, and lets nobody in after logout",
  async (t) => {
    t.timeout(15 * 60_000);
    const api = await OpenStack.login({
      authUrl: lab.outputs.authUrl,
      user: "admin",
      password: lab.outputs.adminPassword,
      project: "admin",
    });
    const guests = new Guests(api, "browser");
    try {
      await guests.prepare();
      const guest = await guests.boot("seen");
      const visit = spawnSync(
        "tools/cloud",
        ["run", "node", "--require", "tsx/cjs", "tools/dashboard.ts", guest.name],
        {
          cwd: ROOT,
          encoding: "utf8",
          env: { ...process.env, STACK },
          timeout: 10 * 60_000,
        },
      );
      t.is(visit.status, 0, visit.stderr);
      t.log(path.relative(ROOT, path.join(cloudFolder(STACK), "horizon.png")));
    } finally {
      await guests.clear();
      guests.close();
    }
  },
);

test.serial("tempest's smoke tests pass, through the public VIP, with ssh into the guests", (t) => {
  t.timeout(45 * 60_000);
  const verify = spawnSync(
    "tools/cloud",
    ["run", "node", "--require", "tsx/cjs", "tools/verify.ts"],
    { cwd: ROOT, env: { ...process.env, STACK }, stdio: ["ignore", 2, 2], timeout: 40 * 60_000 },
  );
  t.is(verify.status, 0, `see ${path.relative(ROOT, path.join(cloudFolder(STACK), "tempest"))}`);
});

test.serial(
  "a host with control plane, gateway and disk loses power, and all is well again",
  async (t) => {
    t.timeout(15 * 60_000);
    killContainer(lab, "ctl2");
    await sleep(20_000);
    t.log(`all well after ${seconds((await untilHealthy(lab, 420)) + 20_000)} s`);
    t.is(fencings(lab, "ctl1", "ctl2"), 1);
  },
);

test.serial("all hosts lose power at once: the cloud comes back", async (t) => {
  t.timeout(20 * 60_000);
  for (const host of lab.cloud.hosts) killContainer(lab, host.name);
  // What `npm run up` does first after the machine itself was restarted.
  t.is(spawnSync("scripts/lab/lab", ["resume", STACK], { cwd: ROOT, stdio: "inherit" }).status, 0);
  t.log(`all well after ${seconds(await untilHealthy(lab, 900))} s`);
});

test.serial("destroy leaves nothing but the cache", async (t) => {
  t.timeout(10 * 60_000);
  t.is(await scratch.cloud("destroy"), 0);
  t.deepEqual(machineState(STACK), before);
});
