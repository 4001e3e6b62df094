import type * as pulumi from "@pulumi/pulumi";
import { type Cloud, hostsWith } from "../../config";
import type { Fencing } from "../hosts/fencing";
import type { Host } from "../hosts/host";
import { secret } from "../render";
import { type After, type Context, everywhere, type PerHost, Service } from "../service";
import type { Check, Files } from "../step";

/**
 * Corosync and Pacemaker on every controller, fencing by whatever switches the hosts' power, and, in `resources`, what Pacemaker
 * runs: the virtual IPs, HAProxy and Galera.
 */
export class Pacemaker extends Service {
  /** The cluster has quorum and holds no resources yet. */
  readonly cluster: PerHost;

  /** @param args.configured What it starts on a host, which a running cluster does as soon as the host is a member. */
  constructor(
    context: Context,
    args: { readonly configured: readonly PerHost[] },
    opts?: pulumi.ComponentResourceOptions,
  ) {
    super("pacemaker", context, opts);

    const install = this.install(
      [],
      this.on.flatMap(({ fencing }) => fencing?.packages ?? []),
    );
    const configure = this.stage(
      "configure",
      () => ({ files: pacemakerFiles(context.cloud, this.on) }),
      install,
    );
    this.cluster = this.stage(
      "start",
      () => ({
        params: {
          members: hostsWith(context.cloud, "controller").map((host) => host.name),
          options: Object.entries(clusterOptions(context.cloud)).map(([k, v]) => `${k}=${v}`),
        },
        script: this.script("start.sh"),
      }),
      // A reload makes every node read its files again: they have to be the new ones everywhere.
      everywhere(configure),
      ...args.configured,
    );
    this.registerOutputs({});
  }

  /** Load the cluster's resources, once what they start is configured on every controller. */
  resources(...after: After[]): PerHost {
    return this.stage(
      "bootstrap",
      (host) => ({
        ...pacemakerCheck(this.context.cloud, host),
        params: {
          options: Object.entries(clusterOptions(this.context.cloud)).map(([k, v]) => `${k}=${v}`),
          resources: resourcesXml(this.context.cloud, this.on),
          constraints: constraintsXml(this.context.cloud),
          rsc_defaults: defaultsXml(this.context.cloud),
        },
        script: this.script("bootstrap.sh"),
      }),
      this.cluster,
      ...after,
    );
  }
}

/** The host is a clean member of a quorate cluster, fencing works, and nothing is failed on it. */
export const pacemakerCheck: Check = () => ({ verify: "pacemaker/verify.sh" });

export function pacemakerFiles(cloud: Cloud, hosts: readonly Pick<Host, "fencing">[]): Files {
  return {
    "/etc/corosync/authkey": { content: secret("corosync-authkey"), mode: "0400" },
    "/etc/corosync/corosync.conf": {
      content: corosyncConf(cloud),
      validate: ["corosync", "-t", "-c", "{}"],
    },
    ...Object.fromEntries(hosts.flatMap(({ fencing }) => Object.entries(fencing?.files ?? {}))),
  };
}

/** corosync.conf(5): knet, encrypted, a fixed list of nodes. */
export function corosyncConf(cloud: Cloud): string {
  const { token, tokenCoefficient } = cloud.corosync;
  const nodes = hostsWith(cloud, "controller").map((host) =>
    block(
      "    node",
      [`ring0_addr: ${host.addresses.management}`, `name: ${host.name}`, `nodeid: ${host.id}`],
      "        ",
    ),
  );
  return [
    block("totem", [
      "version: 2",
      `cluster_name: ${cloud.stack}`,
      "transport: knet",
      "crypto_cipher: aes256",
      "crypto_hash: sha384",
      `token: ${token}`,
      `token_coefficient: ${tokenCoefficient}`,
    ]),
    `nodelist {\n${nodes.join("\n")}\n}`,
    block("quorum", ["provider: corosync_votequorum"]),
    block("logging", ["to_syslog: yes", "to_logfile: no", "timestamp: hires"]),
    "",
  ].join("\n\n");
}

function block(name: string, content: readonly string[], indent = "    "): string {
  const close = name.match(/^ */)?.[0] ?? "";
  return [`${name} {`, ...content.map((line) => indent + line), `${close}}`].join("\n");
}

/** Options of the cluster as a whole. */
export function clusterOptions(cloud: Cloud): Record<string, string> {
  return {
    "cluster-recheck-interval": `${cloud.pacemaker.clusterRecheckSeconds}s`,
    "dc-deadtime": `${cloud.pacemaker.dcDeadtimeSeconds}s`,
    // On a busy host Pacemaker would start one thing at a time, and a failover is when a host is busy.
    "load-threshold": "400%",
    "no-quorum-policy": "stop",
    // A failed start counts as one failure of several, and is forgiven in time, instead of banning the host for good.
    "start-failure-is-fatal": "false",
    "stonith-action": cloud.pacemaker.stonithAction,
    "stonith-enabled": "true",
    "stonith-timeout": "60s",
    // The controller sleeps a whole second if its own notes of a lost host are still under way when it asks for the plan
    // (do_pe_invoke_callback in controld_schedulerd.c); they take 60 to 100 ms.
    "transition-delay": "200ms",
  };
}

type Attributes = Readonly<Record<string, string | number>>;

/** The <resources> section of Pacemaker's configuration. */
export function resourcesXml(
  cloud: Cloud,
  hosts: readonly Pick<Host, "name" | "fencing" | "nics">[],
): string {
  return section("resources", [
    ...hosts.flatMap(({ name, fencing }) => (fencing ? [fenceDevice(name, fencing)] : [])),
    virtualIp(cloud, "internal", "management", hosts),
    virtualIp(cloud, "public", "external", hosts),
    `  <clone id="haproxy-clone">
${primitive("haproxy", { class: "systemd", type: "haproxy" }, {}, [{ name: "monitor", interval: `${cloud.pacemaker.monitorSeconds}s`, timeout: "20s" }], "    ")}
  </clone>`,
    galera(cloud),
  ]);
}

function fenceDevice(host: string, { agent, parameters }: Fencing): string {
  return primitive(
    `fence-${host}`,
    { class: "stonith", type: agent },
    { ...parameters, pcmk_host_list: host },
    [{ name: "monitor", interval: "60s", timeout: "20s" }],
  );
}

function virtualIp(
  cloud: Cloud,
  vip: "internal" | "public",
  network: "management" | "external",
  hosts: readonly Pick<Host, "nics">[],
): string {
  return primitive(
    `vip-${vip}`,
    { class: "ocf", provider: "heartbeat", type: "IPaddr2" },
    {
      // Neighbours learn the new place at once: five gratuitous ARPs, 50 ms apart, in the background.
      arp_bg: "true",
      arp_count: 5,
      arp_interval: 50,
      cidr_netmask: cloud.networks[network].prefix,
      ip: cloud.vips[vip],
      ...nicOf(network, hosts),
    },
    [
      { name: "monitor", interval: `${cloud.pacemaker.monitorSeconds}s`, timeout: "20s" },
      { name: "start", interval: "0s", timeout: "20s" },
      { name: "stop", interval: "0s", timeout: "20s" },
    ],
  );
}

/** Where it has one name on all hosts; otherwise the agent finds it by its network. */
function nicOf(
  network: "management" | "external",
  hosts: readonly Pick<Host, "nics">[],
): { nic?: string } {
  const [nic, ...others] = new Set(hosts.map(({ nics }) => nics[network]));
  return nic === undefined || others.length > 0 ? {} : { nic };
}

function galera(cloud: Cloud): string {
  const members = hostsWith(cloud, "controller");
  const address = members.map((host) => host.addresses.management).join(",");
  const map = members.map((host) => `${host.name}:${host.addresses.management}`).join(";");
  return `  <clone id="galera-clone">
    <meta_attributes id="galera-clone-meta">
${nvpairs("galera-clone-meta", { interleave: "true", "promoted-max": members.length, promotable: "true" }, "      ")}
    </meta_attributes>
${primitive(
  "galera",
  { class: "ocf", provider: "heartbeat", type: "galera" },
  {
    binary: "/usr/bin/mariadbd-safe",
    client_binary: "/usr/bin/mariadb",
    cluster_host_map: map,
    config: "/etc/mysql/my.cnf",
    // The agent's default, /var/log/mysql, is where Debian's logrotate looks too.
    log: "/var/log/mysql/error.log",
    pid: "/run/mysqld/mysqld.pid",
    socket: "/run/mysqld/mysqld.sock",
    wsrep_cluster_address: `gcomm://${address}`,
  },
  [
    { name: "monitor", interval: "10s", timeout: "30s", role: "Promoted" },
    // The unpromoted monitor is what elects the node to start from: often, so that it takes no longer than needed.
    { name: "monitor", interval: "3s", timeout: "30s", role: "Unpromoted" },
    { name: "promote", interval: "0s", timeout: "300s" },
    { name: "demote", interval: "0s", timeout: "120s" },
    { name: "start", interval: "0s", timeout: "120s" },
    { name: "stop", interval: "0s", timeout: "120s" },
  ],
  "    ",
)}
  </clone>`;
}

/** The agent takes a start where it does not know the host for a mistake in the configuration of all. A new controller is one until its bootstrap. */
function galeraMembersOnly(cloud: Cloud): string {
  const id = "galera-members-only";
  const others = hostsWith(cloud, "controller").map(
    ({ name }) =>
      `      <expression id="${id}-${name}" attribute="#uname" operation="ne" value="${name}"/>`,
  );
  return `  <rsc_location id="${id}" rsc="galera-clone">
    <rule id="${id}-rule" boolean-op="and" score="-INFINITY">
${others.join("\n")}
    </rule>
  </rsc_location>`;
}

/** The <constraints> section: what keeps resources together, apart and in order. */
export function constraintsXml(cloud: Cloud): string {
  const vips = ["internal", "public"];
  return section("constraints", [
    // A host must not be trusted to fence itself.
    ...hostsWith(cloud, "controller").map(
      (host) =>
        `  <rsc_location id="fence-${host.name}-elsewhere" rsc="fence-${host.name}" node="${host.name}" score="-INFINITY"/>`,
    ),
    galeraMembersOnly(cloud),
    ...vips.map(
      (vip) =>
        `  <rsc_colocation id="vip-${vip}-with-haproxy" rsc="vip-${vip}" with-rsc="haproxy-clone" score="INFINITY"/>`,
    ),
    ...vips.map(
      (vip) =>
        `  <rsc_order id="haproxy-then-vip-${vip}" first="haproxy-clone" then="vip-${vip}" kind="Optional"/>`,
    ),
    // Both move when their host dies. Clients wait for the addresses; nobody waits for a device's monitor, and the
    // fencer uses a device wherever it is.
    ...hostsWith(cloud, "controller").flatMap((host) =>
      vips.map(
        (vip) =>
          `  <rsc_order id="vip-${vip}-then-fence-${host.name}" first="vip-${vip}" then="fence-${host.name}" kind="Optional" symmetrical="false"/>`,
      ),
    ),
  ]);
}

/** The <rsc_defaults> section. */
export function defaultsXml(cloud: Cloud): string {
  const { failureTimeoutSeconds, migrationThreshold } = cloud.pacemaker;
  return section("rsc_defaults", [
    `  <meta_attributes id="openstack-ha-defaults">
${nvpairs(
  "openstack-ha-defaults",
  // What runs stays where it is: moving a VIP back breaks long connections for nothing.
  {
    "failure-timeout": `${failureTimeoutSeconds}s`,
    "migration-threshold": migrationThreshold,
    "resource-stickiness": "INFINITY",
  },
  "    ",
)}
  </meta_attributes>`,
  ]);
}

interface Operation {
  readonly name: string;
  readonly interval: string;
  readonly timeout: string;
  readonly role?: string;
}

function primitive(
  id: string,
  agent: Attributes,
  parameters: Attributes,
  operations: readonly Operation[],
  indent = "  ",
): string {
  const instance = Object.keys(parameters).length
    ? `${indent}  <instance_attributes id="${id}-parameters">
${nvpairs(`${id}-parameters`, parameters, `${indent}    `)}
${indent}  </instance_attributes>\n`
    : "";
  const ops = operations
    .map((op) => {
      const role = op.role ? ` role="${op.role}"` : "";
      return `${indent}    <op id="${id}-${op.name}-${(op.role ?? op.interval).toLowerCase()}" name="${op.name}" interval="${op.interval}" timeout="${op.timeout}"${role}/>`;
    })
    .join("\n");
  return `${indent}<primitive id="${id}" ${attributes(agent)}>
${instance}${indent}  <operations>
${ops}
${indent}  </operations>
${indent}</primitive>`;
}

function nvpairs(id: string, values: Attributes, indent: string): string {
  return Object.entries(values)
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .map(
      ([name, value]) =>
        `${indent}<nvpair id="${id}-${name}" name="${name}" value="${escapeXml(value)}"/>`,
    )
    .join("\n");
}

function attributes(values: Attributes): string {
  return Object.entries(values)
    .map(([name, value]) => `${name}="${escapeXml(value)}"`)
    .join(" ");
}

function section(name: string, content: readonly string[]): string {
  return `<${name}>\n${content.join("\n")}\n</${name}>\n`;
}

function escapeXml(value: string | number): string {
  return String(value).replace(/[&<>"]/g, (c) => `&#${c.charCodeAt(0)};`);
}
