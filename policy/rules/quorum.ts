import { type FileOnHost, type Plan, readOptions, unique } from "../plan";
import { addressesIn, readCorosyncNodes, readIni, readProperties } from "../readers";
import { expects, type Finding, onHost, type Rule } from "../rule";

/** Who decides together, and what the smaller part of a cluster does. */

/** The least that outlives the loss of one. */
const LEAST = 3;
/** Corosync's own limit for a cluster, and odd. */
const MOST = 15;

interface Members {
  /** Who is named, by address or by name. */
  readonly named: readonly string[];
  /** Who gets the service's steps, in the same terms. */
  readonly planned: readonly string[];
}

/** That the members are an odd number of three or more, and those that are planned. */
function members(
  where: string,
  { host, at }: Pick<Finding, "host" | "at">,
  { named, planned }: Members,
): Finding[] {
  const place = { where, at, ...(host === undefined ? {} : { host }) };
  if (named.length % 2 === 0 || named.length < LEAST || named.length > MOST) {
    return [
      {
        ...place,
        wanted: `an odd number of members from ${LEAST} to ${MOST}`,
        found: `${named.length} (${named.join(", ")})`,
      },
    ];
  }
  const missing = planned.filter((each) => !named.includes(each));
  const strange = named.filter((each) => !planned.includes(each));
  return missing.length + strange.length === 0
    ? []
    : [{ ...place, wanted: [...planned].sort().join(", "), found: [...named].sort().join(", ") }];
}

function addresses(plan: Plan, service: string): string[] {
  return plan.hostsOf(service).flatMap((host) => plan.addressOf(host) ?? []);
}

/** The same question to a file on each host that gets it. */
function each(
  files: readonly FileOnHost[],
  ask: (file: FileOnHost) => readonly Finding[],
): Finding[] {
  return files.flatMap(ask);
}

const GALERA = "/etc/mysql/mariadb.conf.d/90-openstack-ha.cnf";
const RABBITMQ = "/etc/rabbitmq/rabbitmq.conf";
const CEPH = "/etc/ceph/ceph.conf";

export const quorum: readonly Rule[] = [
  {
    name: "corosync-majority",
    severity: "mandatory",
    demand: "Corosync's nodes are an odd number of controllers, three or more, and all of them.",
    reason:
      "With two the loss of one ends the majority; an even number outlives no more losses than one less.",
    fix: "give the role controller to 3, 5 or 7 hosts",
    find: (plan) =>
      each(plan.file("/etc/corosync/corosync.conf"), (file) =>
        members("the nodelist of corosync.conf", onHost(file), {
          named: readCorosyncNodes(file.content).map(({ name }) => name),
          planned: plan.hostsOf("pacemaker"),
        }),
      ),
  },
  {
    name: "galera-majority",
    severity: "mandatory",
    demand:
      "Galera's cluster address names an odd number of members, three or more, and all of them.",
    reason: "A member that knows not all others founds a database of its own, or stops with them.",
    fix: "name every host that carries MariaDB in wsrep_cluster_address",
    find: (plan) =>
      each(plan.file(GALERA), (file) =>
        members("wsrep_cluster_address of MariaDB", onHost(file), {
          named: addressesIn(
            readIni(file.content).get("mariadb")?.get("wsrep_cluster_address") ?? "",
          ),
          planned: addresses(plan, "mariadb"),
        }),
      ),
  },
  {
    name: "rabbitmq-majority",
    severity: "mandatory",
    demand:
      "RabbitMQ forms its cluster from an odd number of nodes, three or more, and all of them.",
    reason: "Quorum queues need a majority of their members to take a message.",
    fix: "name every host that carries RabbitMQ in cluster_formation.classic_config.nodes",
    find: (plan) =>
      each(plan.file(RABBITMQ), (file) =>
        members("the nodes of rabbitmq.conf", onHost(file), {
          named: [...readProperties(file.content)]
            .filter(([key]) => key.startsWith("cluster_formation.classic_config.nodes."))
            .map(([, node]) => node.replace(/^.*@/, "")),
          planned: plan.hostsOf("rabbitmq"),
        }),
      ),
  },
  {
    name: "ovn-majority",
    severity: "mandatory",
    demand:
      "OVN's two databases have an odd number of Raft members, three or more, and all of them.",
    reason: "Without a majority nothing of the guests' networks can be changed.",
    fix: "name every host that carries OVN in --ovn-northd-nb-db and --ovn-northd-sb-db",
    find: (plan) =>
      each(plan.file("/etc/default/ovn-central"), (file) =>
        ["nb", "sb"].flatMap((database) =>
          members(`the ${database} database of ovn-central`, onHost(file), {
            named: addressesIn(
              new RegExp(`--ovn-northd-${database}-db=(\\S+?)[\\s"]`).exec(file.content)?.[1] ?? "",
            ),
            planned: addresses(plan, "ovn"),
          }),
        ),
      ),
  },
  {
    name: "ovn-joins-another",
    severity: "mandatory",
    demand: "A member of OVN's databases joins another one, never itself.",
    reason: "A member whose database is gone would found a cluster of its own at its next start.",
    fix: "name another member in --db-nb-cluster-remote-addr and --db-sb-cluster-remote-addr",
    find: (plan) =>
      each(plan.file("/etc/default/ovn-central"), (file) =>
        ["nb", "sb"].flatMap((database) => {
          const option = `--db-${database}-cluster-remote-addr`;
          const remote = addressesIn(
            new RegExp(`${option}=([^\\s"]*)`).exec(file.content)?.[1] ?? "",
          )[0];
          const others = addresses(plan, "ovn").filter(
            (each) => each !== plan.addressOf(file.host),
          );
          return remote !== undefined && others.includes(remote)
            ? []
            : [
                {
                  where: `${option} of ovn-central on ${file.host}`,
                  wanted: `one of ${others.join(", ")}`,
                  found: remote ?? "none",
                  at: file.step.resource,
                },
              ];
        }),
      ),
  },
  {
    name: "ceph-majority",
    severity: "mandatory",
    demand: "Ceph has an odd number of monitors, three or more, each on a storage host.",
    reason: "Without a majority of the monitors no volume and no image can be opened.",
    fix: "give the role storage to three hosts or more",
    find: (plan) =>
      each(plan.file(CEPH), (file) => {
        const global = readIni(file.content).get("global");
        const named = (global?.get("mon_initial_members") ?? "").split(",").filter(Boolean);
        const hosts = unique(addressesIn(global?.get("mon_host") ?? ""));
        const carriers = plan.hostsOf("ceph");
        // Not every storage host has a monitor.
        const planned = carriers.filter((host) => named.includes(host));
        return [
          ...members("mon_initial_members of ceph.conf", onHost(file), { named, planned }),
          ...(hosts.length === named.length
            ? []
            : [
                {
                  ...onHost(file),
                  where: "mon_host of ceph.conf",
                  wanted: `an address for each of ${named.length} monitors`,
                  found: `${hosts.length}`,
                },
              ]),
        ];
      }),
  },
  {
    name: "ceph-copies",
    severity: "mandatory",
    demand:
      "Ceph keeps no more copies than there are storage hosts, and takes writes with one less.",
    reason:
      "Each copy is on another host; if all have to be there, the loss of one host stops all writes.",
    fix: "set ceph.replicas to the number of storage hosts at most, and ceph.minReplicas to less",
    find: (plan) =>
      plan.stepsOf("ceph", "bootstrap").flatMap(({ host, params = {}, resource }) => {
        const { min_size: least, size } = params as { min_size: number; size: number };
        const hosts = plan.hostsOf("ceph").length;
        const place = { where: "the pools of Ceph", host, at: resource };
        if (size > hosts) {
          return [{ ...place, wanted: `${hosts} copies at most`, found: `${size}` }];
        }
        return least < size
          ? []
          : [
              {
                ...place,
                wanted: `writes with ${size - 1} copies or less of ${size}`,
                found: `${least}`,
              },
            ];
      }),
  },
  {
    name: "ceph-two-at-least",
    severity: "advisory",
    demand: "A write to Ceph is on two hosts before it counts as done.",
    reason:
      "With one copy that counts, what was confirmed is lost with that host. A cloud for trial may accept it.",
    fix: "set ceph.replicas to 3 and ceph.minReplicas to 2",
    find: (plan) =>
      plan.stepsOf("ceph", "bootstrap").flatMap(({ host, params = {}, resource }) =>
        Number(params.min_size) >= 2
          ? []
          : [
              {
                where: "the pools of Ceph",
                host,
                wanted: "2 copies or more for a write",
                found: String(params.min_size),
                at: resource,
              },
            ],
      ),
  },
  {
    name: "minority-stops",
    severity: "mandatory",
    demand: "The part of the cluster without a majority stops what it runs.",
    reason: "Both parts would have the virtual IPs and write to their own database.",
    fix: "set no-quorum-policy=stop",
    find: (plan) =>
      ["start", "bootstrap"].flatMap((stage) =>
        plan.stepsOf("pacemaker", stage).flatMap(({ host, params = {}, resource }) => {
          const place = { where: "no-quorum-policy of Pacemaker", host, at: resource };
          return expects(place, "stop", readOptions(params.options).get("no-quorum-policy"));
        }),
      ),
  },
  {
    name: "rabbitmq-minority-pauses",
    severity: "mandatory",
    demand: "The smaller part of RabbitMQ's cluster pauses.",
    reason: "Both parts would take messages, and one part's are thrown away when they meet again.",
    fix: "set cluster_partition_handling = pause_minority",
    find: (plan) =>
      each(plan.file(RABBITMQ), (file) =>
        expects(
          { ...onHost(file), where: "cluster_partition_handling of rabbitmq.conf" },
          "pause_minority",
          readProperties(file.content).get("cluster_partition_handling"),
        ),
      ),
  },
  {
    name: "quorum-queues",
    severity: "mandatory",
    demand:
      "Every queue is a quorum queue: by default in RabbitMQ, and for each service that uses it.",
    reason:
      "A classic queue is on one broker, and gone with it; mirrored ones are no more in RabbitMQ 4.",
    fix: "set default_queue_type = quorum, and rabbit_quorum_queue = true in each service's file",
    find: (plan) => [
      ...each(plan.file(RABBITMQ), (file) =>
        expects(
          { ...onHost(file), where: "default_queue_type of rabbitmq.conf" },
          "quorum",
          readProperties(file.content).get("default_queue_type"),
        ),
      ),
      ...each(plan.allFiles(), (file) => {
        if (!/^transport_url\s*=\s*rabbit:/m.test(file.content)) return [];
        const options = readIni(file.content).get("oslo_messaging_rabbit");
        return ["rabbit_quorum_queue", "rabbit_transient_quorum_queue"].flatMap((option) =>
          expects(
            { ...onHost(file), where: `${option} of ${file.path}` },
            "true",
            options?.get(option),
          ),
        );
      }),
    ],
  },
  {
    name: "commits-on-disk",
    severity: "mandatory",
    demand: "A commit that MariaDB confirms is on disk.",
    reason: "All members can lose power at once, and what was confirmed would be gone.",
    fix: "set innodb_flush_log_at_trx_commit = 1",
    find: (plan) =>
      each(plan.file(GALERA), (file) =>
        expects(
          { ...onHost(file), where: "innodb_flush_log_at_trx_commit of MariaDB" },
          "1",
          readIni(file.content).get("mariadb")?.get("innodb_flush_log_at_trx_commit"),
        ),
      ),
  },
];
