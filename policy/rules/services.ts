import { SERVICES } from "../../catalogue";
import { type FileOnHost, type Plan, unique } from "../plan";
import { addressesIn, readIni, readProperties } from "../readers";
import { expects, type Finding, onHost, type Rule } from "../rule";
import { gateways } from "./spread";

/** That no service is one host's, and how services find each other. */

const ENDPOINT = "openstack:identity/endpointV3:EndpointV3";
/** Files that all hosts that get them have to agree on. */
const ALIKE = [
  "/etc/ceph/ceph.conf",
  "/etc/ceph/ceph.mon.keyring",
  "/etc/corosync/authkey",
  "/etc/corosync/corosync.conf",
  "/etc/haproxy/certs/public.pem",
  "/etc/haproxy/haproxy.cfg",
  "/etc/keystone/keystone.conf",
  "/etc/neutron/plugins/ml2/ml2_conf.ini",
  "/var/lib/rabbitmq/.erlang.cookie",
];
/** And those below these. */
const ALIKE_BELOW = ["/etc/keystone/fernet-keys/", "/etc/keystone/credential-keys/"];

function hostOfUrl(url: string): string {
  return /^[a-z+]+:\/\/(?:[^@/]*@)?([^:/?]+)/.exec(url)?.[1] ?? "";
}

/** `[section] option` and value of each option of that name, in any section. */
function options(file: FileOnHost, name: RegExp): { option: string; value: string }[] {
  return [...readIni(file.content)].flatMap(([section, values]) =>
    [...values]
      .filter(([key]) => name.test(key))
      .map(([key, value]) => ({ option: `${key} of [${section}] in ${file.path}`, value })),
  );
}

/** That a list of addresses has all the hosts of a service, and no other. */
function knowsAll(
  plan: Plan,
  service: string,
  where: string,
  value: string,
): Omit<Finding, "host" | "at">[] {
  const wanted = plan
    .hostsOf(service)
    .flatMap((host) => plan.addressOf(host) ?? [])
    .sort();
  const found = [...unique(addressesIn(value))].sort();
  return wanted.join() === found.join()
    ? []
    : [{ where, wanted: wanted.join(", "), found: found.join(", ") || "none" }];
}

export const services: readonly Rule[] = [
  {
    name: "service-on-several-hosts",
    severity: "mandatory",
    demand: "Every service that is not a host's own runs on two hosts or more.",
    reason: "It is gone with its only host.",
    fix: "give its role to more hosts",
    find: (plan) =>
      SERVICES.filter(({ mode }) => mode !== "per host").flatMap(({ name }) => {
        const hosts = plan.hostsOf(name);
        return hosts.length === 1
          ? [
              {
                where: `the service ${name}`,
                wanted: "two hosts or more",
                found: hosts[0]!,
                at: plan.steps.find(({ step }) => step.service === name)?.resource,
              },
            ]
          : [];
      }),
  },
  {
    name: "gateways-several",
    severity: "mandatory",
    demand: "Two hosts or more carry the guests' packets to the outside.",
    reason: "Without another gateway no router outlives the loss of its host.",
    fix: "give the role network to two hosts or more",
    find: (plan) => {
      const chassis = plan.stepsOf("ovn-chassis", "start");
      const hosts = gateways(plan);
      return chassis.length === 0 || hosts.length >= 2
        ? []
        : [
            {
              where: "enable-chassis-as-gw of OVN's chassis",
              wanted: "two hosts or more",
              found: hosts.join(", ") || "none",
              at: chassis[0]!.resource,
            },
          ];
    },
  },
  {
    name: "bootstrap-on-every-host",
    severity: "mandatory",
    demand: "What is done once for a cluster is asked of every host of the service.",
    reason: "The one host that is asked can be the one that is down.",
    fix: "make the bootstrap a stage of the service, which has a step on every host that carries it",
    find: (plan) =>
      plan.services().flatMap((name) => {
        const asked = plan.stepsOf(name, "bootstrap").map(({ host }) => host);
        const missing = plan.hostsOf(name).filter((host) => !asked.includes(host));
        return asked.length === 0 || missing.length === 0
          ? []
          : [
              {
                where: `the bootstrap of ${name}`,
                wanted: `a step on ${missing.join(", ")}`,
                found: "none",
                at: plan.stepsOf(name, "bootstrap")[0]!.resource,
              },
            ];
      }),
  },
  {
    name: "endpoint-on-vip",
    severity: "mandatory",
    demand: "Every endpoint that Keystone lists is at the virtual IP of its interface.",
    reason: "Clients that are sent to one host fail with it.",
    fix: "register the endpoint at vips.internal or vips.public",
    find: (plan) =>
      plan.ofType(ENDPOINT).flatMap((endpoint) => {
        const { interface: side, url } = endpoint.props as { interface?: string; url?: string };
        // Not known in a preview without a seed: its provider has no password.
        if (url === undefined || side === undefined) return [];
        const wanted = plan.vips().find(({ id }) => id === `vip-${side}`)?.address;
        return (side === "internal" || side === "public") && plan.leadsTo(side, hostOfUrl(url))
          ? []
          : [
              {
                where: endpoint.name,
                wanted: wanted ?? `the address of vip-${side}`,
                found: hostOfUrl(url),
                at: endpoint,
              },
            ];
      }),
  },
  {
    name: "clients-use-the-vip",
    severity: "mandatory",
    demand: "Services reach the database and the Identity API through a virtual IP.",
    reason: "A service that knows one host's address stops with that host.",
    fix: "use databaseUrl and keystoneUrl of components/openstack/oslo.ts",
    find: (plan) => {
      const vips = plan.vips().map(({ address }) => address);
      const known = new Map<string, boolean>();
      const leads = (host: string): boolean => {
        const found = known.get(host) ?? (vips.includes(host) || plan.leadsTo("public", host));
        known.set(host, found);
        return found;
      };
      return plan.allFiles().flatMap((file) =>
        options(file, /^(auth_url|connection|www_authenticate_uri)$/)
          .filter(({ value }) => /^(https?|mysql)\b/.test(value))
          .filter(({ value }) => !leads(hostOfUrl(value)))
          .map(({ option, value }) => ({
            ...onHost(file),
            where: option,
            wanted: `one of ${vips.join(", ")}`,
            found: hostOfUrl(value),
          })),
      );
    },
  },
  {
    name: "clients-know-every-member",
    severity: "mandatory",
    demand: "Services know every broker, every cache and every member of OVN's databases.",
    reason: "A client that knows one of three has none when that one dies.",
    fix: "list them all: transportUrl, memcachedServers and ovnDatabase do",
    find: (plan) => [
      ...plan.allFiles().flatMap((file) =>
        [
          ...options(file, /^transport_url$/).map((each) => ({ ...each, service: "rabbitmq" })),
          ...options(file, /^memcached?_servers$/).map((each) => ({
            ...each,
            service: "memcached",
          })),
        ].flatMap(({ option, value, service }) =>
          knowsAll(plan, service, option, value).map((finding) => ({
            ...finding,
            ...onHost(file),
          })),
        ),
      ),
      ...plan
        .stepsOf("ovn-chassis", "start")
        .flatMap(({ host, params, resource }) =>
          knowsAll(
            plan,
            "ovn",
            "ovn-remote of OVN's chassis",
            (params?.external_ids as readonly string[]).find((id) =>
              id.startsWith("ovn-remote="),
            ) ?? "",
          ).map((finding) => ({ ...finding, host, at: resource })),
        ),
    ],
  },
  {
    name: "cluster-files-alike",
    severity: "mandatory",
    demand: "What a cluster has to agree on is the same on all its hosts.",
    reason: "Members with other keys or other lists of members do not form one cluster.",
    fix: "let the file depend on the cloud alone, not on the host",
    find: (plan) => [
      ...unique(plan.allFiles().map(({ path }) => path))
        .filter(
          (path) => ALIKE.includes(path) || ALIKE_BELOW.some((below) => path.startsWith(below)),
        )
        .flatMap((path) => {
          const files = plan.file(path);
          return differing(
            path,
            files.map(({ content, host }) => [host, content]),
          ).map((finding) => ({ ...finding, at: files[0]!.step.resource }));
        }),
      ...differing(
        "what Pacemaker is told",
        plan
          .stepsOf("pacemaker", "bootstrap")
          .map(({ host, params }) => [host, JSON.stringify(params)]),
      ),
    ],
  },
  {
    name: "shared-services-inside",
    severity: "mandatory",
    demand:
      "Database, message bus and cache listen on their host's own management address, and nowhere else.",
    reason:
      "On every address they would be open to the external network, and in HAProxy's way on the virtual IPs.",
    fix: "bind them to the host's management address",
    find: (plan) =>
      LISTENERS.flatMap(({ path, address }) =>
        plan.file(path).flatMap((file) => {
          const wanted = plan.addressOf(file.host);
          const found = address(file.content) ?? "every address";
          return found === wanted
            ? []
            : [
                {
                  where: `the listener in ${path} on ${file.host}`,
                  wanted: wanted ?? "the host's address",
                  found,
                  at: file.step.resource,
                },
              ];
        }),
      ),
  },
  {
    name: "daemons-come-back",
    severity: "mandatory",
    demand: "A unit that this program writes is restarted by systemd whatever ended it.",
    reason: "What died at night stays down until somebody looks.",
    fix: "add Restart=always to the unit",
    find: (plan) =>
      plan
        .allFiles()
        .filter(({ path }) => /^\/etc\/systemd\/system\/[^/]+\.service$/.test(path))
        .flatMap((file) =>
          expects(
            { ...onHost(file), where: `Restart of ${file.path}` },
            "always",
            readIni(file.content).get("Service")?.get("Restart"),
          ),
        ),
  },
];

/** Files in which the shared services are told where to listen. */
const LISTENERS: readonly {
  readonly path: string;
  readonly address: (content: string) => string | undefined;
}[] = [
  {
    path: "/etc/mysql/mariadb.conf.d/90-openstack-ha.cnf",
    address: (content) => readIni(content).get("mariadb")?.get("bind_address"),
  },
  {
    path: "/etc/rabbitmq/rabbitmq.conf",
    address: (content) => readProperties(content).get("listeners.tcp.1")?.replace(/:\d+$/, ""),
  },
  { path: "/etc/memcached.conf", address: (content) => /^-l\s+(\S+)/m.exec(content)?.[1] },
];

function differing(where: string, texts: readonly (readonly [string, string])[]): Finding[] {
  const hosts = new Map<string, string[]>();
  for (const [host, text] of texts) hosts.set(text, [...(hosts.get(text) ?? []), host]);
  return hosts.size <= 1
    ? []
    : [
        {
          where,
          wanted: "one text",
          found: [...hosts.values()].map((list) => list.join(", ")).join(" unlike "),
        },
      ];
}
