import { type ClusterConfiguration, type Plan, virtualIps } from "../plan";
import { below, type Element, nvpairs } from "../readers";
import { expects, type Finding, onHost, type Rule } from "../rule";

/** That a lost host is dead before another takes what it had, and what Pacemaker keeps together and looks after. */

function primitives({ resources }: ClusterConfiguration): Element[] {
  return resources.filter(({ tag }) => tag === "primitive");
}

/** Fencing devices, with the hosts that each is for. */
function devices(cluster: ClusterConfiguration): { device: Element; hosts: string[] }[] {
  return primitives(cluster)
    .filter(({ attributes }) => attributes.class === "stonith")
    .map((device) => ({
      device,
      hosts: (nvpairs(device).get("pcmk_host_list") ?? "").split(/[\s,]+/).filter(Boolean),
    }));
}

/** Asked of what each controller tells Pacemaker. */
function perController(
  ask: (cluster: ClusterConfiguration, plan: Plan) => readonly Finding[],
): Rule["find"] {
  return (plan) => plan.cluster().flatMap((cluster) => ask(cluster, plan));
}

export const fencing: readonly Rule[] = [
  {
    name: "fencing-enabled",
    severity: "mandatory",
    demand: "Fencing is on.",
    reason: "A host that is silent and not dead would write to what another has taken over.",
    fix: "set stonith-enabled=true",
    find: perController((cluster) =>
      expects(
        { ...onHost(cluster), where: "stonith-enabled of Pacemaker" },
        "true",
        cluster.options.get("stonith-enabled"),
      ),
    ),
  },
  {
    name: "fencing-device-each",
    severity: "mandatory",
    demand: "Each host of the cluster has a fencing device, with an address.",
    reason:
      "What ran on a host that cannot be fenced stays down until a person confirms that it is dead.",
    fix: "give the host a management controller, and a primitive of class stonith for it",
    find: perController((cluster, plan) => {
      const able = devices(cluster).filter(({ device }) => nvpairs(device).has("ip"));
      return plan
        .hostsOf("pacemaker")
        .filter((host) => !able.some(({ hosts }) => hosts.includes(host)))
        .map((host) => ({
          ...onHost(cluster),
          where: `the fencing device of ${host} in Pacemaker's resources`,
          wanted: "one with an address",
          found: "none",
        }));
    }),
  },
  {
    name: "fencing-elsewhere",
    severity: "mandatory",
    demand: "No host runs its own fencing device.",
    reason: "A host that has gone wrong must not be the one that is asked to end it.",
    fix: "add a rsc_location of the device on its host with score -INFINITY",
    find: perController((cluster) =>
      devices(cluster).flatMap(({ device, hosts }) => {
        const id = device.attributes.id!;
        const banned = cluster.constraints.some(
          ({ tag, attributes }) =>
            tag === "rsc_location" &&
            attributes.rsc === id &&
            hosts.includes(attributes.node ?? "") &&
            attributes.score === "-INFINITY",
        );
        return banned
          ? []
          : [
              {
                ...onHost(cluster),
                where: `the device ${id} of Pacemaker`,
                wanted: `never on ${hosts.join(", ")}`,
                found: "no such constraint",
              },
            ];
      }),
    ),
  },
  {
    name: "vip-with-haproxy",
    severity: "mandatory",
    demand: "A virtual IP is only where HAProxy runs.",
    reason: "Elsewhere nobody answers on it.",
    fix: "add a rsc_colocation of the address with haproxy-clone with score INFINITY",
    find: perController((cluster) =>
      virtualIps(cluster.resources)
        .filter(
          ({ id }) =>
            !cluster.constraints.some(
              ({ tag, attributes }) =>
                tag === "rsc_colocation" &&
                attributes.rsc === id &&
                attributes["with-rsc"] === "haproxy-clone" &&
                attributes.score === "INFINITY",
            ),
        )
        .map(({ id }) => ({
          ...onHost(cluster),
          where: `${id} of Pacemaker`,
          wanted: "together with haproxy-clone",
          found: "no such constraint",
        })),
    ),
  },
  {
    name: "cluster-runs-what-it-must",
    severity: "mandatory",
    demand:
      "Pacemaker runs both virtual IPs, HAProxy and Galera, the latter two on every controller.",
    reason: "Nobody else starts them, or moves them when a host dies.",
    fix: "keep vip-internal, vip-public, haproxy-clone and galera-clone among Pacemaker's resources",
    find: perController((cluster) =>
      [
        { tag: "primitive", id: "vip-internal" },
        { tag: "primitive", id: "vip-public" },
        { tag: "clone", id: "haproxy-clone" },
        { tag: "clone", id: "galera-clone" },
      ]
        .filter(
          ({ tag, id }) =>
            !cluster.resources.some((each) => each.tag === tag && each.attributes.id === id),
        )
        .map(({ id }) => ({
          ...onHost(cluster),
          where: "Pacemaker's resources",
          wanted: id,
          found: "none",
        })),
    ),
  },
  {
    name: "cluster-monitors",
    severity: "mandatory",
    demand: "Pacemaker looks after all it runs, at an interval and with a timeout.",
    reason: "What died is otherwise noticed when its host dies.",
    fix: "add a monitor operation with interval and timeout to the primitive",
    find: perController((cluster) =>
      primitives(cluster)
        .filter(
          (primitive) =>
            !below(primitive).some(
              ({ tag, attributes }) =>
                tag === "op" &&
                attributes.name === "monitor" &&
                Number.parseInt(attributes.interval ?? "0") > 0 &&
                Number.parseInt(attributes.timeout ?? "0") > 0,
            ),
        )
        .map(({ attributes }) => ({
          ...onHost(cluster),
          where: `${attributes.id!} of Pacemaker`,
          wanted: "a monitor operation",
          found: "none",
        })),
    ),
  },
];
