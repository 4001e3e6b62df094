import * as fs from "node:fs";
import test, { type ExecutionContext } from "ava";
import { readScript } from "../../components/step";
import { Room, step } from "./support/runner";

// The scripts that make others forget a host, and that drain one, through the runner. RabbitMQ, OVN, Nova and systemd are doubles:
// small programs that keep what they are told in files.

const serial = test.serial;

function room(t: ExecutionContext): Room {
  const made = new Room();
  t.teardown(() => {
    made.remove();
  });
  // Every unit runs and is enabled until it is stopped.
  made.program(
    "systemctl",
    `case $1 in
is-active | is-enabled) [[ ! -e ${made.at("host")}/stopped-\${*: -1} ]] ;;
disable) shift; for each in "$@"; do [[ $each == -* ]] || : >${made.at("host")}/stopped-$each; done ;;
show) echo no ;;
esac
`,
  );
  return made;
}

const said = ({ stdout, stderr }: { stdout: string; stderr: string }): string =>
  (stdout + stderr).trimEnd();

// ---- OVN --------------------------------------------------------------------------------------------------------

const SERVERS = (...lines: string[]): string =>
  [
    "Name: OVN",
    "Status: cluster member",
    "Role: follower",
    "Leader: aaaa",
    "Servers:",
    ...lines,
    "",
  ].join("\n");

serial(
  "a member of OVN's databases dismisses who had its address, and who is not planned, and no other",
  async (t) => {
    const r = room(t);
    r.write(
      "host/servers",
      SERVERS(
        "    aaaa (aaaa at tcp:10.0.0.11:6643) last msg 12 ms ago",
        "    bbbb (bbbb at tcp:10.0.0.12:6643)",
        "    cccc (cccc at tcp:10.0.0.12:6643) (self)",
        "    dddd (dddd at tcp:10.0.0.13:6643) last msg 9 ms ago",
        "    eeee (eeee at tcp:10.0.0.19:6643)",
      ),
    );
    r.program(
      "ovn-appctl",
      `case "$*" in
*northd*) echo "Status: standby" ;;
*cluster/status*) cat ${r.at("host/servers")} ;;
*cluster/kick*) echo "$4 $5" >>${r.at("host/kicked")}; sed -i "/^ *$5 /d" ${r.at("host/servers")} ;;
esac
`,
    );
    const script = `units_running() { :; }\nalone_in_cluster() { shift; "$@"; }\n${readScript("ovn/verify.sh")}\n${readScript("ovn/start.sh")}`;
    const document = step({
      step: { service: "ovn", stage: "start", host: "ctl2" },
      params: {
        address: "10.0.0.12",
        files: [],
        members: ["10.0.0.11", "10.0.0.12", "10.0.0.13"],
        units: ["ovn-northd.service"],
      },
      script: r.usePrograms + script,
    });
    const checked = await r.check(document);
    t.regex(checked.stdout, /dismissed members of nb: bbbb eeee/);
    t.false(fs.existsSync(r.at("host/kicked")));
    t.regex(said(await r.apply(document)), /^changed: dismissed members of nb: bbbb eeee/);
    t.is(r.read("host/kicked"), "OVN_Northbound bbbb\nOVN_Northbound eeee\n");
    t.regex(said(await r.apply(document)), /^unchanged/);
  },
);

// ---- RabbitMQ ---------------------------------------------------------------------------------------------------

/** A cluster whose other nodes know this host's, as a node that does not run until it has joined. */
function broker(t: ExecutionContext, data: boolean): Room {
  const r = room(t);
  fs.mkdirSync(r.at("host/mnesia"));
  if (data) r.write("host/mnesia/rabbit@ctl2/x", "");
  const up = ["rabbit@ctl1", "rabbit@ctl2", "rabbit@ctl3"];
  const status = (running: string[]): string =>
    JSON.stringify({ disk_nodes: up, running_nodes: running, partitions: [], alarms: [] });
  r.write(
    "host/queues",
    JSON.stringify([{ name: "q", type: "quorum", members: ["rabbit@ctl1", "rabbit@ctl3"] }]),
  );
  r.write("host/definitions", JSON.stringify({ queues: [{}], policies: [] }));
  r.program(
    "rabbitmqctl",
    `case "$*" in
*"--node rabbit@ctl1"*cluster_status*) echo '${status(["rabbit@ctl1", "rabbit@ctl3"])}' ;;
*forget_cluster_node*) echo "$*" >>${r.at("host/forgot")} ;;
*cluster_status*) echo '${status(up)}' ;;
*export_definitions*) cat ${r.at("host/definitions")} ;;
*clear_policy*) echo "Parameter does not exist" >&2; exit 70 ;;
*list_policies*) cat ${r.at("host/policies")} ;;
*list_queues*) cat ${r.at("host/queues")} ;;
esac
`,
  );
  r.program(
    "rabbitmq-queues",
    `echo "$*" >>${r.at("host/grown")}\necho '[{"name": "q", "type": "quorum", "members": ["rabbit@ctl1", "rabbit@ctl2"]}]' >${r.at("host/queues")}\n`,
  );
  return r;
}

function brokerStep(r: Room): unknown {
  const script = readScript("rabbitmq/start.sh")
    .replace("/var/lib/rabbitmq/mnesia", r.at("host/mnesia"))
    .replace(/^accepts\(\).*$/m, "accepts() { [[ $1 == ctl1 ]]; }")
    .replace(/^unit_running .*$/m, `change "started" touch ${r.at("host/started")}`)
    .replace(/^account_works \|\|.*$/m, "");
  return step({
    step: { service: "rabbitmq", stage: "start", host: "ctl2" },
    params: { members: ["ctl1", "ctl2", "ctl3"] },
    script: `${r.usePrograms}${readScript("rabbitmq/verify.sh")}\n${script}`,
  });
}

serial(
  "a broker with an empty disk is forgotten by another before it starts, and gets its copies",
  async (t) => {
    const r = broker(t, false);
    const outcome = await r.apply(brokerStep(r));
    t.is(said(outcome), "changed: ctl1 forgot the node of before, started, copies of 1 queues");
    t.is(r.read("host/forgot"), "--quiet --node rabbit@ctl1 forget_cluster_node rabbit@ctl2\n");
    t.is(r.read("host/grown"), "grow rabbit@ctl2 all\n");
  },
);

serial("a broker that has its data is not forgotten, also where it does not run", async (t) => {
  const r = broker(t, true);
  t.is(said(await r.apply(brokerStep(r))), "changed: started, copies of 1 queues");
  t.false(fs.existsSync(r.at("host/forgot")));
});

serial("a policy that another host's step takes away first is gone, and no error", async (t) => {
  const r = broker(t, true);
  const policies = [{ vhost: "/", name: "mine" }];
  r.write("host/definitions", JSON.stringify({ queues: [], policies }));
  r.write("host/policies", "[]");
  t.is(said(await r.apply(brokerStep(r))), "changed: started, no policy mine");
  r.write("host/policies", JSON.stringify(policies));
  const outcome = await r.apply(brokerStep(r));
  t.not(outcome.status, 0);
  t.regex(
    said(outcome),
    /wanted no policy mine on the message bus, found that rabbitmqctl clear_policy fails/,
  );
});

// ---- Nova -------------------------------------------------------------------------------------------------------

const NOVA = "http://nova";

/**
 * Keystone and Nova's API by curl: a record of the service of cmp2 and guests in files, and a guest that is told to move or is
 * evacuated is gone at once.
 */
function nova(
  t: ExecutionContext,
  guests: readonly (readonly [id: string, status: string])[],
): Room {
  const r = room(t);
  r.write(
    "host/service",
    JSON.stringify({
      id: "s2",
      host: "cmp2",
      status: "enabled",
      state: "up",
      disabled_reason: null,
    }),
  );
  for (const [id, status] of guests)
    r.write(`host/guests/${id}`, JSON.stringify({ id, status, "OS-EXT-STS:task_state": null }));
  fs.mkdirSync(r.at("host/guests"), { recursive: true });
  r.program(
    "curl",
    `host=${r.at("host")}
args="$*"; url=\${*: -1}
method=GET data=
while (($#)); do
  case $1 in
  --request) method=$2; shift ;;
  --data) data=$2; shift ;;
  --dump-header) printf 'X-Subject-Token: t\\r\\n' >"$2"; shift ;;
  esac
  shift
done
case "$method $url" in
*auth/tokens) printf 201; exit ;;
"GET "*os-services*) jq -c '{services: [.]}' $host/service 2>/dev/null || echo '{"services": []}' ;;
"GET "*servers/detail*) cat $host/guests/* 2>/dev/null | jq -cs '{servers: .}' ;;
"GET "*os-migrations*) echo '{"migrations": [{"id": 7, "status": "'"$(cat $host/migration 2>/dev/null || echo completed)"'"}, {"id": 3, "status": "completed"}]}' ;;
"GET "*agents*) echo '{"agents": [{"id": "g1"}, {"id": "g2"}]}' ;;
"GET "*os-hypervisors*) echo '{"hypervisors": [{"id": "h20", "service": {"host": "cmp20"}}, {"id": "h2", "service": {"host": "cmp2"}}]}' ;;
"PUT "*os-services*)
  echo "PUT $data" >>$host/asked
  jq -c --argjson new "$data" '. + $new' $host/service >$host/service.new && mv $host/service.new $host/service ;;
"POST "*)
  echo "POST \${url##*servers/} $data" >>$host/asked
  id=\${url#*servers/}; [[ -e $host/stay ]] || rm -f "$host/guests/\${id%/action}" ;;
"DELETE "*) echo "DELETE \${url##*/}" >>$host/asked; rm -f $host/service ;;
esac
[[ $args != *write-out* ]] || printf '\\n202'
`,
  );
  r.program("runuser", `shift 3; exec "$@"`);
  // It has found something.
  r.program("nova-manage", `echo "nova-manage $*" >>${r.at("host/asked")}; exit 4`);
  r.program("ovn-sbctl", `echo "ovn-sbctl $*" >>${r.at("host/asked")}\n`);
  return r;
}

async function drainStep(r: Room): Promise<unknown> {
  await r.secrets({ nova: "password-of-nova" });
  return step({
    step: { service: "nova-compute", stage: "start", host: "cmp2", timeout: 60 },
    params: {
      compute: NOVA,
      guest_seconds: 2,
      identity: "http://keystone",
      reason: "drained by openstack-ha",
      state: "drained",
      units: ["nova-compute.service", "ovn-controller.service"],
    },
    secrets: { nova: 1 },
    script: `${r.usePrograms}${readScript("nova-compute/verify.sh")}\n${readScript("nova-compute/drain.sh")}`,
  });
}

serial(
  "a host is drained: no new guests, those that run move, then nova-compute stops, and those that are off are taken over",
  async (t) => {
    const r = nova(t, [
      ["a1", "ACTIVE"],
      ["b2", "SHUTOFF"],
    ]);
    const document = await drainStep(r);
    const checked = await r.check(document);
    for (const what of [
      "no new guests",
      "moved 1 running guests",
      "stopped nova-compute.service",
      "gave 1 guests",
    ])
      t.true(checked.stdout.includes(what), what);
    t.false(fs.existsSync(r.at("host/asked")));
    const outcome = await r.apply(document);
    t.regex(
      said(outcome),
      /^changed: no new guests, moved 1 running guests, stopped nova-compute.service, gave 1 guests that are off to other hosts, stopped ovn-controller.service/,
    );
    t.deepEqual(r.read("host/asked").trim().split("\n"), [
      'PUT {"status":"disabled","disabled_reason":"drained by openstack-ha"}',
      'POST a1/action {"os-migrateLive": {"host": null, "block_migration": "auto"}}',
      'PUT {"forced_down": true}',
      'POST b2/action {"evacuate": {}}',
    ]);
    t.regex(said(await r.apply(document)), /^unchanged\ndrained|^unchanged/);
  },
);

serial("a guest that cannot move is named before anything is moved", async (t) => {
  const r = nova(t, [
    ["a1", "ACTIVE"],
    ["c3", "SUSPENDED"],
  ]);
  t.regex(said(await r.apply(await drainStep(r))), /found c3 SUSPENDED none; resume/);
  t.false(fs.existsSync(r.at("host/asked")));
});

serial("a guest that has not moved ends the step, and nothing is stopped", async (t) => {
  const r = nova(t, [["a1", "ACTIVE"]]);
  r.write("host/stay", "");
  r.write("host/migration", "error");
  t.regex(
    said(await r.apply(await drainStep(r))),
    /wanted guest a1 on another host, found it still on cmp2/,
  );
  r.write("host/migration", "accepted");
  t.regex(said(await r.apply(await drainStep(r))), /its migration is accepted/);
  t.false(fs.existsSync(r.at("host/stopped-nova-compute.service")));
});

async function novaStep(r: Room, computes: readonly string[]): Promise<unknown> {
  await r.secrets({ nova: "password-of-nova" });
  return step({
    step: { service: "nova", stage: "start", host: "ctl1", timeout: 60 },
    params: {
      compute: NOVA,
      computes,
      files: [],
      identity: "http://keystone",
      network: "http://neutron",
      southbound: "tcp:1:6642",
      units: [],
    },
    secrets: { nova: 1 },
    script: `${r.usePrograms}verify() { :; }\nunits_running() { :; }\nalone_in_cluster() { shift; "$@"; }\n${readScript("nova/start.sh")}`,
  });
}

serial("Nova forgets a drained host that is not in the plan any more, once", async (t) => {
  const r = nova(t, []);
  t.regex(said(await r.apply(await novaStep(r, ["cmp1", "cmp2"]))), /^unchanged/);
  t.regex(
    said(await r.apply(await novaStep(r, ["cmp1"]))),
    /wanted cmp2 drained .* found it in service/,
  );
  t.false(fs.existsSync(r.at("host/asked")));
  r.write(
    "host/service",
    JSON.stringify({ id: "s2", host: "cmp2", status: "disabled", state: "down" }),
  );
  t.regex((await r.check(await novaStep(r, ["cmp1"]))).stdout, /forgot compute host cmp2/);
  t.regex(said(await r.apply(await novaStep(r, ["cmp1"]))), /^changed: forgot compute host cmp2/);
  t.regex(
    r.read("host/asked"),
    /^nova-manage placement audit --delete --resource_provider h2\nDELETE s2\novn-sbctl .*chassis-del cmp2.*\nDELETE g1\nDELETE g2\n/,
  );
  t.regex(said(await r.apply(await novaStep(r, ["cmp1"]))), /^unchanged/);
});

serial(
  "Nova does not forget a host that has guests, whatever the state of its service",
  async (t) => {
    const r = nova(t, [["a1", "ACTIVE"]]);
    r.write(
      "host/service",
      JSON.stringify({ id: "s2", host: "cmp2", status: "disabled", state: "down" }),
    );
    t.regex(
      said(await r.apply(await novaStep(r, ["cmp1"]))),
      /wanted cmp2 drained .* found 1 guests on it/,
    );
    t.false(fs.existsSync(r.at("host/asked")));
  },
);
