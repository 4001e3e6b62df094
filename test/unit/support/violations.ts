import { readFileSync } from "node:fs";
import * as path from "node:path";
import type { StepDocument } from "../../../components/document";
import type { Resource } from "../../../policy/plan";
import { tlsKey } from "../../../secrets";
import { openssl } from "../../../tools/certificate";
import { SEED } from "./plan";
import type { Broken } from "./policy";

/** What can be wrong in a plan: for each rule of the policy pack, the stacks that break it, made from one that does not. */

export interface Seed {
  /** The rule that has to notice. */
  readonly rule: string;
  readonly what: string;
  /** `guests`: a stack with compute hosts. `content`: one with content in its cloud. `site`: one without a lab. Default: any. */
  readonly needs?: "content" | "guests" | "site";
  /** Rules that rightly notice too: a rack of all controllers is one of all monitors, where these are the same hosts. */
  readonly also?: readonly string[];
  readonly passphrase?: "empty" | "made by tools/env";
  readonly breaks: (broken: Broken) => unknown;
}

const COROSYNC = "/etc/corosync/corosync.conf";
const GALERA = "/etc/mysql/mariadb.conf.d/90-openstack-ha.cnf";
const RABBITMQ = "/etc/rabbitmq/rabbitmq.conf";
const OVN = "/etc/default/ovn-central";
const CEPH = "/etc/ceph/ceph.conf";
const HAPROXY = "/etc/haproxy/haproxy.cfg";
const KEYSTONE = "/etc/keystone/keystone.conf";
const NOVA = "/etc/nova/nova.conf";

const SPREAD = ["controllers-spread", "monitors-spread", "copies-spread", "gateways-spread"];

const fixture = (file: string): string =>
  readFileSync(path.join(__dirname, "../../fixtures", file), "utf8");

/** A certificate that ends so many days from now. */
function selfSigned(days: number): string {
  const key = tlsKey({ seed: SEED, stack: "dev", name: "tls-public", version: 1 });
  return openssl(["req", "-x509", "-subj", "/CN=10.77.3.10", "-days", String(days)], key);
}

/** Gives the public VIP a certificate. */
function certified(broken: Broken, content: string): unknown {
  return broken.documents(isStep("haproxy", "configure"), (document) => ({
    ...document,
    files: { ...document.files, "/etc/haproxy/certs/public.pem": { content, mode: "0600" } },
  }));
}

const on = (broken: Broken, service: string, index = 0): string =>
  broken.plan.hostsOf(service).at(index)!;

const typed =
  (type: string) =>
  (resource: Resource): boolean =>
    resource.type.endsWith(`:${type}`);

/** The first that a test finds of it, and no other. */
function first(broken: Broken, picks: (resource: Resource) => boolean): (r: Resource) => boolean {
  const found = broken.stack.find(picks);
  return (resource) => resource === found;
}

/** Takes the last item of a list away: `a,b,c` after some words. */
const withoutLast =
  (before: RegExp, separator = ",") =>
  (text: string): string =>
    text.replace(
      new RegExp(`(${before.source})(.*)`, before.flags),
      (_, words: string, list: string) =>
        words + list.slice(0, list.trimEnd().lastIndexOf(separator)),
    );

/** Changes the section of haproxy.cfg that Keystone or another is behind. */
const inSection =
  (name: string, change: (section: string) => string) =>
  (text: string): string =>
    text.replace(new RegExp(`^listen ${name}\\n(?:    .*\\n)+`, "m"), change);

const option =
  (name: string, value: string) =>
  (list: readonly string[]): string[] =>
    list.map((each) => (each.startsWith(`${name}=`) ? `${name}=${value}` : each));

/** Has hosts share a failure domain, and leaves the others where they are. */
function together(broken: Broken, hosts: readonly string[]): void {
  broken.props(typed("Stack"), (props) => ({
    ...props,
    hosts: Object.fromEntries(
      Object.entries(props.hosts as Record<string, object>).map(([name, host]) => [
        name,
        hosts.includes(name) ? { ...host, failureDomain: "one-rack" } : host,
      ]),
    ),
  }));
}

const majority = (hosts: readonly string[]): readonly string[] =>
  hosts.slice(0, Math.floor(hosts.length / 2) + 1);

const monitors = (broken: Broken): string[] =>
  /mon_initial_members = (.*)/.exec(broken.plan.file(CEPH)[0]!.content)![1]!.split(",");

const gateways = (broken: Broken): string[] =>
  broken.plan
    .stepsOf("ovn-chassis", "start")
    .filter(({ text }) => text.includes("enable-chassis-as-gw"))
    .map(({ host }) => host);

/** The secrets that a host, or each, is given. */
function stores(
  broken: Broken,
  change: (store: Record<string, { value: string; version: number }>) => unknown,
  host?: string,
): void {
  broken.props(
    ({ name }) => (host ? name === `base-secrets-${host}` : name.startsWith("base-secrets-")),
    (props) => {
      const store = JSON.parse(props.stdin as string) as Record<
        string,
        { value: string; version: number }
      >;
      change(store);
      return { ...props, stdin: JSON.stringify(store) };
    },
  );
}

function secret(broken: Broken, name: string): string {
  const { props } = broken.stack.find(
    (each) => each.name === `base-secrets-${on(broken, "mariadb")}`,
  )!;
  return (JSON.parse(props.stdin as string) as Record<string, { value: string }>)[name]!.value;
}

const isStep =
  (service: string, stage: string, host?: string) =>
  ({ step }: StepDocument): boolean =>
    step.service === service && step.stage === stage && (host === undefined || step.host === host);

/** A document that no other step depends on. */
const anInstall = (broken: Broken): string => `base-install-${broken.plan.hosts().at(-1)!}`;

const vip = (broken: Broken, side: string): string =>
  broken.plan.vips().find(({ id }) => id === `vip-${side}`)!.address;

/** A stack that may be outside of the lab, as far as rules can tell. */
export function asSite(broken: Broken): Broken {
  broken
    .remove(typed("Lab"))
    .file(KEYSTONE, (text) =>
      text.replace(/password_hash_rounds = \d+/, "password_hash_rounds = 13"),
    );
  return broken.stack.some(typed("EndpointV3"))
    ? broken.props(typed("EndpointV3"), (props) => ({
        ...props,
        url: (props.url as string).replace("http:", "https:"),
      }))
    : broken;
}

export const SEEDS: readonly Seed[] = [
  // Quorum
  {
    rule: "corosync-majority",
    what: "a controller less in the nodelist",
    breaks: (broken) => broken.file(COROSYNC, (text) => text.replace(/ {4}node \{[^}]*\}\n/, "")),
  },
  {
    rule: "corosync-majority",
    what: "a stranger in the nodelist",
    breaks: (broken) =>
      broken.file(COROSYNC, (text) => text.replace(/^ {8}name: .*$/m, "        name: stranger")),
  },
  {
    rule: "galera-majority",
    what: "a member less",
    breaks: (broken) => broken.file(GALERA, withoutLast(/wsrep_cluster_address = /)),
  },
  {
    rule: "rabbitmq-majority",
    what: "a node less",
    breaks: (broken) =>
      broken.file(RABBITMQ, (text) => text.replace(/cluster_formation.*nodes\.1 .*\n/, "")),
  },
  {
    rule: "ovn-majority",
    what: "a member less of the northbound database",
    needs: "guests",
    breaks: (broken) =>
      broken.file(OVN, (text) => text.replace(/(--ovn-northd-nb-db=\S+),\S+/, "$1")),
  },
  {
    rule: "ovn-joins-another",
    what: "a member that joins itself",
    needs: "guests",
    breaks: (broken) => {
      const host = on(broken, "ovn");
      broken.file(
        OVN,
        (text) =>
          text.replace(/(--db-sb-cluster-remote-addr=)\S+/, `$1${broken.plan.addressOf(host)!}`),
        host,
      );
    },
  },
  {
    rule: "ceph-majority",
    what: "a monitor less",
    needs: "guests",
    breaks: (broken) =>
      broken.file(CEPH, (text) =>
        withoutLast(/mon_host = /, ",[")(withoutLast(/mon_initial_members = /)(text)),
      ),
  },
  {
    rule: "ceph-copies",
    what: "writes that need all copies",
    needs: "guests",
    also: ["copies-spread"],
    breaks: (broken) => broken.param("ceph", "bootstrap", "min_size", () => 3),
  },
  {
    rule: "ceph-copies",
    what: "more copies than hosts",
    needs: "guests",
    breaks: (broken) => {
      const hosts = broken.plan.hostsOf("ceph").length;
      broken.param("ceph", "bootstrap", "size", () => hosts + 1);
    },
  },
  {
    rule: "ceph-two-at-least",
    what: "writes that one copy is enough for",
    needs: "guests",
    breaks: (broken) => broken.param("ceph", "bootstrap", "min_size", () => 1),
  },
  {
    rule: "minority-stops",
    what: "a minority that goes on",
    breaks: (broken) =>
      ["start", "bootstrap"].map((stage) =>
        broken.param("pacemaker", stage, "options", option("no-quorum-policy", "ignore")),
      ),
  },
  {
    rule: "rabbitmq-minority-pauses",
    what: "a minority that goes on",
    breaks: (broken) => broken.file(RABBITMQ, (text) => text.replace("pause_minority", "autoheal")),
  },
  {
    rule: "quorum-queues",
    what: "classic queues by default",
    breaks: (broken) =>
      broken.file(RABBITMQ, (text) =>
        text.replace("default_queue_type = quorum", "default_queue_type = classic"),
      ),
  },
  {
    rule: "quorum-queues",
    what: "classic queues of a service",
    needs: "guests",
    breaks: (broken) =>
      broken.file(NOVA, (text) =>
        text.replace("rabbit_quorum_queue = true", "rabbit_quorum_queue = false"),
      ),
  },
  {
    rule: "commits-on-disk",
    what: "commits that are in memory for a second",
    breaks: (broken) => broken.file(GALERA, (text) => text.replace(/(trx_commit = )1/, "$12")),
  },
  // Fencing, and what Pacemaker runs
  {
    rule: "fencing-enabled",
    what: "no fencing",
    breaks: (broken) =>
      broken.param("pacemaker", "bootstrap", "options", option("stonith-enabled", "false")),
  },
  {
    rule: "fencing-device-each",
    what: "a host without a device",
    breaks: (broken) =>
      broken.param("pacemaker", "bootstrap", "resources", (xml: string) =>
        xml.replace(/ {2}<primitive id="fence-[^]*?<\/primitive>\n/, ""),
      ),
  },
  {
    rule: "fencing-device-each",
    what: "a device without an address",
    breaks: (broken) =>
      broken.param("pacemaker", "bootstrap", "resources", (xml: string) =>
        xml.replace(/ *<nvpair id="fence-\S+" name="ip" .*\n/, ""),
      ),
  },
  {
    rule: "fencing-elsewhere",
    what: "a host that may fence itself",
    breaks: (broken) =>
      broken.param("pacemaker", "bootstrap", "constraints", (xml: string) =>
        xml.replace(/ *<rsc_location .*\n/, ""),
      ),
  },
  {
    rule: "vip-with-haproxy",
    what: "a virtual IP anywhere",
    breaks: (broken) =>
      broken.param("pacemaker", "bootstrap", "constraints", (xml: string) =>
        xml.replace(/ *<rsc_colocation .*\n/, ""),
      ),
  },
  {
    rule: "cluster-runs-what-it-must",
    what: "no Galera",
    breaks: (broken) =>
      broken.param("pacemaker", "bootstrap", "resources", (xml: string) =>
        xml.replace(/ {2}<clone id="galera-clone">[^]*?<\/clone>\n/, ""),
      ),
  },
  {
    rule: "cluster-monitors",
    what: "a virtual IP that is not looked after",
    breaks: (broken) =>
      broken.param("pacemaker", "bootstrap", "resources", (xml: string) =>
        xml.replace(/ *<op id="vip-public-monitor.*\n/, ""),
      ),
  },
  // Failure domains
  {
    rule: "controllers-spread",
    what: "a rack with a majority of the controllers",
    also: SPREAD,
    breaks: (broken) => {
      together(broken, majority(broken.plan.hostsOf("pacemaker")));
    },
  },
  {
    rule: "monitors-spread",
    what: "a rack with a majority of the monitors",
    needs: "guests",
    also: SPREAD,
    breaks: (broken) => {
      together(broken, majority(monitors(broken)));
    },
  },
  {
    rule: "copies-spread",
    what: "a rack with more copies than can be spared",
    needs: "guests",
    also: SPREAD,
    breaks: (broken) => {
      together(broken, broken.plan.hostsOf("ceph").slice(-2));
    },
  },
  {
    rule: "gateways-spread",
    what: "a rack with all gateways",
    needs: "guests",
    also: SPREAD,
    breaks: (broken) => {
      together(broken, gateways(broken));
    },
  },
  // No service on a single host
  {
    rule: "service-on-several-hosts",
    what: "Keystone on one host",
    breaks: (broken) => {
      const host = on(broken, "keystone");
      broken.remove(
        ({ name }) =>
          /^keystone-(install|configure|bootstrap|start|verify)-/.test(name) &&
          !name.endsWith(`-${host}`),
      );
    },
  },
  {
    rule: "gateways-several",
    what: "one gateway",
    needs: "guests",
    breaks: (broken) => {
      const [keep] = gateways(broken);
      broken.documents(
        (document) => isStep("ovn-chassis", "start")(document) && document.step.host !== keep,
        (document) => ({
          ...document,
          params: {
            ...document.params,
            external_ids: option("ovn-cms-options", "")(document.params!.external_ids as string[]),
          },
        }),
      );
    },
  },
  {
    rule: "bootstrap-on-every-host",
    what: "a bootstrap that one host is not asked for",
    breaks: (broken) =>
      broken.remove(({ name }) => name === `keystone-bootstrap-${on(broken, "keystone", -1)}`),
  },
  {
    rule: "endpoint-on-vip",
    what: "an endpoint at a host",
    needs: "guests",
    breaks: (broken) => {
      const address = broken.plan.addressOf(on(broken, "haproxy"))!;
      broken.props(first(broken, typed("EndpointV3")), (props) => ({
        ...props,
        url: (props.url as string).replace(/\d+(\.\d+){3}/, address),
      }));
    },
  },
  {
    rule: "clients-use-the-vip",
    what: "a service with the database of one host",
    breaks: (broken) => {
      const address = broken.plan.addressOf(on(broken, "mariadb"))!;
      broken.file(KEYSTONE, (text) => text.replace(/(connection = .*@)[\d.]+/, `$1${address}`));
    },
  },
  {
    rule: "clients-know-every-member",
    what: "a service that knows a cache less",
    breaks: (broken) => broken.file(KEYSTONE, withoutLast(/memcache_servers = /)),
  },
  {
    rule: "clients-know-every-member",
    what: "a service that knows a broker less",
    needs: "guests",
    breaks: (broken) => broken.file("/etc/cinder/cinder.conf", withoutLast(/transport_url = /)),
  },
  {
    rule: "clients-know-every-member",
    what: "chassis that know one database",
    needs: "guests",
    breaks: (broken) =>
      broken.param("ovn-chassis", "start", "external_ids", (list: string[]) =>
        list.map((each) => (each.startsWith("ovn-remote=") ? each.replace(/,.*/, "") : each)),
      ),
  },
  {
    rule: "cluster-files-alike",
    what: "another haproxy.cfg on one controller",
    breaks: (broken) =>
      broken.file(HAPROXY, (text) => text.replace("retries 3", "retries 4"), on(broken, "haproxy")),
  },
  {
    rule: "cluster-files-alike",
    what: "another token key on one controller",
    breaks: (broken) =>
      broken.documents(isStep("keystone", "configure", on(broken, "keystone")), (document) => ({
        ...document,
        files: Object.fromEntries(
          Object.entries(document.files!).map(([path, file]) => [
            path,
            path === "/etc/keystone/fernet-keys/0" ? { ...file, content: "" } : file,
          ]),
        ),
      })),
  },
  {
    rule: "cluster-files-alike",
    what: "one controller tells Pacemaker something else",
    breaks: (broken) =>
      broken.documents(isStep("pacemaker", "bootstrap", on(broken, "pacemaker")), (document) => ({
        ...document,
        params: { ...document.params, rsc_defaults: "<rsc_defaults/>" },
      })),
  },
  {
    rule: "shared-services-inside",
    what: "a cache that listens everywhere",
    breaks: (broken) =>
      broken.file(
        "/etc/memcached.conf",
        (text) => text.replace(/-l .*/, "-l 0.0.0.0"),
        on(broken, "memcached"),
      ),
  },
  {
    rule: "daemons-come-back",
    what: "a unit that stays down",
    breaks: (broken) =>
      broken.file("/etc/systemd/system/galera-check.service", (text) =>
        text.replace("Restart=always", "Restart=no"),
      ),
  },
  // HAProxy
  {
    rule: "backend-checked",
    what: "a server without a check",
    breaks: (broken) =>
      broken.file(
        HAPROXY,
        inSection("keystone", (text) => text.replace(" check\n", "\n")),
      ),
  },
  {
    rule: "backend-asked",
    what: "a check that any answer is good for",
    breaks: (broken) =>
      broken.file(
        HAPROXY,
        inSection("keystone", (text) => text.replace(/ *http-check expect.*\n/, "")),
      ),
  },
  {
    rule: "backend-on-several-hosts",
    what: "a frontend with a server less",
    breaks: (broken) =>
      broken.file(
        HAPROXY,
        inSection("keystone", (text) => text.replace(/ *server .*\n/, "")),
      ),
  },
  {
    rule: "backend-is-the-host",
    what: "two servers that are one host",
    breaks: (broken) => {
      const [one, other] = [0, 1].map((i) => broken.plan.addressOf(on(broken, "haproxy", i))!);
      broken.file(
        HAPROXY,
        inSection("keystone", (text) => text.replace(`${one!}:`, `${other!}:`)),
      );
    },
  },
  {
    rule: "one-writer",
    what: "two writers",
    breaks: (broken) =>
      broken.file(
        HAPROXY,
        inSection("mariadb", (text) => text.replace(" backup\n", "\n")),
      ),
  },
  {
    rule: "dead-sessions-are-cut",
    what: "sessions that outlive their server",
    breaks: (broken) =>
      broken.file(HAPROXY, (text) => text.replace(" on-marked-down shutdown-sessions", "")),
  },
  {
    rule: "haproxy-timeouts",
    what: "no end of a connect",
    breaks: (broken) => broken.file(HAPROXY, (text) => text.replace(/ *timeout connect .*\n/, "")),
  },
  {
    rule: "frontend-on-vips",
    what: "a frontend on every address",
    breaks: (broken) =>
      broken.file(
        HAPROXY,
        inSection("keystone", (text) => text.replace(/bind [\d.]+/, "bind 0.0.0.0")),
      ),
  },
  {
    rule: "binds-before-the-vip-comes",
    what: "a kernel that refuses",
    breaks: (broken) =>
      broken.file("/etc/sysctl.d/90-openstack-ha.conf", (text) =>
        text.replace("ip_nonlocal_bind = 1", "ip_nonlocal_bind = 0"),
      ),
  },
  // Addresses
  {
    rule: "vip-in-its-network",
    what: "the public address in no network of ours",
    breaks: (broken) => broken.everywhere(vip(broken, "public"), "192.0.2.10"),
  },
  {
    rule: "vip-in-its-network",
    what: "an address with another prefix than its network",
    breaks: (broken) =>
      broken.param("pacemaker", "bootstrap", "resources", (xml: string) =>
        xml.replace(/(name="cidr_netmask" value=")\d+/, "$131"),
      ),
  },
  {
    rule: "address-unique",
    what: "the internal VIP is a host's address",
    breaks: (broken) =>
      broken.everywhere(
        vip(broken, "internal"),
        broken.plan.machines().at(-1)!.addresses.management!,
      ),
  },
  {
    rule: "address-unique",
    what: "two management controllers with one address",
    breaks: (broken) => {
      const [one, other] = broken.plan.machines();
      broken.named(one!.resource.name, (props) => {
        const { LAB_SPEC: spec } = props.environment as { LAB_SPEC: string };
        return {
          ...props,
          environment: { LAB_SPEC: spec.replace(one!.bmc.address, other!.bmc.address) },
        };
      });
    },
  },
  {
    rule: "pool-is-free",
    what: "a pool with the public VIP in it",
    needs: "content",
    breaks: (broken) => {
      const address = vip(broken, "public");
      broken.props(typed("Subnet"), (props) => ({
        ...props,
        allocationPools: [{ start: address, end: address }],
      }));
    },
  },
  {
    rule: "no-dhcp-outside",
    what: "DHCP on the external network",
    needs: "content",
    breaks: (broken) => broken.props(typed("Subnet"), (props) => ({ ...props, enableDhcp: true })),
  },
  // Steps
  {
    rule: "step-bounded",
    what: "a step without an end in the engine",
    breaks: (broken) =>
      broken.change(
        ({ name }) => name === anInstall(broken),
        (step) => ({ ...step, seconds: { ...step.seconds, update: 0 } }),
      ),
  },
  {
    rule: "step-bounded",
    what: "a step without an end on its host",
    breaks: (broken) =>
      broken.documents(isStep("base", "install", broken.plan.hosts().at(-1)), (document) => ({
        ...document,
        step: { service: "base", stage: "install", host: document.step.host },
      })),
  },
  {
    rule: "step-bounded",
    what: "a step that the engine gives up before its host does",
    breaks: (broken) =>
      broken.change(
        ({ name }) => name === anInstall(broken),
        (step) => ({ ...step, seconds: { ...step.seconds, create: 60 } }),
      ),
  },
  {
    rule: "command-line-is-bare",
    what: "a command of its own",
    breaks: (broken) =>
      broken.named(anInstall(broken), (props) => ({ ...props, create: "apt-get install curl" })),
  },
  {
    rule: "command-line-is-bare",
    what: "an environment",
    breaks: (broken) =>
      broken.named(anInstall(broken), (props) => ({ ...props, environment: { A: "b" } })),
  },
  {
    rule: "command-line-is-bare",
    what: "its former output in its environment",
    breaks: (broken) =>
      broken.named(anInstall(broken), (props) => ({ ...props, addPreviousOutputInEnv: true })),
  },
  {
    rule: "step-runs-in-place",
    what: "triggers",
    breaks: (broken) =>
      broken.named(anInstall(broken), (props) => ({ ...props, triggers: ["always"] })),
  },
  {
    rule: "step-runs-in-place",
    what: "a command to undo it",
    breaks: (broken) =>
      broken.named(anInstall(broken), (props) => ({ ...props, delete: "apt-get purge curl" })),
  },
  {
    rule: "host-key-known",
    what: "a host that anyone may be",
    breaks: (broken) =>
      broken.named(anInstall(broken), (props) => ({
        ...props,
        connection: { ...(props.connection as object), hostKey: "" },
      })),
  },
  {
    rule: "start-follows-configuration",
    what: "a start step that does not know of a change",
    breaks: (broken) =>
      broken.named(`haproxy-start-${on(broken, "haproxy")}`, (props) => ({
        ...props,
        stdin: (props.stdin as string).replace(/"configuration": "[^"]*"/, '"configuration": "0"'),
      })),
  },
  {
    rule: "parser-asked",
    what: "a file that no parser is asked about",
    breaks: (broken) =>
      broken.documents(isStep("haproxy", "configure"), (document) => ({
        ...document,
        files: { [HAPROXY]: { content: document.files![HAPROXY]!.content } },
      })),
  },
  // Secrets
  {
    rule: "secret-nowhere-else",
    what: "a password in a document",
    breaks: (broken) =>
      broken.documents(isStep("base", "install", broken.plan.hosts().at(-1)), (document) => ({
        ...document,
        script: `first\nmysql -p${secret(broken, "keystone-db")} -e ...`.replace("-p", "-p="),
      })),
  },
  {
    rule: "secret-nowhere-else",
    what: "a password in an environment",
    breaks: (broken) =>
      broken.named("lab-machine", (props) => ({
        ...props,
        environment: {
          ...(props.environment as object),
          BMC: `admin:${secret(broken, "pacemaker-bmc")}@`,
        },
      })),
  },
  {
    rule: "secret-nowhere-else",
    what: "a key in a local command",
    breaks: (broken) =>
      broken.named("lab-machine", (props) => ({
        ...props,
        create: `echo ${secret(broken, "rabbitmq-cookie")}`,
      })),
  },
  {
    rule: "secret-by-reference",
    what: "a password in a URL",
    breaks: (broken) =>
      broken.file(KEYSTONE, (text) => text.replace("${secret:keystone-db}", "letmein")),
  },
  {
    rule: "secret-by-reference",
    what: "a password in an option",
    breaks: (broken) =>
      broken.file(RABBITMQ, (text) => text.replace("${secret:rabbitmq-openstack}", "guest")),
  },
  {
    rule: "secret-is-on-its-host",
    what: "a secret that a host is not given",
    breaks: (broken) => {
      stores(
        broken,
        (store) => Reflect.deleteProperty(store, "corosync-authkey"),
        on(broken, "pacemaker"),
      );
    },
  },
  {
    rule: "secret-is-on-its-host",
    what: "a secret that a step does not declare",
    breaks: (broken) =>
      broken.documents(isStep("pacemaker", "configure", on(broken, "pacemaker")), (document) => ({
        ...document,
        secrets: { "pacemaker-bmc": document.secrets!["pacemaker-bmc"]! },
      })),
  },
  {
    rule: "secret-strong",
    what: "a short password",
    breaks: (broken) => {
      stores(broken, (store) => {
        if (store["rabbitmq-cookie"]) store["rabbitmq-cookie"].value = "short";
      });
    },
  },
  {
    rule: "secret-strong",
    what: "one password for two",
    breaks: (broken) => {
      stores(broken, (store) => {
        if (store["keystone-db"]) store["keystone-db"].value = store["keystone-admin"]!.value;
      });
    },
  },
  {
    rule: "secret-file-closed",
    what: "a password that all users of a host can read",
    breaks: (broken) =>
      broken.documents(isStep("pacemaker", "configure"), (document) => ({
        ...document,
        files: Object.fromEntries(
          Object.entries(document.files!).map(([path, file]) => [
            path,
            path === "/etc/corosync/authkey" ? { ...file, mode: "0644" } : file,
          ]),
        ),
      })),
  },
  // Outside the lab
  {
    rule: "tls-outside-the-lab",
    what: "endpoints in clear",
    needs: "site",
    breaks: (broken) =>
      broken.props(typed("EndpointV3"), (props) => ({
        ...props,
        url: (props.url as string).replace("https:", "http:"),
      })),
  },
  {
    rule: "certificate-in-date",
    what: "a certificate of the year before last",
    breaks: (broken) => certified(broken, fixture("tls/expired.pem")),
  },
  {
    rule: "certificate-lasts",
    what: "a certificate for ten days more",
    breaks: (broken) => certified(broken, selfSigned(10)),
  },
  {
    rule: "data-protected-outside-the-lab",
    what: "a database that can be deleted",
    needs: "site",
    breaks: (broken) =>
      broken.change(
        ({ name }) => name === `host-${on(broken, "mariadb")}`,
        (host) => ({ ...host, protect: false }),
      ),
  },
  {
    rule: "hashes-outside-the-lab",
    what: "cheap hashes",
    needs: "site",
    breaks: (broken) => broken.file(KEYSTONE, (text) => text.replace(/(hash_rounds = )\d+/, "$18")),
  },
  {
    rule: "passphrase-outside-the-lab",
    what: "a passphrase that was made",
    needs: "site",
    passphrase: "made by tools/env",
    breaks: (broken) => broken,
  },
];
