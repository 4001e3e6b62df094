import { createHash } from "node:crypto";
import test from "ava";
import * as fc from "fast-check";
import { RUNNER } from "../../components/document";
import { runnerScript } from "../../components/hosts/base";
import { sortedJson } from "../../components/step";
import { findingsInCloud } from "../../tools/drift/cloud";
import type { Digest } from "../../tools/drift/engine";
import { isSettled, repairPlan, summary } from "../../tools/drift/plan";
import { previewProblem } from "../../tools/drift/repair";
import { exitCode, type Scan, toJson, toText } from "../../tools/drift/report";
import {
  type Finding,
  findingsOf,
  type HostScan,
  scanHost,
  scanHosts,
} from "../../tools/drift/scan";
import { plannedSteps, type PlannedStep } from "../../tools/drift/steps";
import { type CheckResult, HostError } from "../../tools/hosts";
import type { StateResource } from "../../tools/stack";
import { Room } from "./support/runner";

// What `npm run drift` makes of a state and of what hosts answer. The runner's own check is in step.test.ts and
// lib.test.ts; all of it together, against the real engine, in test/engine/drift.test.ts.

const urn = (type: string, name: string): string => `urn:pulumi:s::openstack-ha::${type}::${name}`;
const secret = (value: unknown): unknown => ({
  "4dabf18193072939515e22adb298388d": "1b47061264138c4ac30d75fd1eb44270",
  plaintext: JSON.stringify(value),
});

function command(
  name: string,
  create: string,
  stdin: unknown,
  stdout = "unchanged",
): StateResource {
  const type = "command:remote:Command";
  return { urn: urn(type, name), type, inputs: { create, stdin }, outputs: { stdout } };
}

function stepOf(service: string, stage: string, host: string, stdout?: string): StateResource {
  const document = {
    step: { service, stage, host, timeout: 600 },
    files: { "/a": { content: "a" } },
  };
  return command(`${service}-${stage}-${host}`, RUNNER, sortedJson(document), stdout);
}

const cloudResource = (name: string): StateResource => {
  const type = "openstack:identity/endpointV3:EndpointV3";
  return { urn: urn(type, name), type };
};

function finding(step: string, kind: Finding["kind"], found = "x"): Finding {
  return { host: step.split("-").at(-1)!, step, kind, what: "w", found };
}

// ---- What hosts are asked ---------------------------------------------------------------------------------------

test("steps are asked as they were applied last, with a bound of the scan's own", (t) => {
  const [step, ...others] = plannedSteps([stepOf("haproxy", "start", "ctl1")]);
  t.deepEqual(others, []);
  t.like(step, { name: "haproxy-start-ctl1", host: "ctl1", answers: [] });
  t.deepEqual(step?.document, {
    files: { "/a": { content: "a" } },
    step: { service: "haproxy", stage: "start", host: "ctl1", timeout: 90 },
  });
});

test("what is no step is not asked for", (t) => {
  t.deepEqual(
    plannedSteps([
      cloudResource("registration-endpoint-nova-public"),
      { urn: urn("command:local:Command", "lab-host-ctl1"), type: "command:local:Command" },
      command("another", "echo hello", ""),
    ]),
    [],
  );
});

test("the runner is compared by the files of the script that brings it", (t) => {
  const [step] = plannedSteps([command("base-runner-ctl1", "sh -s", runnerScript())]);
  t.is(step?.host, "ctl1");
  const { files } = step?.document as { files: Record<string, { content: string; mode: string }> };
  t.deepEqual(
    Object.entries(files).map(([file, { mode }]) => [file, mode]),
    [
      ["/usr/local/lib/openstack-ha/lib.sh", "0644"],
      [RUNNER, "0755"],
    ],
  );
  t.regex(files[RUNNER]!.content, /^#!\/usr\/bin\/python3\n[^]*sys\.exit\(1\)\n$/);
});

test("the store of secrets is compared by a digest, which the runner's own store has", async (t) => {
  const store = {
    a: { version: 1, value: "t0p ßecret \u007f 𝄞" },
    b: { version: 2, value: "x\ny" },
  };
  const [step] = plannedSteps([
    command("base-secrets-ctl1", `${RUNNER} --secrets`, secret(sortedJson(store))),
  ]);
  t.is(step?.host, "ctl1");
  t.false(JSON.stringify(step?.document).includes("ecret \\u"));
  const r = new Room();
  t.teardown(() => {
    r.remove();
  });
  await r.apply(store, "--secrets");
  const { params } = step?.document as { params: { digest: string } };
  t.is(params.digest, createHash("sha256").update(r.read("etc/secrets.json")).digest("hex"));
  t.is((await r.check(step?.document)).status, 0);
});

test("what a step answered when it ran last is known", (t) => {
  const [step] = plannedSteps([
    stepOf("keystone", "verify", "ctl1", "changed: x\nadmin 12\nmember 34"),
  ]);
  t.deepEqual(step?.answers, ["admin 12", "member 34"]);
});

// ---- What hosts say ---------------------------------------------------------------------------------------------

const planned = (name: string, answers: readonly string[] = []): PlannedStep => {
  const host = name.split("-").at(-1)!;
  return { name, host, urn: urn("command:remote:Command", name), document: { name }, answers };
};
const result = (rest: Partial<CheckResult> = {}): CheckResult => ({
  ...{ service: "s", stage: "t", host: "h", differences: [], facts: [] },
  ...rest,
});

test("an answer that is another one now is a difference, and one that cannot be had is a question of health", (t) => {
  const step = planned("keystone-verify-ctl1", ["admin 12", "member 34"]);
  t.deepEqual(findingsOf(step, result({ facts: ["admin 12", "member 34", "new 56"] })), []);
  t.like(findingsOf(step, result({ facts: ["admin 99", "member 34"] })), {
    0: { kind: "answer", what: "admin", found: "was admin 12, found admin 99" },
    length: 1,
  });
  t.deepEqual(
    findingsOf(step, result()).map(({ kind }) => kind),
    ["health", "health"],
  );
});

test("a host that leaves a step out has not answered for it", (t) => {
  t.like(findingsOf(planned("a-start-ctl1"), undefined), { 0: { kind: "error" }, length: 1 });
});

test("health in question is asked once more, alone, and the second answer counts", async (t) => {
  const asked: unknown[] = [];
  const steps = [planned("a-start-ctl1"), planned("b-start-ctl1"), planned("c-start-ctl1")];
  const health = { kind: "health", what: "b", found: "slow" } as const;
  const file = { kind: "file", what: "/c", found: "missing" } as const;
  const scan = await scanHost("ctl1", steps, (_host, documents) => {
    asked.push(documents);
    return Promise.resolve(
      asked.length === 1
        ? [result(), result({ differences: [health] }), result({ differences: [file] })]
        : documents.map(() => result()),
    );
  });
  t.deepEqual(asked, [steps.map((step) => step.document), [{ name: "b-start-ctl1" }]]);
  t.deepEqual(
    scan.findings.map(({ step, kind }) => [step, kind]),
    [["c-start-ctl1", "file"]],
  );
});

test("a host that does not answer has no drift, and says why it was not asked", async (t) => {
  const scan = await scanHost("ctl1", [planned("base-runner-ctl1")], () =>
    Promise.reject(new HostError("connect to host ctl1 port 22: No route to host", 255)),
  );
  t.like(scan, { findings: [], error: "connect to host ctl1 port 22: No route to host" });
  t.is(exitCode({ stack: "s", hosts: [scan], seconds: 0 }), 2);
});

test("a runner that does not run is drift of its own, and the rest is not asked", async (t) => {
  const steps = [planned("base-runner-ctl1"), planned("a-start-ctl1")];
  const scan = await scanHost("ctl1", steps, () =>
    Promise.reject(new HostError("sh: openstack-ha-step: not found", 127)),
  );
  t.like(scan.findings, { 0: { step: "base-runner-ctl1", kind: "state" }, length: 1 });
  t.regex(scan.error!, /not asked/);
});

test("all hosts are asked, no more at once than may be, and come in the state's order", async (t) => {
  const steps = ["c", "a", "b", "d"].map((host) => planned(`s-start-${host}`));
  let now = 0;
  let most = 0;
  const scans = await scanHosts(
    steps,
    async () => {
      most = Math.max(most, ++now);
      await new Promise((resolve) => setTimeout(resolve, Math.random() * 20));
      now--;
      return [result()];
    },
    () => undefined,
    2,
  );
  t.deepEqual(
    scans.map(({ host }) => host),
    ["c", "a", "b", "d"],
  );
  t.is(most, 2);
});

// ---- What is said of it -----------------------------------------------------------------------------------------

const hostScan = (host: string, findings: Finding[] = [], error?: string): HostScan => ({
  ...{ host, steps: 10, findings, seconds: 1.5 },
  ...(error === undefined ? {} : { error }),
});
const scanOf = (...hosts: HostScan[]): Scan => ({ stack: "dev", hosts, seconds: 12.34 });

const EDITED: Finding = {
  ...{
    host: "ctl2",
    step: "haproxy-configure-ctl2",
    kind: "file",
    what: "/etc/haproxy/haproxy.cfg",
  },
  found:
    "--- /etc/haproxy/haproxy.cfg (host)\n+++ /etc/haproxy/haproxy.cfg (plan)\n@@ -1 +1,2 @@\n-mine\n+a\n+b",
};

test("the exit code is for cron: none, drift, not asked", (t) => {
  const down = hostScan("ctl1", [], "no route");
  t.is(exitCode(scanOf(hostScan("ctl1"), hostScan("ctl2"))), 0);
  t.is(exitCode(scanOf(hostScan("ctl1"), hostScan("ctl2", [EDITED]))), 1);
  t.is(exitCode(scanOf(down, hostScan("ctl2", [EDITED]))), 2);
  t.is(exitCode({ ...scanOf(hostScan("ctl1")), cloud: hostScan("cloud", [], "no token") }), 2);
});

test("people get a row a finding, the lines of files, and one line that says it all", (t) => {
  const down = hostScan("ctl1", [], "connect timed out");
  t.is(
    toText(
      scanOf(down, hostScan("ctl2", [EDITED, finding("nova-start-ctl2", "state", "started x")])),
    ),
    `host  step                    what differs
----  ----------------------  ----------------------------------------
ctl2  haproxy-configure-ctl2  /etc/haproxy/haproxy.cfg was edited (+1 -2 lines)
ctl2  nova-start-ctl2         to mend: started x

haproxy-configure-ctl2:
    --- /etc/haproxy/haproxy.cfg (host)
    +++ /etc/haproxy/haproxy.cfg (plan)
    @@ -1 +1,2 @@
    -mine
    +a
    +b

ctl1 could not be asked: connect timed out
2 drifted of 20 steps and resources on 2 hosts, as far as could be asked (12.3 s)`,
  );
  t.is(toText(scanOf(hostScan("ctl1"))), "no drift of 10 steps and resources on 1 hosts (12.3 s)");
});

test("programs get all of it as one object", (t) => {
  const json = JSON.parse(
    toJson(scanOf(hostScan("ctl1", [], "down"), hostScan("ctl2", [EDITED]))),
  ) as unknown;
  t.deepEqual(json, {
    stack: "dev",
    seconds: 12.34,
    exitCode: 2,
    asked: [
      { host: "ctl1", steps: 10, seconds: 1.5, error: "down" },
      { host: "ctl2", steps: 10, seconds: 1.5 },
    ],
    drift: [EDITED],
  });
});

// ---- What a repair runs -----------------------------------------------------------------------------------------

const STATE = [
  stepOf("base", "configure", "ctl1"),
  stepOf("haproxy", "install", "ctl1"),
  stepOf("haproxy", "configure", "ctl1"),
  stepOf("pacemaker", "bootstrap", "ctl1"),
  stepOf("haproxy", "start", "ctl1"),
  cloudResource("registration-endpoint-nova-public"),
  stepOf("nova", "start", "ctl1"),
];
const STEPS = plannedSteps(STATE);
const planOf = (findings: Finding[], names: string[] = []): ReturnType<typeof repairPlan> =>
  repairPlan(STATE, STEPS, findings, names);
const names = (repairs: readonly { name: string }[]): string[] => repairs.map(({ name }) => name);

test("a repair runs what has drifted, in the order in which one waits for the other", (t) => {
  const plan = planOf([
    finding("haproxy-start-ctl1", "state", "reloaded haproxy"),
    finding("registration-endpoint-nova-public", "resource"),
    finding("haproxy-configure-ctl1", "file", "missing"),
  ]);
  t.deepEqual(names(plan.steps), ["haproxy-configure-ctl1", "haproxy-start-ctl1"]);
  t.deepEqual(names(plan.resources), ["registration-endpoint-nova-public"]);
  t.deepEqual(plan.left, []);
  t.is(plan.steps[1]?.why, "to mend: reloaded haproxy");
});

test("a step that only waits for a service to be well is not run, but told", (t) => {
  const plan = planOf([
    finding("base-configure-ctl1", "health", "failed units: nova-api.service"),
    finding("nova-start-ctl1", "health", "nova-api.service is failed"),
    finding("nova-start-ctl1", "state", "started nova-api.service"),
    finding("pacemaker-bootstrap-ctl1", "error", "no cluster"),
  ]);
  t.deepEqual(names(plan.steps), ["nova-start-ctl1"]);
  t.is(plan.steps[0]?.why, "to mend: started nova-api.service");
  t.deepEqual(plan.left, ["base-configure-ctl1", "pacemaker-bootstrap-ctl1"]);
});

test("what names a thing that is made anew follows it, and what that made anew, too", (t) => {
  const naming = (name: string, ...named: StateResource[]): StateResource => ({
    ...cloudResource(name),
    propertyDependencies: { region: [], id: named.map((each) => each.urn), other: null },
  });
  const user = cloudResource("user");
  const role = naming("role", user);
  const state = [...STATE, user, role, naming("of-role", role), naming("alone", STATE[5]!)];
  const gone: Finding = { ...finding("user", "resource", "it is gone"), anew: true };
  const edited = finding("user", "resource", "found a, wanted b");
  t.deepEqual(names(repairPlan(state, STEPS, [gone]).resources), ["user", "role", "of-role"]);
  t.deepEqual(names(repairPlan(state, STEPS, [edited]).resources), ["user"]);
});

test("what is installed anew is started anew", (t) => {
  const plan = planOf([finding("haproxy-install-ctl1", "state", "newer haproxy")]);
  t.deepEqual(names(plan.steps), ["haproxy-install-ctl1", "haproxy-start-ctl1"]);
});

test("names choose among what has drifted, also what would not be run by itself", (t) => {
  const found = [
    finding("base-configure-ctl1", "health"),
    finding("haproxy-configure-ctl1", "file", "missing"),
    finding("nova-start-ctl1", "state"),
  ];
  const plan = planOf(found, ["nova-start-ctl1", "base-configure-ctl1"]);
  t.deepEqual(names(plan.steps), ["base-configure-ctl1", "nova-start-ctl1"]);
  t.deepEqual(plan.left, ["haproxy-configure-ctl1"]);
  t.throws(() => planOf(found, ["haproxy-start-ctl1"]), {
    message:
      "wanted names of what has drifted, found haproxy-start-ctl1; these have: base-configure-ctl1, haproxy-configure-ctl1, nova-start-ctl1",
  });
});

test("whatever has drifted, a plan has no more than that and what starts it, each once and in the state's order", (t) => {
  const kinds = ["file", "directory", "state", "health", "error", "answer"] as const;
  const some = fc.array(
    fc.tuple(fc.constantFrom(...STEPS.map(({ name }) => name)), fc.constantFrom(...kinds)),
  );
  fc.assert(
    fc.property(some, (pairs) => {
      const found = pairs.map(([name, kind]) => finding(name, kind));
      const plan = planOf(found);
      const drifted = new Set(pairs.map(([name]) => name));
      const order = STEPS.map(({ name }) => name).filter((name) =>
        names(plan.steps).includes(name),
      );
      t.deepEqual(names(plan.steps), order);
      for (const name of order)
        t.true(drifted.has(name) || drifted.has(name.replace("-start-", "-install-")));
      t.true(plan.left.every((name) => drifted.has(name) && !order.includes(name)));
      t.is(
        isSettled(found),
        found.some(({ kind }) => kind !== "health" && kind !== "error"),
      );
    }),
  );
});

test("an edited file is told in lines, and a wrong mode as it is", (t) => {
  t.is(summary(EDITED), "/etc/haproxy/haproxy.cfg was edited (+1 -2 lines)");
  t.is(summary(finding("a-start-b", "file", "mode 0666 uid 0 gid 0")), "w: mode 0666 uid 0 gid 0");
});

// ---- What the engine would do -----------------------------------------------------------------------------------

const digest = (...steps: NonNullable<Digest["steps"]>): Digest => ({ steps });
const CONFIGURE = STATE[2]!;

test("the engine's plan has to be the repair's: these steps, as they were applied last, and nothing else", (t) => {
  const plan = planOf([finding("haproxy-configure-ctl1", "file", "missing")]);
  const replaced = { op: "replace", urn: CONFIGURE.urn };
  const as = (stdin: unknown): Digest => digest({ ...replaced, newState: { inputs: { stdin } } });
  t.is(previewProblem(as(CONFIGURE.inputs?.stdin), STATE, plan), undefined);
  t.is(previewProblem(as("[secret]"), STATE, plan), undefined);
  t.is(previewProblem(digest({ ...replaced, op: "same", urn: "other" }), STATE, plan), undefined);
  t.regex(
    previewProblem(as("another"), STATE, plan)!,
    /^haproxy-configure-ctl1 is planned otherwise than it was applied last/,
  );
  t.regex(
    previewProblem(digest({ op: "delete", urn: STATE[0]!.urn }), STATE, plan)!,
    /^the engine would also delete base-configure-ctl1; run `npm run up` first$/,
  );
});

// ---- The cloud's API --------------------------------------------------------------------------------------------

const ENDPOINT: StateResource = {
  ...cloudResource("registration-endpoint-nova-public"),
  inputs: { url: "http://10.0.0.1:8774", password: secret("p4ss"), interface: "public" },
};

test("what somebody changed in the cloud is drift, and what the configuration wants otherwise is not", (t) => {
  const changed = (key: string, found: unknown, wanted: unknown): Digest =>
    digest({
      ...{ op: "update", urn: ENDPOINT.urn, diffReasons: [key] },
      oldState: { inputs: { ...ENDPOINT.inputs, [key]: found } },
      newState: { inputs: { ...ENDPOINT.inputs, [key]: wanted } },
    });
  t.deepEqual(findingsInCloud(changed("url", "http://evil", "http://10.0.0.1:8774"), [ENDPOINT]), [
    {
      ...{
        host: "cloud",
        step: "registration-endpoint-nova-public",
        kind: "resource",
        what: "url",
      },
      found: 'found "http://evil", wanted "http://10.0.0.1:8774"',
    },
  ]);
  t.deepEqual(
    findingsInCloud(changed("url", "http://10.0.0.1:8774", "http://new"), [ENDPOINT]),
    [],
  );
  const password = findingsInCloud(changed("password", "[secret]", "[secret]"), [ENDPOINT]);
  t.is(password.length, 1);
  t.false(JSON.stringify(password).includes("p4ss"));
});

test("what is gone from the cloud is drift, once, and what is as it was is none", (t) => {
  const { urn: at } = ENDPOINT;
  t.deepEqual(
    findingsInCloud(digest({ op: "refresh", urn: at }, { op: "same", urn: at }), [ENDPOINT]),
    [],
  );
  t.like(
    findingsInCloud(digest({ op: "refresh", urn: at }, { op: "create", urn: at }), [ENDPOINT]),
    {
      0: { what: "EndpointV3", found: "it is gone", anew: true },
      length: 1,
    },
  );
});
