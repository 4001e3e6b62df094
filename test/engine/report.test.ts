import { spawnSync } from "node:child_process";
import * as fs from "node:fs";
import * as path from "node:path";
import test, { type ExecutionContext } from "ava";
import { changesOf } from "../../tools/report/changes";
import { eventsOf } from "../../tools/report/events";
import { report } from "../../tools/report/markdown";
import { nameOf, parsePlan, type Plan, type ResourceState } from "../../tools/report/plan";
import { Room } from "../../tools/report/room";
import { readStackFile, set, stackFileText, type Options } from "../fixtures/config/fixtures";
import { matchFile } from "../unit/support/snapshots";
import { needPulumi, REPOSITORY } from "./support/engine";

// What the report says of changes, by the real engine against the state that the development stack would have: no host, no
// cloud and no secret of anybody's. The stack's own file stays as it is.

const STACK = "dev";
const CONTROLLERS = ["ctl1", "ctl2", "ctl3"];
const committed = readStackFile("Pulumi.dev.yaml");

let room: Room;
let state: readonly ResourceState[];

test.before(async () => {
  needPulumi();
  room = await Room.open(REPOSITORY, STACK);
  await room.configure(stackFileText(committed));
  state = await room.settle();
});

test.after.always(() => {
  (room as Room | undefined)?.close();
});

async function planOf(change: (options: Options) => void): Promise<Plan> {
  const options = structuredClone(committed);
  change(options);
  await room.configure(stackFileText(options));
  return room.preview();
}

/** Names of all resources that a plan changes, with the operation. */
function changed(plan: Plan): string[] {
  return plan.steps
    .filter(({ op }) => op !== "same")
    .map(({ op, urn }) => `${op} ${nameOf(urn)}`)
    .sort();
}

function on(hosts: readonly string[], ...steps: readonly string[]): string[] {
  return steps.flatMap((step) => hosts.map((host) => `update ${step}-${host}`)).sort();
}

/** What has to hold of every report, and the text of this one as it was read by a person. */
function checked(t: ExecutionContext, plan: Plan, name: string): string {
  const text = report(plan, { stack: STACK });
  t.true(Buffer.byteLength(text) <= 60_000);
  t.deepEqual(
    changesOf(plan)
      .map(({ name: each }) => each)
      .sort(),
    [...new Set(plan.steps.filter(({ op }) => op !== "same").map(({ urn }) => nameOf(urn)))].sort(),
    "no changed resource is left out",
  );
  matchFile(t, `report/${name}.md`, text);
  return text;
}

test.serial("nothing is changed: nothing is said", async (t) => {
  const plan = await planOf(() => undefined);
  t.deepEqual(changed(plan), []);
  t.true(plan.steps.length >= 295);
  checked(t, plan, "nothing");
});

test.serial(
  "an option of HAProxy: one line of one file on three hosts, and no call fails",
  async (t) => {
    const plan = await planOf((options) => {
      set(options, "haproxy.fall", 3);
    });
    t.deepEqual(changed(plan), on(CONTROLLERS, "haproxy-configure", "haproxy-start"));
    t.deepEqual(
      eventsOf(plan).map(({ apiCallsMayFail, hosts, how, what }) => ({
        apiCallsMayFail,
        hosts,
        how,
        what,
      })),
      [{ apiCallsMayFail: false, hosts: CONTROLLERS, how: "reloads", what: "HAProxy" }],
    );
    const text = checked(t, plan, "haproxy-fall");
    t.is(text.match(/^\+ +default-server .* fall 3 /gm)?.length, 1, "one diff for three hosts");
  },
);

test.serial("a secret in a new version: by its number, on every host that uses it", async (t) => {
  const plan = await planOf((options) => {
    set(options, "secretVersions.keystone-db", 2);
  });
  t.deepEqual(
    changed(plan),
    on(CONTROLLERS, "base-secrets", "keystone-bootstrap", "keystone-configure", "keystone-start"),
  );
  const text = checked(t, plan, "secret-version");
  t.regex(text, /secret `keystone-db`: version 1 to 2/);
  t.true(eventsOf(plan).some(({ how, what }) => how === "reloads" && what === "Keystone"));
});

test.serial("a rotation of token keys restarts nothing", async (t) => {
  const plan = await planOf((options) => {
    set(options, "keystone.fernet", { version: 2 });
  });
  t.deepEqual(eventsOf(plan), []);
  t.regex(report(plan, { stack: STACK }), /### Nothing restarts, moves or is removed/);
});

test.serial("a VIP moves: it is the first thing that is said, with both addresses", async (t) => {
  const plan = await planOf((options) => {
    set(options, "vips.public", "10.77.3.20");
  });
  const text = checked(t, plan, "vip-move");
  t.regex(text, /`vip-public` moves/);
  t.regex(text, /API calls can fail meanwhile/);
  t.true(text.indexOf("vip-public") < text.indexOf("### What changes"));
  t.regex(text, /10\.77\.3\.10.*10\.77\.3\.20/);
});

test.serial(
  "a new compute host: its own resources are new, and the others learn of it",
  async (t) => {
    const plan = await planOf((options) => {
      (options.hosts as object[]).push({
        name: "cmp3",
        roles: ["compute"],
        id: 23,
        failureDomain: "rack3",
      });
    });
    const created = changed(plan).filter((each) => each.startsWith("create "));
    t.true(created.includes("create lab-host-cmp3"));
    t.true(created.every((each) => each.endsWith("cmp3")));
    t.deepEqual(
      changed(plan).filter((each) => /delete|replace/.test(each)),
      [],
    );
    checked(t, plan, "new-compute");
  },
);

test.serial(
  "a removed compute host: the host is deleted, and no step is run backwards",
  async (t) => {
    const plan = await planOf((options) => {
      (options.hosts as object[]).pop();
    });
    const text = checked(t, plan, "removed-compute");
    t.regex(text, /\*\*`the host with its disk` is deleted\*\*/);
    t.true(changed(plan).includes("delete lab-host-cmp2"));
  },
);

test.serial(
  "a role that is moved: what stays behind is named, and what the lab refuses",
  async (t) => {
    const plan = await planOf((options) => {
      const hosts = options.hosts as { roles: string[] }[];
      hosts[2]!.roles = ["controller", "storage"];
      hosts[3]!.roles = ["compute", "network"];
    });
    const text = checked(t, plan, "role-moved");
    t.regex(text, /the plan no longer has it and nothing is undone|is refused/);
  },
);

test.serial(
  "a changed script is shown where it runs, and restarts nothing by itself",
  async (t) => {
    // Another checkout, as it were: a program finds its scripts beside itself.
    const root = path.join(room.folder, "checkout");
    fs.cpSync(REPOSITORY, root, {
      recursive: true,
      filter: (source) => !/\/(node_modules|\.git|\.cloud|docs|bench)$/.test(source),
    });
    fs.symlinkSync(path.join(REPOSITORY, "node_modules"), path.join(root, "node_modules"));
    fs.appendFileSync(path.join(root, "scripts/memcached/start.sh"), "# `said` in a script\n");
    const other = await Room.open(path.relative(process.cwd(), root), STACK);
    try {
      await other.configure(stackFileText(committed));
      await other.import(state);
      const plan = await other.preview();
      t.deepEqual(changed(plan), on(CONTROLLERS, "memcached-start"));
      t.deepEqual(eventsOf(plan), []);
      checked(t, plan, "script");
    } finally {
      other.close();
    }
  },
);

test.serial("without a seed nothing is hidden: what is not known is named", async (t) => {
  const options = structuredClone(committed);
  set(options, "haproxy.fall", 3);
  await room.configure(stackFileText(options), false);
  const plan = await room.preview();
  const names = changesOf(plan).map(({ name }) => name);
  for (const host of CONTROLLERS) t.true(names.includes(`haproxy-configure-${host}`));
  const text = report(plan, { stack: STACK });
  t.regex(text, /fall 3/);
  t.regex(text, /secret in `stdin`|secret in `connection`|Not known before/);
});

test.serial(
  "a preview against a state is the same on any machine, and connects to nothing but itself",
  async (t) => {
    if (spawnSync("strace", ["-V"]).status !== 0) {
      t.log("not asked: strace is not installed");
      t.pass();
      return;
    }
    await room.configure(stackFileText(committed));
    const trace = path.join(room.folder, "trace");
    const { status, stderr, stdout } = await room.run(
      [
        // Another person's machine: what defaults to something in a home is no change.
        ...["env", `HOME=${path.join(room.folder, "home")}`],
        ...["strace", "--follow-forks", "--seccomp-bpf", "--trace=connect", "--output", trace],
      ],
      ...["preview", "--stack", STACK, "--json"],
    );
    t.is(status, 0, stderr);
    t.deepEqual(changed(parsePlan(stdout, "pulumi")), []);
    const calls = fs
      .readFileSync(trace, "utf8")
      .split("\n")
      .filter((line) => /AF_INET6?\b/.test(line));
    const own = (line: string): boolean => /127\.0\.0\.1|"::1"|::ffff:127\.0\.0\.1/.test(line);
    t.true(calls.some(own), "the engine's own connections are seen");
    t.deepEqual(
      calls.filter((line) => !own(line)),
      [],
    );
  },
);
