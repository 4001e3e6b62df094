import * as fs from "node:fs";
import * as path from "node:path";
import test, { type ExecutionContext } from "ava";
import { LIBRARY, Room, step, type Outcome, type StepDocument } from "./support/runner";

// The shell functions that every step's script uses, scripts/lib/lib.sh, through the runner. Where they need a cluster or
// a service manager, a double stands in: a small program of the same name that keeps its state in files. What the real
// ones do is shown by checkers.test.ts and by the lab.

interface Result {
  readonly status: number | null;
  readonly said: string;
}

/** Tests of this file run one after the other: some measure time. */
const serial = test.serial;

function room(t: ExecutionContext): Room {
  const made = new Room();
  t.teardown(() => {
    made.remove();
  });
  return made;
}

function said({ status, stdout, stderr }: Outcome): Result {
  return { status, said: (stdout + stderr).trimEnd() };
}

const fine = (line: string): Result => ({ status: 0, said: line });

// ---- The cluster's lock -----------------------------------------------------------------------------------------

/** Pacemaker's cibadmin as far as the lock needs it: an entry is a file, which one caller can make and no second. */
const CIBADMIN_DOUBLE = (folder: string): string => `
[[ ! -e ${folder}/down ]] || { echo "connection refused" >&2; exit 102; }
args="$*"
case $args in
*--query*--xpath*)
  name=\${args#*@id=\\'} && name=\${name%-holder*}
  [[ -e ${folder}/$name ]] || exit 105
  cat "${folder}/$name"
  ;;
*--query*) echo '<cib/>' ;;
*--create*)
  name=\${args#*cluster_property_set id=\\"} && name=\${name%%\\"*}
  set -o noclobber
  { echo "$args" >"${folder}/$name"; } 2>/dev/null || exit 108
  ;;
*--delete*)
  name=\${args#*cluster_property_set id=\\"} && name=\${name%%\\"*}
  rm -f "${folder}/$name"
  ;;
esac
`;

/** A host of a cluster; hosts of one cluster share its folder. */
function clusterHost(t: ExecutionContext, cluster?: Room): Room {
  const r = room(t);
  const folder = (cluster ?? r).at("cib");
  fs.mkdirSync(folder, { recursive: true });
  r.program("cibadmin", CIBADMIN_DOUBLE(folder));
  return r;
}

const on = (r: Room, host: string, script: string, content: StepDocument = {}): StepDocument =>
  step({ ...content, step: { host, ...content.step }, script: r.usePrograms + script });

/** As lib.sh writes it into the cluster's configuration. */
function leaveLock(cluster: Room, name: string, host: string, until: number): void {
  const id = `openstack-ha-lock-${name}`;
  cluster.write(
    `cib/${id}`,
    `<cluster_property_set id="${id}"><nvpair id="${id}-holder" name="${id}" value="${host} ${until}"/></cluster_property_set>`,
  );
}

const now = (): number => Math.floor(Date.now() / 1000);

serial("under the lock a command runs, and the lock is given back", async (t) => {
  const r = clusterHost(t);
  const script = `work() { ls ${r.at("cib")} >${r.at("host/during")}; }\nalone_in_cluster demo work\nchanged after\n`;
  t.deepEqual(said(await r.apply(on(r, "ctl1", script))), fine("changed: after"));
  t.is(r.read("host/during"), "openstack-ha-lock-demo\n");
  t.deepEqual(fs.readdirSync(r.at("cib")), []);
});

serial("hosts that want the lock at once get it one after the other", async (t) => {
  const cluster = clusterHost(t);
  const hosts = [cluster, clusterHost(t, cluster), clusterHost(t, cluster)];
  const order = cluster.at("host/order");
  const outcomes = await Promise.all(
    hosts.map((r, i) =>
      r.apply(
        on(
          r,
          `ctl${i + 1}`,
          `work() { echo "$STEP_HOST in" >>${order}; sleep 0.4; echo "$STEP_HOST out" >>${order}; }
alone_in_cluster demo work
`,
        ),
      ),
    ),
  );
  t.deepEqual(outcomes.map(said), [fine("unchanged"), fine("unchanged"), fine("unchanged")]);
  const events = cluster.read("host/order").trim().split("\n");
  t.is(events.length, 6);
  for (let i = 0; i < events.length; i += 2) {
    t.is(events[i]!.replace(" in", ""), events[i + 1]!.replace(" out", ""), events.join());
  }
});

serial("locks of different names do not wait for each other", async (t) => {
  const cluster = clusterHost(t);
  leaveLock(cluster, "other", "ctl9", now() + 1000);
  t.deepEqual(
    said(await cluster.apply(on(cluster, "ctl1", "alone_in_cluster demo changed done\n"))),
    fine("changed: done"),
  );
});

for (const [what, work, line] of [
  ["fails with its own words", "fail 'wanted a, found b; do c'", "wanted a, found b; do c"],
  ["fails unforeseen", "echo trouble; false; echo not reached", "trouble"],
] as const) {
  serial(`a command that ${what} gives the lock back, and fails the step`, async (t) => {
    const r = clusterHost(t);
    const script = `work() { ${work}; }\nalone_in_cluster demo work\ntouch ${r.at("host/reached")}\n`;
    t.deepEqual(said(await r.apply(on(r, "ctl1", script))), {
      status: 1,
      said: `demo configure on ctl1: ${line}; log: ${r.log}/demo-configure.log`,
    });
    t.deepEqual(fs.readdirSync(r.at("cib")), []);
    t.false(fs.existsSync(r.at("host/reached")));
  });
}

serial("a lock that an earlier run of the same host left is taken over at once", async (t) => {
  const r = clusterHost(t);
  leaveLock(r, "demo", "ctl1", now() + 1000);
  const outcome = await r.apply(on(r, "ctl1", "alone_in_cluster demo changed done\n"));
  t.deepEqual(said(outcome), fine("changed: done"));
  t.true(outcome.milliseconds < 5000);
});

serial("a lock whose holder died is taken over when it has expired, and not before", async (t) => {
  const r = clusterHost(t);
  const expiry = now() + 3;
  leaveLock(r, "demo", "ctl2", expiry);
  const outcome = await r.apply(
    on(r, "ctl1", "alone_in_cluster demo eval 'changed \"at $(date +%s)\"'\n"),
  );
  const { status, said: line } = said(outcome);
  t.is(status, 0, line);
  t.true(Number(/at (\d+)/.exec(line)![1]) > expiry, line);
});

serial("a lock that stays held is an error that names the holder", async (t) => {
  const r = clusterHost(t);
  leaveLock(r, "demo", "ctl2", now() + 1000);
  // It is waited for longer than it can be held; here for two seconds.
  const script = "LOCK_SECONDS=-28\nalone_in_cluster demo changed done\n";
  const { status, said: line } = said(await r.apply(on(r, "ctl1", script)));
  t.is(status, 1);
  t.regex(
    line,
    /: wanted the cluster lock demo, found it held by ctl2; wait for the step there to end; log: /,
  );
  t.deepEqual(fs.readdirSync(r.at("cib")), ["openstack-ha-lock-demo"], "it stays its holder's");
});

serial("a step whose time ends while it waits for the lock says who holds it", async (t) => {
  const r = clusterHost(t);
  leaveLock(r, "demo", "ctl2", now() + 1000);
  const document = on(r, "ctl1", "alone_in_cluster demo changed done\n", { step: { timeout: 1 } });
  const { status, said: line } = said(await r.apply(document));
  t.is(status, 1);
  t.regex(
    line,
    /not done after 1 s \(wanted the cluster lock demo, found it held by ctl2; wait for the step there to end\)/,
  );
});

serial("a lock that was waited for is no error of what is done under it", async (t) => {
  const r = clusterHost(t);
  leaveLock(r, "demo", "ctl2", now() + 1);
  const script = "alone_in_cluster demo changed done\necho it broke\nfalse\n";
  const { status, said: line } = said(await r.apply(on(r, "ctl1", script)));
  t.is(status, 1);
  t.regex(line, /: it broke; log: /);
});

serial("without a cluster there is no lock, and no work", async (t) => {
  const r = clusterHost(t);
  r.write("cib/down", "");
  const script = `alone_in_cluster demo touch ${r.at("host/ran")}\n`;
  const { status, said: line } = said(await r.apply(on(r, "ctl1", script)));
  t.is(status, 1);
  t.regex(
    line,
    /: wanted Pacemaker to lend the lock demo, found no cluster on ctl1; start pacemaker there, /,
  );
  t.false(fs.existsSync(r.at("host/ran")));
});

serial("a name of any characters makes an id that XML takes", async (t) => {
  const r = clusterHost(t);
  const script = `work() { ls ${r.at("cib")} >${r.at("host/during")}; }\nalone_in_cluster 'rabbitmq-server.service/x y' work\n`;
  t.deepEqual(said(await r.apply(on(r, "ctl1", script))), fine("unchanged"));
  t.is(r.read("host/during"), "openstack-ha-lock-rabbitmq-server-service-x-y\n");
});

// ---- Units ------------------------------------------------------------------------------------------------------

/** The service manager as far as a unit's life needs it. A unit named in `broken` does not start. */
function serviceManager(r: Room): Room {
  const state = r.at("units");
  fs.mkdirSync(state, { recursive: true });
  r.program(
    "systemctl",
    `args=()
for arg; do [[ $arg == --* ]] || args+=("$arg"); done
verb=\${args[0]} unit=\${args[1]-}
case $verb in
is-enabled) [[ -e ${state}/$unit.enabled ]]; exit ;;
is-active) [[ -e ${state}/$unit.active ]]; exit ;;
esac
echo "$verb \${unit}" | sed 's/ $//' >>${r.at("host/calls")}
case $verb in
enable) touch ${state}/$unit.enabled ;;
disable) rm ${state}/$unit.enabled ;;
start | restart)
  [[ ! -e ${state}/$unit.broken ]] || exit 1
  touch ${state}/$unit.active
  ;;
esac
`,
  );
  r.program("journalctl", "echo 'bind: address already in use'\n");
  return r;
}

function calls(r: Room): string[] {
  const text = fs.existsSync(r.at("host/calls")) ? r.read("host/calls") : "";
  fs.rmSync(r.at("host/calls"), { force: true });
  return text.split("\n").filter(Boolean);
}

const UNIT = (r: Room, more = ""): StepDocument =>
  on(r, "ctl1", `${more}unit_running demo.service ${r.at("host/demo.conf")}\n`);

serial("a unit's first start needs no cluster; once it runs, nothing is done", async (t) => {
  const r = serviceManager(room(t));
  r.write("host/demo.conf", "a\n");
  t.deepEqual(said(await r.check(UNIT(r))).status, 3);
  t.deepEqual(calls(r), []);
  t.deepEqual(
    said(await r.apply(UNIT(r))),
    fine("changed: enabled demo.service, started demo.service"),
  );
  t.deepEqual(calls(r), [
    "enable demo.service",
    "daemon-reload",
    "reset-failed demo.service",
    "start demo.service",
  ]);
  t.deepEqual(said(await r.apply(UNIT(r))), fine("unchanged"));
  t.is((await r.check(UNIT(r))).status, 0);
  t.deepEqual(calls(r), []);
});

serial(
  "a unit is restarted if a file that it reads has changed, alone in the cluster, between healthy and ready",
  async (t) => {
    const r = serviceManager(clusterHost(t));
    r.write("host/demo.conf", "a\n");
    await r.apply(UNIT(r));
    calls(r);
    r.write("host/demo.conf", "b\n");
    const hooks = `healthy() { echo healthy >>${r.at("host/calls")}; ls ${r.at("cib")} >>${r.at("host/calls")}; }
ready() { echo ready >>${r.at("host/calls")}; }
`;
    const { differences } = JSON.parse((await r.check(UNIT(r, hooks))).stdout) as {
      differences: { found: string }[];
    };
    t.deepEqual(
      differences.map(({ found }) => found),
      ["restarted demo.service"],
    );
    t.deepEqual(calls(r), [], "a check takes no lock and restarts nothing");

    t.deepEqual(said(await r.apply(UNIT(r, hooks))), fine("changed: restarted demo.service"));
    t.deepEqual(calls(r), [
      "healthy",
      "openstack-ha-lock-demo-service",
      "daemon-reload",
      "restart demo.service",
      "ready",
    ]);
    t.deepEqual(said(await r.apply(UNIT(r, hooks))), fine("unchanged"));
    t.deepEqual(calls(r), []);
  },
);

serial("a unit whose file vanished is restarted", async (t) => {
  const r = serviceManager(clusterHost(t));
  r.write("host/demo.conf", "a\n");
  await r.apply(UNIT(r));
  fs.rmSync(r.at("host/demo.conf"));
  t.deepEqual(said(await r.apply(UNIT(r))), fine("changed: restarted demo.service"));
});

serial("a unit is not restarted while the other hosts are not healthy", async (t) => {
  const r = serviceManager(clusterHost(t));
  r.write("host/demo.conf", "a\n");
  await r.apply(UNIT(r));
  calls(r);
  r.write("host/demo.conf", "b\n");
  // Sixty seconds are long for a test.
  const hooks = `healthy() { echo 'ctl2 is down'; return 1; }
eval "$(declare -f wait_for | sed '1s/wait_for/patiently/')"
wait_for() { shift; patiently 1 "$@"; }
`;
  const { status, said: line } = said(await r.apply(UNIT(r, hooks)));
  t.is(status, 1);
  t.regex(
    line,
    /wanted demo healthy on the other hosts before demo\.service restarts here .*, found: ctl2 is down/,
  );
  t.deepEqual(calls(r), []);
  t.deepEqual(fs.readdirSync(r.at("cib")), [], "the lock is given back");
  t.deepEqual(
    said(await r.apply(UNIT(r))),
    fine("changed: restarted demo.service"),
    "it is tried again",
  );
});

serial("a unit that does not start is reported with its last word, and tried again", async (t) => {
  const r = serviceManager(room(t));
  r.write("host/demo.conf", "a\n");
  r.write("units/demo.service.broken", "");
  const { status, said: line } = said(await r.apply(UNIT(r)));
  t.is(status, 1);
  t.regex(line, /: wanted demo\.service started, found: bind: address already in use; log: /);
  fs.rmSync(r.at("units/demo.service.broken"));
  t.deepEqual(said(await r.apply(UNIT(r))), fine("changed: started demo.service"));
});

serial("a unit that was stopped is started, not restarted", async (t) => {
  const r = serviceManager(room(t));
  r.write("host/demo.conf", "a\n");
  await r.apply(UNIT(r));
  fs.rmSync(r.at("units/demo.service.active"));
  t.deepEqual(said(await r.apply(UNIT(r))), fine("changed: started demo.service"));
});

// ---- Packages ---------------------------------------------------------------------------------------------------

serial("missing packages are seen in a check, and nothing is installed", async (t) => {
  const r = serviceManager(room(t));
  r.program(
    "dpkg-query",
    'case ${*: -1} in old) printf "rc " ;; here) printf "ii " ;; *) exit 1 ;; esac',
  );
  r.program("apt-get", `touch ${r.at("host/apt")}`);
  const script = fs.readFileSync(path.join(LIBRARY, "install-packages.sh"), "utf8");
  const document = (packages: string[]): StepDocument =>
    on(r, "ctl1", script, { params: { packages, units: [], masked: [], disabled: [] } });
  const { differences } = JSON.parse((await r.check(document(["here", "old", "none"]))).stdout) as {
    differences: { found: string }[];
  };
  t.deepEqual(
    differences.map(({ found }) => found),
    ["installed 2 packages (old none...)"],
  );
  t.false(fs.existsSync(r.at("host/apt")));
  t.deepEqual(said(await r.apply(document(["here"]))), fine("unchanged"));
});

serial(
  "units that are not to start by themselves are disabled, and masked ones masked",
  async (t) => {
    const r = serviceManager(room(t));
    r.program("dpkg-query", 'printf "ii "');
    r.program("readlink", `[[ -e ${r.at("units")}/masked ]] && echo /dev/null`);
    r.write("units/on.service.enabled", "");
    const script = fs.readFileSync(path.join(LIBRARY, "install-packages.sh"), "utf8");
    const params = {
      packages: ["here"],
      // Debian enabled it at its installation, which was not now.
      units: ["on.service"],
      masked: ["never.service"],
      disabled: ["off.service"],
    };
    r.write("units/off.service.enabled", "");
    t.deepEqual(
      said(await r.apply(on(r, "ctl1", script, { params }))),
      fine("changed: masked never.service, disabled off.service"),
    );
    t.deepEqual(calls(r), ["mask never.service", "disable off.service"]);
  },
);

// ---- Once for a cluster -----------------------------------------------------------------------------------------

/** The database as far as the record of bootstraps needs it. */
function database(r: Room): Room {
  r.program(
    "mariadb",
    `sql=$(cat)
case $sql in
SELECT*) cat ${r.at("host/record")} 2>/dev/null ;;
*REPLACE*) sed -n "s/.*REPLACE.*, '\\(.*\\)')/\\1/p" <<<"$sql" >${r.at("host/record")} ;;
esac
true
`,
  );
  return r;
}

serial(
  "what is done once for the cluster is done again when its fingerprint changes, or when it failed",
  async (t) => {
    const r = database(clusterHost(t));
    const document = (fingerprint: string, work: string): StepDocument =>
      on(r, "ctl1", `work() { ${work}; }\nbootstrapped '${fingerprint}' work\n`);
    t.is((await r.check(document("a", "true"))).status, 3);
    t.is(said(await r.apply(document("a", "false"))).status, 1);
    t.deepEqual(said(await r.apply(document("a", "true"))), fine("changed: bootstrapped demo"));
    t.deepEqual(said(await r.apply(document("a", "false"))), fine("unchanged"));
    t.is((await r.check(document("a", "false"))).status, 0);
    t.deepEqual(said(await r.apply(document("b", "true"))), fine("changed: bootstrapped demo"));
    t.deepEqual(fs.readdirSync(r.at("cib")), []);
  },
);
