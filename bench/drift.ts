import * as fs from "node:fs";
import * as path from "node:path";
import { hostsWith } from "../config";
import type { Json } from "../tools/openstack";
import { findings, toText } from "../tools/drift/report";
import type { Finding } from "../tools/drift/scan";
import { scanCloud } from "../tools/drift";
import { nameOf } from "../tools/report/plan";
import { stackState } from "../tools/stack";
import { adminApi, begin, type Lab, onHost, openHealthyLab, run, seconds, Table } from "./lib";

/**
 * Change the hosts and the cloud by hand in many ways, look for drift, repair it, and look again: what was found and missed,
 * what was found that nobody did, which steps the repair ran, and how long a scan takes.
 *
 *   npm run bench:drift -- [--stack dev] [--only NAME]
 *
 * Exit code 1 if anything was missed, found for nothing, left after the repair, or run without having drifted.
 */

const REPAIR_SECONDS = 1800;
const PREVIEW_SECONDS = 600;
/** Packages of the plan's that nothing needs while a compute host runs. */
const REMOVED = "socat";
const OLDER = "rsync";

interface Drift {
  readonly name: string;
  readonly inject: () => void | Promise<void>;
  /** The steps that have to show it. */
  readonly steps: readonly string[];
  /** What the finding says, where a step has several. */
  readonly says?: RegExp;
  /** Steps that may show it too: who starts what reads a file, who asks what does not answer. */
  readonly also?: RegExp;
}

/** What people do to clouds. */
function drifts(lab: Lab): Drift[] {
  const [ctl1, ctl2, ctl3] = names(lab, "controller");
  const [cmp1, cmp2] = names(lab, "compute");
  const on =
    (host: string, command: string, input = ""): (() => void) =>
    () => {
      onHost(lab, host, command, input);
    };
  const everywhere = (step: string): string[] =>
    [ctl1, ctl2, ctl3].map((host) => `${step}-${host}`);
  const haproxy = (host: string, command: string): (() => void) =>
    on(host, "socat - UNIX-CONNECT:/run/haproxy/admin.sock", `${command}\n`);
  const sql = (host: string, text: string): (() => void) => on(host, "mariadb", text);
  const flavor = lab.cloud.content.flavors[0]?.name ?? "";
  return [
    {
      name: "file edited",
      inject: on(ctl2, "sed -i 's/retries 3/retries 7/' /etc/haproxy/haproxy.cfg"),
      steps: [`haproxy-configure-${ctl2}`, `haproxy-start-${ctl2}`],
    },
    {
      name: "file edited and used",
      inject: on(
        ctl1,
        "sed -i 's/^-m .*/-m 17/' /etc/memcached.conf && systemctl restart memcached",
      ),
      steps: [`memcached-configure-${ctl1}`, `memcached-start-${ctl1}`],
    },
    {
      name: "file removed",
      inject: on(ctl2, "rm /etc/memcached.conf"),
      steps: [`memcached-configure-${ctl2}`, `memcached-start-${ctl2}`],
    },
    {
      name: "mode changed",
      inject: on(ctl1, "chmod 644 /etc/corosync/authkey"),
      steps: [`pacemaker-configure-${ctl1}`],
    },
    {
      name: "owner changed",
      inject: on(ctl3, "chgrp root /etc/glance/glance-api.conf"),
      steps: [`glance-configure-${ctl3}`],
    },
    {
      name: "hosts file edited",
      inject: on(cmp1, "echo 192.0.2.1 mine >>/etc/hosts"),
      steps: [`base-configure-${cmp1}`],
    },
    {
      name: "extra file among keys",
      inject: on(ctl2, "touch /etc/keystone/fernet-keys/backup"),
      steps: [`keystone-configure-${ctl2}`],
    },
    {
      name: "fernet key missing",
      inject: on(ctl1, "rm /etc/keystone/fernet-keys/0"),
      steps: [`keystone-configure-${ctl1}`],
    },
    {
      name: "unit stopped",
      inject: on(ctl3, "systemctl stop memcached"),
      steps: [`memcached-start-${ctl3}`],
    },
    {
      name: "unit disabled",
      inject: on(ctl1, "systemctl disable --quiet nova-scheduler"),
      steps: [`nova-start-${ctl1}`],
    },
    {
      name: "unit masked",
      inject: on(ctl2, "systemctl mask --quiet --now glance-api"),
      steps: [`glance-start-${ctl2}`],
    },
    {
      name: "health check off",
      inject: on(ctl3, "systemctl disable --quiet --now galera-check"),
      steps: [`mariadb-configure-${ctl3}`],
      also: new RegExp(`^mariadb-start-${ctl3}$`),
    },
    {
      name: "package removed",
      inject: () => {
        packageSource(lab, cmp1, REMOVED);
        onHost(lab, cmp1, `dpkg --remove ${REMOVED}`);
      },
      steps: [`base-install-${cmp1}`],
    },
    {
      name: "package downgraded",
      inject: () => {
        packageSource(lab, cmp2, OLDER);
        onHost(lab, cmp2, `dpkg --install --force-downgrade /var/lib/bench-packages/older/*.deb`);
      },
      steps: [`base-install-${cmp2}`],
    },
    {
      name: "Pacemaker property changed",
      inject: on(
        ctl1,
        "crm_attribute --type crm_config --name cluster-recheck-interval --update 1h",
      ),
      steps: everywhere("pacemaker-bootstrap"),
      says: /cluster-recheck-interval/,
    },
    {
      name: "Pacemaker property added",
      inject: on(ctl1, "crm_attribute --type crm_config --name batch-limit --update 7"),
      steps: everywhere("pacemaker-bootstrap"),
      says: /no batch-limit/,
    },
    {
      name: "resource banned",
      inject: on(ctl1, `crm_resource --ban --resource fence-${ctl1} --node ${ctl3}`),
      steps: everywhere("pacemaker-bootstrap"),
      says: /constraints/,
    },
    {
      name: "Galera: server option",
      inject: sql(ctl3, "SET GLOBAL innodb_flush_log_at_trx_commit = 0"),
      steps: [`mariadb-start-${ctl3}`],
      says: /innodb_flush_log_at_trx_commit 0 to 1/,
    },
    {
      name: "Galera: provider option",
      inject: sql(ctl2, "SET GLOBAL wsrep_provider_evs_suspect_timeout = 2.5"),
      steps: [`mariadb-start-${ctl2}`],
      says: /evs_suspect_timeout/,
    },
    {
      name: "RabbitMQ policy added",
      inject: on(ctl1, `rabbitmqctl --quiet set_policy mine '^mine' '{"max-length":9}'`),
      steps: everywhere("rabbitmq-start"),
      says: /no policy mine/,
    },
    {
      name: "RabbitMQ account's rights",
      inject: on(ctl1, "rabbitmqctl --quiet set_user_tags openstack monitoring"),
      steps: everywhere("rabbitmq-start"),
      says: /account openstack/,
    },
    {
      name: "HAProxy server in maintenance",
      inject: haproxy(ctl1, `set server glance/${ctl3} state maint`),
      steps: [`haproxy-start-${ctl1}`],
      says: /glance/,
    },
    {
      name: "HAProxy frontend disabled",
      inject: haproxy(ctl3, "disable frontend placement"),
      steps: [`haproxy-start-${ctl3}`],
      says: /placement/,
    },
    {
      name: "sysctl reset",
      inject: on(cmp2, "sysctl -qw net.ipv4.tcp_keepalive_time=7200"),
      steps: [`base-configure-${cmp2}`],
      says: /tcp_keepalive_time 7200 to 5/,
    },
    {
      name: "chassis option",
      inject: on(cmp1, "ovs-vsctl set Open_vSwitch . external_ids:ovn-remote-probe-interval=90000"),
      steps: [`ovn-chassis-start-${cmp1}`],
    },
    {
      name: "Ceph pool with fewer copies",
      inject: on(ctl1, "ceph osd pool set vms size 2"),
      steps: names(lab, "storage").map((host) => `ceph-bootstrap-${host}`),
      says: /size of pool vms/,
    },
    {
      name: "runner edited",
      inject: on(cmp1, "echo '# mine' >>/usr/local/lib/openstack-ha/lib.sh"),
      steps: [`base-runner-${cmp1}`],
    },
    {
      name: "store of secrets readable",
      inject: on(cmp2, "chmod 644 /etc/openstack-ha/secrets.json"),
      steps: [`base-secrets-${cmp2}`],
    },
    {
      name: "identity endpoint edited",
      inject: () => editEndpoint(lab, "identity", "admin"),
      steps: everywhere("keystone-bootstrap"),
      says: /endpoints/,
    },
    {
      name: "endpoint edited",
      inject: () => editEndpoint(lab, "placement", "public"),
      steps: ["registration-endpoint-placement-public"],
      says: /192\.0\.2\.1/,
    },
    {
      name: "role taken away",
      inject: () => takeRole(lab, "placement", "service"),
      steps: ["registration-role-placement-service"],
      says: /gone/,
    },
    {
      name: "flavor deleted",
      inject: () => deleteFlavor(lab, flavor),
      steps: [`content-flavor-${flavor}`],
      says: /gone/,
    },
  ];
}

/** What is not well because of what was done, on hosts where nobody did anything to the step. */
const CONSEQUENCES: readonly Finding["kind"][] = ["health", "error"];

async function main(): Promise<void> {
  const lab = await openHealthyLab();
  const only = process.argv[process.argv.indexOf("--only") + 1];
  const all = drifts(lab).filter(({ name }) => !process.argv.includes("--only") || name === only);
  const fresh = await scan(lab, "before");
  const alarms = fresh.length;
  let left: Finding[];
  let found: Finding[];
  const before = ids(lab);
  try {
    for (const { name, inject } of all) {
      await inject();
      console.error(`done by hand: ${name}`);
    }
    found = await scan(lab, "drifted");
    await repair(lab);
    left = await scan(lab, "repaired");
  } finally {
    for (const host of names(lab, "compute"))
      onHost(lab, host, "rm -rf /var/lib/bench-packages /etc/apt/sources.list.d/bench.list");
  }
  const missed = table(all, found);
  const expected = new Set(all.flatMap(({ steps }) => steps));
  const own = ({ step, kind }: Finding): boolean =>
    expected.has(step) ||
    CONSEQUENCES.includes(kind) ||
    all.some(({ also }) => also?.test(step) ?? false);
  const strange = found.filter((each) => !own(each));
  const drifted = new Set(found.map(({ step }) => step));
  const ran = changed(before, ids(lab));
  const beyond = ran.filter((name) => !drifted.has(name));
  await run("pulumi", ["preview", "--expect-no-changes", "--stack", lab.stack], PREVIEW_SECONDS);
  console.log(`
false alarms before   ${alarms}
found                 ${all.length - missed} of ${all.length}
found, done by nobody ${strange.length}${list(strange.map(({ step }) => step))}
left after repair     ${left.length}${list(left.map(({ step }) => step))}
steps that ran        ${ran.length}, without having drifted ${beyond.length}${list(beyond)}
preview afterwards    no change`);
  if (alarms + missed + strange.length + left.length + beyond.length) process.exitCode = 1;
}

function table(all: readonly Drift[], found: readonly Finding[]): number {
  const rows = new Table(["drift", "found", "in"], [32, 6]);
  let missed = 0;
  for (const { name, steps, says = /(?:)/ } of all) {
    const lacking = steps.filter(
      (step) =>
        !found.some((each) => each.step === step && says.test(`${each.what} ${each.found}`)),
    );
    if (lacking.length) missed++;
    rows.row(name, lacking.length ? "NO" : "yes", (lacking.length ? lacking : steps).join(" "));
  }
  return missed;
}

async function scan(lab: Lab, when: string): Promise<Finding[]> {
  const result = await scanCloud({ stack: lab.stack, cloud: true }, stackState(lab.stack));
  console.log(`\n== ${when} (${seconds(result.seconds * 1000)} s)\n${toText(result)}`);
  const lost = [...result.hosts, ...(result.cloud ? [result.cloud] : [])].find(
    ({ error }) => error,
  );
  if (lost) throw new Error(`wanted to ask ${lost.host}, found: ${lost.error ?? ""}`);
  return findings(result);
}

async function repair(lab: Lab): Promise<void> {
  const start = Date.now();
  const tool = ["--require", "tsx/cjs", "tools/drift.ts", lab.stack, "--repair", "--yes"];
  const said = await run("node", tool, REPAIR_SECONDS).catch((error: unknown) => String(error));
  console.log(`\n== repair (${seconds(Date.now() - start)} s)\n${said}`);
}

/** A step has another id once it has run by a repair, and so has what was made anew in the cloud. */
function ids(lab: Lab): Map<string, string> {
  return new Map(stackState(lab.stack).map(({ urn, id }) => [nameOf(urn), id ?? ""]));
}

function changed(before: Map<string, string>, after: Map<string, string>): string[] {
  return [...after].filter(([name, id]) => before.get(name) !== id).map(([name]) => name);
}

function list(items: readonly string[]): string {
  return items.length ? `: ${[...new Set(items)].join(", ")}` : "";
}

function names(lab: Lab, role: "controller" | "compute" | "storage"): [string, string, string] {
  const found = hostsWith(lab.cloud, role).map(({ name }) => name);
  return found as [string, string, string];
}

/**
 * The lab's hosts reach no package source: one of the host's own has the package as it is installed, and beside it lies an
 * older one.
 */
function packageSource(lab: Lab, host: string, name: string): void {
  onHost(lab, host, `bash -s ${name}`, REPACK);
}

const REPACK = fs.readFileSync(path.join(__dirname, "repack.sh"), "utf8");

async function editEndpoint(lab: Lab, type: string, vip: string): Promise<void> {
  const api = await adminApi(lab);
  const services = await api.get<Json[]>("identity", `/services?type=${type}`, "services");
  const path = `/endpoints?interface=${vip}&service_id=${String(services[0]?.id)}`;
  const [endpoint] = await api.get<Json[]>("identity", path, "endpoints");
  await api.ask("PATCH", "identity", `/endpoints/${String(endpoint?.id)}`, {
    endpoint: { url: "http://192.0.2.1" },
  });
}

async function takeRole(lab: Lab, user: string, role: string): Promise<void> {
  const api = await adminApi(lab);
  const id = async (kind: string, name: string): Promise<string> => {
    const [found] = await api.get<Json[]>("identity", `/${kind}?name=${name}`, kind);
    return String(found?.id);
  };
  const project = await id("projects", "service");
  const path = `/projects/${project}/users/${await id("users", user)}/roles/${await id("roles", role)}`;
  await api.remove("identity", path);
}

async function deleteFlavor(lab: Lab, name: string): Promise<void> {
  const api = await adminApi(lab);
  const flavors = await api.get<Json[]>("compute", "/flavors", "flavors");
  const found = flavors.find((each) => each.name === name);
  await api.remove("compute", `/flavors/${String(found?.id)}`);
}

if (require.main === module) begin("drift", main);
