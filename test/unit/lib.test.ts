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

/** What a check found. */
function differences({ stdout }: Outcome): string[] {
  const checked = JSON.parse(stdout) as { differences: { found: string }[] };
  return checked.differences.map(({ found }) => found);
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
function leaveLock(cluster: Room, name: string, holder: string, until: number): void {
  const id = `openstack-ha-lock-${name}`;
  cluster.write(
    `cib/${id}`,
    `<cluster_property_set id="${id}"><nvpair id="${id}-holder" name="${id}" value="${holder} ${until}"/></cluster_property_set>`,
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

/** Hosts that run `work` under a lock at once: each is alone with it. */
async function takeTurns(
  t: ExecutionContext,
  hosts: readonly Room[],
  lock: string,
  role: string,
): Promise<void> {
  const order = hosts[0]!.at("host/order");
  const work = `work() { echo "$STEP_HOST in" >>${order}; sleep 0.4; echo "$STEP_HOST out" >>${order}; }\n`;
  const outcomes = await Promise.all(
    hosts.map((r, i) => r.apply(on(r, `${role}${i + 1}`, `${work}${lock} demo work\n`))),
  );
  t.deepEqual(outcomes.map(said), [fine("unchanged"), fine("unchanged"), fine("unchanged")]);
  const events = hosts[0]!.read("host/order").trim().split("\n");
  t.is(events.length, 6);
  for (let i = 0; i < events.length; i += 2) {
    t.is(events[i]!.replace(" in", ""), events[i + 1]!.replace(" out", ""), events.join());
  }
}

serial("hosts that want the lock at once get it one after the other", async (t) => {
  const cluster = clusterHost(t);
  const hosts = [cluster, clusterHost(t, cluster), clusterHost(t, cluster)];
  await takeTurns(t, hosts, "alone_in_cluster", "ctl");
});

serial("locks of different names do not wait for each other", async (t) => {
  const cluster = clusterHost(t);
  leaveLock(cluster, "other", "demo on ctl9", now() + 1000);
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
  leaveLock(r, "demo", "demo on ctl1", now() + 1000);
  const outcome = await r.apply(on(r, "ctl1", "alone_in_cluster demo changed done\n"));
  t.deepEqual(said(outcome), fine("changed: done"));
  // It would be waited for as long as it may be held, 420 s, on however busy a machine.
  t.true(outcome.milliseconds < 120_000);
});

serial("a lock that another step of the same host holds is waited for", async (t) => {
  const r = clusterHost(t);
  const until = now() + 3;
  leaveLock(r, "demo", "other on ctl1", until);
  const { status, said: line } = said(
    await r.apply(on(r, "ctl1", "alone_in_cluster demo eval 'changed \"at $(date +%s)\"'\n")),
  );
  t.is(status, 0, line);
  t.true(Number(/at (\d+)/.exec(line)![1]) > until, line);
});

serial("whoever waits for the lock while others take turns waits on", async (t) => {
  const r = clusterHost(t);
  leaveLock(r, "demo", "demo on ctl2", now() + 1000);
  // Two turns of four seconds, where one may last for six.
  const lock = r.at("cib/openstack-ha-lock-demo");
  const others = `{ sleep 4; sed -i 's/ctl2/ctl3/' ${lock}; sleep 4; rm ${lock}; } &\n`;
  const script = `${others}LOCK_SECONDS=-24\nalone_in_cluster demo changed done\n`;
  t.deepEqual(said(await r.apply(on(r, "ctl1", script))), fine("changed: done"));
});

serial("a lock whose holder died is taken over when it has expired, and not before", async (t) => {
  const r = clusterHost(t);
  const expiry = now() + 3;
  leaveLock(r, "demo", "demo on ctl2", expiry);
  const outcome = await r.apply(
    on(r, "ctl1", "alone_in_cluster demo eval 'changed \"at $(date +%s)\"'\n"),
  );
  const { status, said: line } = said(outcome);
  t.is(status, 0, line);
  t.true(Number(/at (\d+)/.exec(line)![1]) > expiry, line);
});

serial("a lock that stays held is an error that names the holder", async (t) => {
  const r = clusterHost(t);
  leaveLock(r, "demo", "demo on ctl2", now() + 1000);
  // It is waited for longer than it can be held; here for two seconds.
  const script = "LOCK_SECONDS=-28\nalone_in_cluster demo changed done\n";
  const { status, said: line } = said(await r.apply(on(r, "ctl1", script)));
  t.is(status, 1);
  t.regex(
    line,
    /: wanted the cluster lock demo, found it held by demo on ctl2; wait for the step there to end; log: /,
  );
  t.deepEqual(fs.readdirSync(r.at("cib")), ["openstack-ha-lock-demo"], "it stays its holder's");
});

serial("a step whose time ends while it waits for the lock says who holds it", async (t) => {
  const r = clusterHost(t);
  leaveLock(r, "demo", "demo on ctl2", now() + 1000);
  const document = on(r, "ctl1", "alone_in_cluster demo changed done\n", { step: { timeout: 1 } });
  const { status, said: line } = said(await r.apply(document));
  t.is(status, 1);
  t.regex(
    line,
    /not done after 1 s \(wanted the cluster lock demo, found it held by demo on ctl2; wait for the step there to end\)/,
  );
});

serial("a lock that was waited for is no error of what is done under it", async (t) => {
  const r = clusterHost(t);
  leaveLock(r, "demo", "demo on ctl2", now() + 1);
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

// ---- The store's lock -------------------------------------------------------------------------------------------

/** Ceph's tools as far as the lock needs them: a lock is a file, which one caller can make and no second. */
const CEPH_DOUBLE = (folder: string): string => `
[[ ! -e ${folder}/down ]] || exit 1
[[ -e ${folder}/pools ]] || { echo '[]'; exit; }
echo '[{"pool_id":3,"pool_name":"young"},{"pool_id":2,"pool_name":"old"}]'
`;
const RADOS_DOUBLE = (folder: string): string => `
[[ "$1 $2 $3" == "--pool old lock" && $5 == "$6" ]] || exit 22
file=${folder}/$5
case $4 in
get)
  [[ "$7 $9 \${10}" == "--lock-cookie --lock-duration \${10}" && \${10} -gt 0 ]] || exit 22
  set -o noclobber
  { echo "$8" >"$file"; } 2>/dev/null || exit 16
  ;;
info)
  [[ -e $file ]] || exit 2
  jq --null-input --arg cookie "$(<"$file")" '{lockers: [{name: "client.7", cookie: $cookie}]}'
  ;;
break)
  [[ "$7 $8 $9" == "client.7 --lock-cookie $(<"$file")" ]] || exit 2
  rm "$file"
  ;;
esac
`;

function storeHost(t: ExecutionContext, store?: Room): Room {
  const r = room(t);
  const folder = (store ?? r).at("store");
  fs.mkdirSync(folder, { recursive: true });
  if (!store) r.write("store/pools", "");
  r.program("ceph", CEPH_DOUBLE(folder));
  r.program("rados", RADOS_DOUBLE(folder));
  return r;
}

serial("hosts of the store that want its lock at once get it one after the other", async (t) => {
  const store = storeHost(t);
  const hosts = [store, storeHost(t, store), storeHost(t, store)];
  await takeTurns(t, hosts, "alone_in_store", "sto");
  t.deepEqual(fs.readdirSync(store.at("store")), ["pools"]);
});

serial(
  "the store's lock of an earlier run of the step is its own, and another's is waited for",
  async (t) => {
    const r = storeHost(t);
    r.write("store/openstack-ha-lock-demo", `demo on sto1 ${now() + 1000}\n`);
    const script = "LOCK_SECONDS=-28\nalone_in_store demo changed done\n";
    t.deepEqual(
      said(await r.apply(on(r, "sto1", script.replace(/.*\n/, "")))),
      fine("changed: done"),
    );
    r.write("store/openstack-ha-lock-demo", `demo on sto2 ${now() + 1000}\n`);
    t.regex(
      said(await r.apply(on(r, "sto1", script))).said,
      /: wanted the store lock demo, found it held by demo on sto2; wait for the step there to end; log: /,
    );
  },
);

serial("a store without pools lends nothing, and nothing is asked of it", async (t) => {
  const r = storeHost(t);
  fs.rmSync(r.at("store/pools"));
  const script = `work() { ls ${r.at("store")} >${r.at("host/during")}; }\nalone_in_store demo work\n`;
  t.deepEqual(said(await r.apply(on(r, "sto1", script))), fine("unchanged"));
  t.is(r.read("host/during"), "");
});

serial("a restart of a host of the store that is a controller too takes both locks", async (t) => {
  const r = storeHost(t);
  fs.mkdirSync(r.at("cib"));
  r.program("cibadmin", CIBADMIN_DOUBLE(r.at("cib")));
  const turns = /^in_turn\(\) .*$/m.exec(fs.readFileSync("scripts/ceph/start.sh", "utf8"))![0];
  const script = `${turns}\nwork() { ls ${r.at("cib")} ${r.at("store")} >${r.at("host/during")}; }\nin_turn work\n`;
  t.deepEqual(said(await r.apply(on(r, "ctl1", script))), fine("unchanged"));
  t.is(r.read("host/during").match(/openstack-ha-lock-restart/g)?.length, 2);
  t.deepEqual(fs.readdirSync(r.at("cib")), []);
  t.deepEqual(fs.readdirSync(r.at("store")), ["pools"]);
});

// ---- Units ------------------------------------------------------------------------------------------------------

/**
 * The service manager as far as a unit's life needs it. A unit named in `broken` does not start; one in `late` fails once
 * and is then up by itself; the file of one in `edited` was changed since it was read; one in `reloads` takes new
 * configuration by a signal; one in `since` came to its state at that time.
 */
function serviceManager(r: Room): Room {
  const state = r.at("units");
  fs.mkdirSync(state, { recursive: true });
  r.program(
    "systemctl",
    `args=() property= quiet=no
while (($#)); do
  case $1 in
  --property) property=$2 && shift ;;
  --quiet) quiet=yes ;;
  --*) ;;
  *) args+=("$1") ;;
  esac
  shift
done
verb=\${args[0]} units=("\${args[@]:1}") unit=\${args[1]-} status=0
case $verb in
is-enabled)
  [[ ! -e ${state}/$unit.masked ]] || { echo masked; exit 1; }
  [[ -e ${state}/$unit.enabled ]]
  exit ;;
is-active)
  if [[ -e ${state}/$unit.late && -e ${state}/$unit.failed ]]; then
    rm ${state}/$unit.late && touch ${state}/$unit.active
  fi
  word=inactive
  [[ ! -e ${state}/$unit.active ]] || word=active
  [[ $quiet == yes ]] || echo $word
  [[ $word == active ]]
  exit ;;
show)
  case $property in
  StateChangeTimestamp) [[ ! -e ${state}/$unit.since ]] || echo "@$(<${state}/$unit.since)" ;;
  NeedDaemonReload) [[ -e ${state}/$unit.edited ]] && echo yes || echo no ;;
  ExecReload) [[ ! -e ${state}/$unit.reloads ]] || echo '{ path=/usr/bin/touch ; argv[]=/usr/bin/touch ${r.at("host/demo.reload")} ; }' ;;
  ExecStart) [[ ! -e ${state}/$unit.reloads ]] || echo '{ path=/usr/bin/uwsgi ; argv[]=/usr/bin/uwsgi --http-socket 10.77.0.11:80 --ini ${r.at("host/uwsgi.ini")} ; ignore_errors=no ; }' ;;
  MainPID) echo 4711 ;;
  esac
  exit ;;
esac
# Whether HAProxy is told to send nobody.
[[ ! -e ${r.at("host/demo.drain")} ]] || args+=("(drained)")
echo "\${args[*]}" >>${r.at("host/calls")}
for unit in "\${units[@]}"; do
  case $verb in
  enable) touch ${state}/$unit.enabled ;;
  disable) rm ${state}/$unit.enabled ;;
  unmask) rm ${state}/$unit.masked ;;
  start | restart)
    if [[ -e ${state}/$unit.broken || -e ${state}/$unit.late ]]; then
      rm -f ${state}/$unit.active
      touch ${state}/$unit.failed
      status=1
    else
      touch ${state}/$unit.active
    fi
    ;;
  esac
done
[[ $verb != daemon-reload ]] || rm -f ${state}/*.edited
exit $status
`,
  );
  r.program("journalctl", "echo 'bind: address already in use'\n");
  // Seconds that each worker of a unit has run.
  r.program("ps", `cat ${state}/ages 2>/dev/null || echo 0\n`);
  return r;
}

function calls(r: Room): string[] {
  const text = fs.existsSync(r.at("host/calls")) ? r.read("host/calls") : "";
  fs.rmSync(r.at("host/calls"), { force: true });
  return text.split("\n").filter(Boolean);
}

/** Sixty seconds are long for a test. */
const IMPATIENT = `eval "$(declare -f wait_for | sed '1s/wait_for/patiently/')"
wait_for() { shift; patiently 1 "$@"; }
`;

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
  t.deepEqual(calls(r), ["enable demo.service", "reset-failed demo.service", "start demo.service"]);
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
    const hooks = `${OFTEN}healthy() { echo healthy >>${r.at("host/calls")}; ls ${r.at("cib")} >>${r.at("host/calls")}; }
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
      "openstack-ha-lock-restart",
      "reset-failed demo.service",
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
  const hooks = `${OFTEN}healthy() { echo 'ctl2 is down'; return 1; }\n${IMPATIENT}`;
  const { status, said: line } = said(await r.apply(UNIT(r, hooks)));
  t.is(status, 1);
  t.regex(
    line,
    /wanted demo healthy on the other hosts before it restarts here .*, found: ctl2 is down/,
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
  const { status, said: line } = said(await r.apply(UNIT(r, IMPATIENT)));
  t.is(status, 1);
  t.regex(
    line,
    /: wanted demo\.service started within 1 s, found: demo\.service: bind: address already in use; log: /,
  );
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

serial(
  "the service manager reads units again when a file of one has changed, and only then",
  async (t) => {
    const r = serviceManager(room(t));
    r.write("host/demo.conf", "a\n");
    r.write("units/demo.service.edited", "");
    await r.apply(UNIT(r));
    t.deepEqual(calls(r), [
      "enable demo.service",
      "daemon-reload",
      "reset-failed demo.service",
      "start demo.service",
    ]);
  },
);

/** HAProxy asks often: a test has not the time for its usual pace. */
const OFTEN = "check_pace() { echo 10; }\n";

serial(
  "uWSGI's workers begin anew one after the other; all at once, and out of HAProxy before, for its own file; by a restart for its unit's",
  async (t) => {
    const r = serviceManager(clusterHost(t));
    const unit = (more = ""): StepDocument => UNIT(r, `${OFTEN}${more}`);
    const drained = (): boolean => fs.existsSync(r.at("host/demo.drain"));
    r.write("host/demo.conf", "a\n");
    r.write("host/uwsgi.ini", "processes = 2\n");
    r.write("units/demo.service.reloads", "");
    await r.apply(unit());
    calls(r);
    r.write("host/demo.conf", "b\n");
    t.deepEqual(said(await r.apply(unit())), fine("changed: restarted demo.service"));
    t.deepEqual(calls(r), ["reload demo.service"]);
    r.write("host/uwsgi.ini", "processes = 3\n");
    r.write("host/demo.conf", "b2\n");
    await r.apply(unit());
    t.deepEqual(calls(r), ["kill demo.service (drained)"]);
    t.false(drained());
    r.write("host/demo.conf", "b3\n");
    await r.apply(unit());
    t.deepEqual(calls(r), ["reload demo.service"]);
    // One that still has the former configuration.
    r.write("units/ages", "0\n900\n");
    r.write("host/demo.conf", "b4\n");
    t.regex(
      (await r.apply(unit(IMPATIENT))).stderr,
      /wanted the workers of demo\.service anew.*a worker of demo\.service is from before/,
    );
    calls(r);
    r.write("units/ages", "0\n");
    r.write("host/uwsgi.ini", "processes = 4\n");
    r.write("host/demo.conf", "c\n");
    r.write("units/demo.service.edited", "");
    // One that does not come back well is sent nobody, until it has.
    const { stderr } = await r.apply(unit(`${IMPATIENT}ready() { echo silent; return 1; }\n`));
    t.regex(stderr, /wanted demo ready after its restart within 1 s, found: silent/);
    t.deepEqual(calls(r), [
      "daemon-reload (drained)",
      "reset-failed demo.service (drained)",
      "restart demo.service (drained)",
    ]);
    t.true(drained());
    t.deepEqual(said(await r.apply(unit())), fine("changed: restarted demo.service"));
    t.false(drained());
    // Nor is it well when somebody has left it so.
    r.write("host/demo.drain", "");
    t.is((await r.check(unit())).status, 3);
    await r.apply(unit());
    t.false(drained());
    t.deepEqual(said(await r.apply(unit())), fine("unchanged"));
    fs.rmSync(r.at("units/demo.service.active"));
    r.write("host/demo.drain", "");
    await r.apply(unit());
    t.false(drained());
  },
);

serial("a server knows from HAProxy's configuration when it has been asked again", async (t) => {
  const r = room(t);
  const file = path.join(__dirname, "snapshots/development/hosts-alike/etc/haproxy/haproxy.cfg");
  const ports = [5000, 8778, 80, 4444, 0].map((port) => `$(check_pace ${port} ${file})`).join(" ");
  await r.apply(on(r, "ctl1", `echo "${ports}" >${r.at("host/paces")}\n`));
  t.is(r.read("host/paces"), "500 2000 10000 0 0\n");
});

/** Three units that read the same files. */
const UNITS = (r: Room, more = ""): StepDocument =>
  on(
    r,
    "ctl1",
    `${more}units_running a.service b.service c.service -- ${r.at("host/demo.conf")} ${r.at("host/more.conf")}\n`,
  );

serial("units that read the same files are enabled and started together", async (t) => {
  const r = serviceManager(room(t));
  r.write("host/demo.conf", "a\n");
  const { differences } = JSON.parse((await r.check(UNITS(r))).stdout) as {
    differences: { found: string }[];
  };
  t.deepEqual(
    differences.map(({ found }) => found),
    ["enabled a.service b.service c.service", "started a.service b.service c.service"],
  );
  t.deepEqual(calls(r), []);
  t.deepEqual(
    said(await r.apply(UNITS(r))),
    fine("changed: enabled a.service b.service c.service, started a.service b.service c.service"),
  );
  t.deepEqual(calls(r), [
    "enable a.service b.service c.service",
    "reset-failed a.service b.service c.service",
    "start a.service b.service c.service",
  ]);
  t.deepEqual(said(await r.apply(UNITS(r))), fine("unchanged"));
  t.deepEqual(calls(r), []);
});

serial("units that read the same files restart together, alone in the cluster", async (t) => {
  const r = serviceManager(clusterHost(t));
  r.write("host/demo.conf", "a\n");
  await r.apply(UNITS(r));
  calls(r);
  // A file that was not there is a change too.
  r.write("host/more.conf", "b\n");
  r.write("units/b.service.reloads", "");
  const hooks = `${OFTEN}healthy() { ls ${r.at("cib")} >>${r.at("host/calls")}; }
ready() { echo ready >>${r.at("host/calls")}; }
`;
  t.deepEqual(
    said(await r.apply(UNITS(r, hooks))),
    fine("changed: restarted a.service b.service c.service"),
  );
  t.deepEqual(calls(r), [
    "openstack-ha-lock-restart",
    "kill b.service (drained)",
    "reset-failed a.service c.service (drained)",
    "restart a.service c.service (drained)",
    "ready",
  ]);
  t.deepEqual(said(await r.apply(UNITS(r, hooks))), fine("unchanged"));
  t.deepEqual(calls(r), []);
});

serial("what is down starts before anything restarts, which may wait for it", async (t) => {
  const r = serviceManager(clusterHost(t));
  r.write("host/demo.conf", "a\n");
  await r.apply(UNITS(r));
  r.write("host/demo.conf", "b\n");
  fs.rmSync(r.at("units/c.service.active"));
  calls(r);
  const script = `healthy() { systemctl is-active c.service; }
units_up a.service c.service -- ${r.at("host/demo.conf")}
for unit in a b c; do units_running $unit.service -- ${r.at("host/demo.conf")}; done
`;
  t.deepEqual(
    said(await r.apply(on(r, "ctl1", script))),
    fine("changed: started c.service, restarted a.service, restarted b.service"),
  );
  t.deepEqual(
    calls(r).filter((call) => !call.startsWith("reset-failed")),
    ["start c.service", "restart a.service", "restart b.service"],
  );
  t.deepEqual(said(await r.apply(on(r, "ctl1", script))), fine("unchanged"));
});

serial(
  "of several units the one that is down is started, and the others are left alone",
  async (t) => {
    const r = serviceManager(room(t));
    r.write("host/demo.conf", "a\n");
    await r.apply(UNITS(r));
    calls(r);
    fs.rmSync(r.at("units/b.service.active"));
    fs.rmSync(r.at("units/c.service.enabled"));
    t.deepEqual(
      said(await r.apply(UNITS(r))),
      fine("changed: enabled c.service, started b.service"),
    );
    t.deepEqual(calls(r), ["enable c.service", "reset-failed b.service", "start b.service"]);
  },
);

serial("units of which one does not come back are restarted again by the next run", async (t) => {
  const r = serviceManager(clusterHost(t));
  r.write("host/demo.conf", "a\n");
  await r.apply(UNITS(r));
  r.write("host/demo.conf", "b\n");
  r.write("units/b.service.broken", "");
  const { status, said: line } = said(await r.apply(UNITS(r, IMPATIENT)));
  t.is(status, 1);
  t.regex(
    line,
    /: wanted a\.service b\.service c\.service restarted within 1 s, found: b\.service: bind: address already in use; log: /,
  );
  t.deepEqual(fs.readdirSync(r.at("cib")), [], "the lock is given back");
  calls(r);
  fs.rmSync(r.at("units/b.service.broken"));
  t.deepEqual(
    said(await r.apply(UNITS(r))),
    fine("changed: started b.service, restarted a.service c.service"),
  );
  t.deepEqual(said(await r.apply(UNITS(r))), fine("unchanged"));
});

serial("of units that start at once, one that first misses another is waited for", async (t) => {
  const r = serviceManager(room(t));
  r.write("host/demo.conf", "a\n");
  r.write("units/c.service.late", "");
  t.deepEqual(
    said(await r.apply(UNITS(r))),
    fine("changed: enabled a.service b.service c.service, started a.service b.service c.service"),
  );
});

serial("of units that start at once, the one that does not come up is named", async (t) => {
  const r = serviceManager(room(t));
  r.write("host/demo.conf", "a\n");
  r.write("units/b.service.broken", "");
  const { status, said: line } = said(await r.apply(UNITS(r, IMPATIENT)));
  t.is(status, 1);
  t.regex(line, /, found: b\.service: bind: address already in use; log: /);
});

serial("a unit that somebody has masked is unmasked, enabled and started", async (t) => {
  const r = serviceManager(room(t));
  r.write("host/demo.conf", "a\n");
  await r.apply(UNIT(r));
  calls(r);
  for (const name of ["demo.service.active", "demo.service.enabled"])
    fs.rmSync(r.at(`units/${name}`));
  r.write("units/demo.service.masked", "");
  t.deepEqual(differences(await r.check(UNIT(r))), [
    "unmasked demo.service",
    "enabled demo.service",
    "started demo.service",
  ]);
  t.deepEqual(calls(r), []);
  t.is(said(await r.apply(UNIT(r))).status, 0);
  t.deepEqual(calls(r).slice(0, 2), ["unmask demo.service", "enable demo.service"]);
  t.is((await r.check(UNIT(r))).status, 0);
});

serial(
  "a unit that somebody else started is restarted only if its files are younger than that start",
  async (t) => {
    const r = serviceManager(clusterHost(t));
    const conf = r.write("host/demo.conf", "a\n");
    await r.apply(UNIT(r));
    const at = (file: string, time: number): void => {
      fs.utimesSync(file, time, time);
    };
    const record = r.at("state/started/demo.service");
    // Written, started and noted at 1000; started by itself at 2000.
    at(conf, 1000);
    at(record, 1000);
    r.write("units/demo.service.since", "2000");
    t.deepEqual(differences(await r.check(UNIT(r))), []);
    // Edited, restarted by hand at 2000, put right at 3000.
    at(conf, 3000);
    t.deepEqual(differences(await r.check(UNIT(r))), ["restarted demo.service"]);
    t.deepEqual(said(await r.apply(UNIT(r))), fine("changed: restarted demo.service"));
    // Edited and put right, never used in between.
    at(record, 1000);
    r.write("units/demo.service.since", "1000");
    t.deepEqual(differences(await r.check(UNIT(r))), []);
  },
);

serial("units_active says which unit does not run", async (t) => {
  const r = serviceManager(room(t));
  r.write("units/a.service.active", "");
  const verify = (units: string): StepDocument =>
    on(r, "ctl1", `verify() { units_active ${units}; }\nverified 0\n`);
  t.deepEqual(said(await r.apply(verify("a.service"))), fine("unchanged"));
  t.regex(
    said(await r.apply(verify("a.service b.service"))).said,
    /: wanted demo healthy on ctl1 within 0 s, found: b\.service is inactive; log: /,
  );
});

serial(
  "a host outside of the cluster takes no lock: nobody else has what it restarts",
  async (t) => {
    const r = serviceManager(room(t));
    r.write("host/demo.conf", "a\n");
    await r.apply(UNIT(r));
    r.write("host/demo.conf", "b\n");
    t.deepEqual(said(await r.apply(UNIT(r))), fine("changed: restarted demo.service"));
  },
);

// ---- What a service is asked --------------------------------------------------------------------------------------

/** curl that answers with the code in the file `code`, or with nothing, and notes its arguments. */
function web(r: Room): Room {
  r.program(
    "curl",
    `printf '%s\\n' "$@" >>${r.at("host/arguments")}
[[ -e ${r.at("host/code")} ]] || { printf 000; exit 7; }
for ((i = 1; i <= $#; i++)); do
  next=$((i + 1))
  case \${!i} in
  --dump-header) printf 'HTTP/1.1 201\\r\\nX-Subject-Token: t0ken\\r\\n' >"\${!next}" ;;
  --data) cat >${r.at("host/body")} ;;
  --config) cat "\${!next}" >${r.at("host/config")} ;;
  esac
done
printf '%s' "$(<${r.at("host/code")})"
`,
  );
  return r;
}

const ASKED = (r: Room, question: string, more: StepDocument = {}): StepDocument =>
  on(r, "ctl1", `verify() { ${question}; }\nverified 0\n`, more);

serial("answers: 200 is well, and all else is said with its code and address", async (t) => {
  const r = web(room(t));
  const document = ASKED(r, "answers http://10.0.0.1:9292/healthcheck");
  r.write("host/code", "200");
  t.deepEqual(said(await r.apply(document)), fine("unchanged"));
  t.false(r.read("host/arguments").includes("--header"));
  for (const code of ["503", "301", "404"]) {
    r.write("host/code", code);
    t.regex(
      said(await r.apply(document)).said,
      new RegExp(
        `found: demo on ctl1 does not answer \\(HTTP ${code} from http://10.0.0.1:9292/healthcheck\\); log: `,
      ),
    );
  }
  fs.rmSync(r.at("host/code"));
  t.regex(
    said(await r.apply(document)).said,
    /found: demo on ctl1 does not answer \(HTTP 000 from /,
  );
});

serial("answers: a header is given as one word, and a wait has an end", async (t) => {
  const r = web(room(t));
  r.write("host/code", "200");
  await r.apply(ASKED(r, "answers http://10.0.0.1:80/ 'Host: 10.0.0.9'"));
  const given = r.read("host/arguments").split("\n");
  t.is(given[given.indexOf("--header") + 1], "Host: 10.0.0.9");
  t.true(Number(given[given.indexOf("--max-time") + 1]) > 0);
});

serial(
  "a token is asked for with the secret, and neither is in the arguments of a program",
  async (t) => {
    const r = web(room(t));
    await r.secrets({ nova: "p4ss-w0rd-of-nova" });
    const document = ASKED(
      r,
      "keystone_token http://10.0.0.1:5000/v3 nova nova service && api http://10.0.0.1:8774/ >/dev/null",
      { secrets: { nova: 1 } },
    );
    r.write("host/code", "201");
    t.deepEqual(said(await r.apply(document)), fine("unchanged"));
    t.deepEqual(JSON.parse(r.read("host/body")), {
      auth: {
        identity: {
          methods: ["password"],
          password: {
            user: { name: "nova", domain: { id: "default" }, password: "p4ss-w0rd-of-nova" },
          },
        },
        scope: { project: { name: "service", domain: { id: "default" } } },
      },
    });
    t.is(r.read("host/config"), 'header = "X-Auth-Token: t0ken"\n');
    t.true(r.read("host/arguments").includes("http://10.0.0.1:5000/v3/auth/tokens\n"));
    t.notRegex(r.read("host/arguments"), /t0ken|p4ss/);
    r.write("host/code", "401");
    t.regex(
      said(await r.apply(document)).said,
      /found: Keystone issues no token for nova \(HTTP 401 from http:\/\/10\.0\.0\.1:5000\/v3\); log: /,
    );
  },
);

/** The database as far as a query of ages needs it: what the file `rows` has. */
function ages(r: Room): Room {
  r.program(
    "mariadb",
    `printf '%s\\n' "$@" >${r.at("host/arguments")}
cat >${r.at("host/query")}
cat ${r.at("host/rows")} 2>/dev/null
`,
  );
  return r;
}

for (const [what, rows, line] of [
  ["both are young", "nova-conductor\t3\nnova-scheduler\t12\n", undefined],
  ["one is as old as it may be", "nova-conductor\t60\nnova-scheduler\t1\n", undefined],
  ["a clock is ahead", "nova-conductor\t-2\nnova-scheduler\t0\n", undefined],
  [
    "one of the same name is young",
    "nova-conductor\t900\nnova-conductor\t4\nnova-scheduler\t4\n",
    undefined,
  ],
  [
    "one is old",
    "nova-conductor\t3\nnova-scheduler\t61\n",
    "nova-scheduler on ctl1 was last seen 61 s ago",
  ],
  ["one is not there", "nova-conductor\t3\n", "nova-scheduler on ctl1 has not been seen yet"],
  [
    "one was never heard of",
    "nova-conductor\tNULL\nnova-scheduler\t1\n",
    "nova-conductor on ctl1 has not been seen yet",
  ],
  [
    "another's name begins alike",
    "nova-conductor-x\t3\nnova-scheduler\t1\n",
    "nova-conductor on ctl1 has not been seen yet",
  ],
  ["there is nothing", "", "nova-conductor on ctl1 has not been seen yet"],
  ["the database does not answer", undefined, "the database does not answer on ctl1"],
] as const) {
  serial(`seen_lately: ${what}`, async (t) => {
    const r = ages(room(t));
    if (rows !== undefined) r.write("host/rows", rows);
    const outcome = said(
      await r.apply(ASKED(r, "seen_lately nova 'SELECT it' 60 nova-conductor nova-scheduler")),
    );
    if (line === undefined) t.deepEqual(outcome, fine("unchanged"));
    else t.true(outcome.said.includes(`within 0 s, found: ${line}; log: `), outcome.said);
    t.is(r.read("host/query"), "SELECT it\n");
    t.true(r.read("host/arguments").includes("--database=nova\n"));
  });
}

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

/** Packages as far as versions need them: what is here, and what the package source has, are files. */
function packages(r: Room): Room {
  for (const folder of ["installed", "source"]) fs.mkdirSync(r.at(folder));
  r.program(
    "dpkg-query",
    `format=$3
shift 3
for name in "$@"; do
  [[ -e ${r.at("installed")}/$name ]] || exit 1
  version=$(<${r.at("installed")}/$name)
  case $format in
  *Status*) printf 'ii %s' "$version" ;;
  *Package*) echo "$name $version" ;;
  *) printf %s "$version" ;;
  esac
done
`,
  );
  r.program("dpkg", "[[ $1 == --compare-versions && $3 == lt && $2 < $4 ]]\n");
  r.program(
    "apt-get",
    `for name in "$@"; do
  [[ ! -e ${r.at("source")}/$name ]] || cp ${r.at("source")}/$name ${r.at("installed")}/$name
done
`,
  );
  return r;
}

const INSTALL = (r: Room, units: string[]): StepDocument => {
  const script = fs.readFileSync(path.join(LIBRARY, "install-packages.sh"), "utf8");
  return on(r, "ctl1", script, { params: { packages: ["demo"], units, masked: [], disabled: [] } });
};

serial(
  "a package that was replaced by an older one comes back, and what runs of it is started anew",
  async (t) => {
    const r = packages(serviceManager(room(t)));
    const document = INSTALL(r, ["demo.service"]);
    r.write("source/demo", "1.2");
    t.deepEqual(said(await r.apply(document)), fine("changed: installed 1 packages (demo...)"));
    r.write("units/demo.service.enabled", "");
    r.write("state/started/demo.service", "x");

    // A newer one is what somebody wanted, and is remembered.
    r.write("installed/demo", "1.3");
    t.is((await r.check(document)).status, 0);
    t.deepEqual(said(await r.apply(document)), fine("unchanged"));
    r.write("installed/demo", "1.1");
    t.deepEqual(differences(await r.check(document)), ["newer demo"]);
    t.regex(
      said(await r.apply(document)).said,
      /: wanted demo 1\.3 or newer, found that this host's package source has no newer one than 1\.2; log: /,
    );
    r.write("source/demo", "1.3");
    t.deepEqual(said(await r.apply(document)), fine("changed: newer demo"));
    t.true(fs.existsSync(r.at("units/demo.service.enabled")), "it stays enabled");
    t.false(fs.existsSync(r.at("state/started/demo.service")));
    t.is((await r.check(document)).status, 0);
  },
);

serial("a package that was removed comes back, and its unit stays enabled", async (t) => {
  const r = packages(serviceManager(room(t)));
  const document = INSTALL(r, ["demo.service", "new.service"]);
  r.write("source/demo", "1.2");
  r.write("units/demo.service.enabled", "");
  t.deepEqual(differences(await r.check(document)), ["installed 1 packages (demo...)"]);
  t.deepEqual(said(await r.apply(document)), fine("changed: installed 1 packages (demo...)"));
  t.deepEqual(calls(r), []);
});

// ---- Databases and their accounts -------------------------------------------------------------------------------

/**
 * The database as far as accounts need it: databases and what an account may enter are files, and it lets in who has the
 * password that the account was given last.
 */
function accounts(r: Room): Room {
  fs.mkdirSync(r.at("databases"), { recursive: true });
  r.program(
    "mariadb",
    `printf '%s\\n' "$@" >>${r.at("host/arguments")}
case $1 in
--defaults-file=*)
  login="$(sed -n 's/^user=//p' "\${1#*=}") $(sed -n 's/^password=//p' "\${1#*=}")"
  [[ -e ${r.at("databases")}/\${!#} ]] && grep -qxF "$login" "${r.at("databases")}/\${!#}"
  exit
  ;;
esac
sql=$(cat)
echo "$sql" >>${r.at("host/sql")}
sql=\${sql#"SET SESSION wsrep_sync_wait = 1; "}
case $sql in
"SELECT COUNT(*) FROM information_schema.schemata"*)
  name=\${sql##*= ?} && name=\${name%?}
  [[ -e ${r.at("databases")}/$name ]] && echo 1 || echo 0
  ;;
"CREATE DATABASE IF NOT EXISTS"*)
  name=\${sql#*\\\`} && touch "${r.at("databases")}/\${name%%\\\`*}"
  ;;
"CREATE USER"*)
  account=$(sed -n "s/.*ALTER USER '\\([^']*\\)'.*/\\1/p" <<<"$sql")
  password=$(sed -n "s/.*IDENTIFIED BY '\\([^']*\\)'.*/\\1/p" <<<"$sql")
  grep -o 'GRANT ALL ON \`[^\`]*' <<<"$sql" | sed 's/.*\`//' | while read -r name; do
    echo "$account $password" >"${r.at("databases")}/$name"
  done
  ;;
esac
`,
  );
  return r;
}

const DATABASES = (r: Room, names: string, version = 1): StepDocument =>
  on(r, "ctl1", `database_ready nova nova-db ${names}\n`, { secrets: { "nova-db": version } });

serial(
  "a service's databases and its one account are made, and are then as they are",
  async (t) => {
    const r = accounts(clusterHost(t));
    await r.secrets({ "nova-db": "p4ss-w0rd" });
    const names = "nova nova_api nova_cell0";
    const { differences } = JSON.parse((await r.check(DATABASES(r, names))).stdout) as {
      differences: { found: string }[];
    };
    t.deepEqual(
      differences.map(({ found }) => found),
      ["database nova", "database nova_api", "database nova_cell0", "account nova"],
    );
    t.deepEqual(fs.readdirSync(r.at("databases")), []);
    t.deepEqual(
      said(await r.apply(DATABASES(r, names))),
      fine("changed: database nova, database nova_api, database nova_cell0, account nova"),
    );
    t.deepEqual(fs.readdirSync(r.at("databases")), ["nova", "nova_api", "nova_cell0"]);
    t.deepEqual(said(await r.apply(DATABASES(r, names))), fine("unchanged"));
    t.is((await r.check(DATABASES(r, names))).status, 0);
    t.notRegex(r.read("host/arguments"), /p4ss/);
    t.is(r.read("host/sql").match(/CREATE USER/g)!.length, 1);
    t.deepEqual(fs.readdirSync(r.at("cib")), [], "the lock is given back");
  },
);

serial("a database that does not answer is no drift of all that is in it", async (t) => {
  const r = clusterHost(t);
  r.program("mariadb", "echo 'cannot connect' >&2; exit 1");
  await r.secrets({ "nova-db": "p4ss-w0rd" });
  t.deepEqual(differences(await r.check(DATABASES(r, "nova nova_api"))), [
    "demo configure on ctl1: wanted to see the database of nova, found that MariaDB does not answer on ctl1",
  ]);
});

serial("without a list the database has the account's name", async (t) => {
  const r = accounts(clusterHost(t));
  await r.secrets({ "nova-db": "p4ss-w0rd" });
  t.deepEqual(said(await r.apply(DATABASES(r, ""))), fine("changed: database nova, account nova"));
  t.deepEqual(fs.readdirSync(r.at("databases")), ["nova"]);
});

serial("a database more is made, and the account may enter it", async (t) => {
  const r = accounts(clusterHost(t));
  await r.secrets({ "nova-db": "p4ss-w0rd" });
  await r.apply(DATABASES(r, "nova"));
  t.deepEqual(
    said(await r.apply(DATABASES(r, "nova nova_api"))),
    fine("changed: database nova_api, account nova"),
  );
  t.deepEqual(said(await r.apply(DATABASES(r, "nova nova_api"))), fine("unchanged"));
});

serial("a rotated password is given to the account, for all of its databases", async (t) => {
  const r = accounts(clusterHost(t));
  await r.secrets({ "nova-db": "p4ss-w0rd" });
  await r.apply(DATABASES(r, "nova nova_api"));
  await r.secrets({ "nova-db": "an0ther-one" }, 2);
  t.deepEqual(said(await r.apply(DATABASES(r, "nova nova_api", 2))), fine("changed: account nova"));
  t.is(r.read("databases/nova_api"), "nova an0ther-one\n");
  t.deepEqual(said(await r.apply(DATABASES(r, "nova nova_api", 2))), fine("unchanged"));
});

// ---- Once for a cluster -----------------------------------------------------------------------------------------

/** The database as far as the record of bootstraps needs it. */
function database(r: Room): Room {
  r.program(
    "mariadb",
    `sql=$(cat)
[[ ! -e ${r.at("host/silent")} ]] || { cat ${r.at("host/silent")} >&2; exit 1; }
case $sql in
"SET SESSION wsrep_sync_wait = 1; SELECT"*) cat ${r.at("host/record")} 2>/dev/null ;;
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

serial("what is done once is not begun anew because the database does not say", async (t) => {
  const r = database(clusterHost(t));
  const document = on(r, "ctl1", `work() { touch ${r.at("host/ran")}; }\nbootstrapped a work\n`);
  r.write("host/silent", "ERROR 1047 (08S01) at line 1: WSREP has not yet prepared node\n");
  const { status, said: text } = said(await r.apply(document));
  t.is(status, 1);
  t.regex(
    text,
    /wanted to know whether demo is bootstrapped, found that MariaDB on ctl1 does not say: ERROR 1047 /,
  );
  t.false(fs.existsSync(r.at("host/ran")));
  fs.rmSync(r.at("host/silent"));
  t.deepEqual(said(await r.apply(document)), fine("changed: bootstrapped demo"));
  t.true(fs.existsSync(r.at("host/ran")));
});

/** A database that takes statements back so many times, as Galera does with what collides. */
function colliding(r: Room, times: number): Room {
  r.program(
    "mariadb",
    `cat >/dev/null
printf '%s\\n' "$@" >>${r.at("host/arguments")}
tried=$(($(cat ${r.at("host/tried")} 2>/dev/null || echo 0) + 1))
echo $tried >${r.at("host/tried")}
((tried > ${times})) || { echo "ERROR 1213 (40001) at line 3: Deadlock found when trying to get lock" >&2; exit 1; }
`,
  );
  return r;
}

const AGAIN = `change "row" sql_again <<<"REPLACE INTO a.b VALUES ('p4ss')"\n`;

serial("what collides with another host in Galera is made again, and not for ever", async (t) => {
  const r = colliding(clusterHost(t), 2);
  t.deepEqual(said(await r.apply(on(r, "ctl1", AGAIN))), fine("changed: row"));
  t.is(r.read("host/tried").trim(), "3");
  const never = colliding(clusterHost(t), 99);
  const { status, said: text } = said(await never.apply(on(never, "ctl1", AGAIN)));
  t.is(status, 1);
  t.regex(text, /ERROR 1213/);
  t.is(never.read("host/tried").trim(), "10");
});

serial("a service's own tool that collides is run again, with its environment", async (t) => {
  const r = clusterHost(t);
  r.program(
    "demo-manage",
    `echo "$GIVEN" >>${r.at("host/given")}
(($(wc -l <${r.at("host/given")}) > 1)) || { echo "oslo_db.exception.DBDeadlock: (1213, 'Deadlock found')" >&2; exit 1; }
`,
  );
  const document = on(r, "ctl1", `GIVEN=this change "row" again demo-manage\n`);
  t.deepEqual(said(await r.apply(document)), fine("changed: row"));
  t.is(r.read("host/given"), "this\nthis\n");
});

serial(
  "another error of the database is not tried again, and no log has the statement",
  async (t) => {
    const r = clusterHost(t);
    r.program(
      "mariadb",
      `printf '%s\\n' "$@" >>${r.at("host/arguments")}; cat >/dev/null; echo "ERROR 1045 (28000): no" >&2; exit 1`,
    );
    const { status, said: text } = said(await r.apply(on(r, "ctl1", AGAIN)));
    t.is(status, 1);
    t.notRegex(text, /p4ss/);
    t.is(r.read("host/arguments").match(/--skip-print-query-on-error/g)!.length, 1);
  },
);
