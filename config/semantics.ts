import { checkAddresses, checkNetworks } from "./addresses";
import type { Role } from "./cloud";
import { chooseAmong, type Mistake } from "./errors";
import { checkInventory, isWhole } from "./inventory";
import { checkLibvirt } from "./libvirt";
import type { Candidate, PlacedHost, Report } from "./rules";
import { minimumSeedLength } from "./schema";
import { checkTls } from "./tls";
import { findSecret, isGiven, overridableNames, rotatableNames } from "./secret-names";

/** Every rule that the schema cannot say, because it needs more than one value. */
export function checkSemantics(candidate: Candidate): Mistake[] {
  const mistakes: Mistake[] = [];
  const report: Report = (path, what, fix) => mistakes.push({ path, what, fix });

  const cidrs = checkNetworks(candidate, report);
  const duplicates = checkHosts(candidate, report);
  checkAddresses(candidate, cidrs, duplicates, report);
  checkControllers(candidate, report);
  checkRoles(candidate, report);
  checkDrained(candidate, report);
  checkInventory(candidate, report);
  checkLibvirt(candidate, report);
  checkStore(candidate, report);
  checkFlavors(candidate, report);
  checkGaleraTimes(candidate, report);
  checkTimeouts(candidate, report);
  checkConnections(candidate, report);
  checkSignsOfLife(candidate, report);
  checkTls(candidate, report);
  checkSecrets(candidate, report);
  return mistakes;
}

/** Names, ids and roles; gives the places of the hosts whose id is another's. */
function checkHosts({ hosts, marks }: Candidate, report: Report): ReadonlySet<number> {
  const names = new Map<string, number>();
  const ids = new Map<number, string>();
  const duplicates = new Set<number>();
  for (const { index, name, id } of marks) {
    const earlier = name === undefined ? undefined : names.get(name);
    if (name === "localhost") {
      report(`hosts[${index}].name`, "every host calls itself localhost", "choose another name");
    } else if (name !== undefined && earlier !== undefined) {
      report(
        `hosts[${index}].name`,
        `${name} is already the name of hosts[${earlier}]`,
        "give every host its own name",
      );
    }
    if (name !== undefined) {
      names.set(name, earlier ?? index);
    }

    const holder = id === undefined ? undefined : ids.get(id);
    if (id !== undefined && holder !== undefined) {
      duplicates.add(index);
      report(
        `hosts[${index}].id`,
        `${id} is already used by host ${holder}`,
        "give every host its own id",
      );
    }
    if (id !== undefined) {
      ids.set(id, holder ?? name ?? `hosts[${index}]`);
    }
  }
  for (const { index, roles } of hosts) {
    const twice = roles.find((role, i) => roles.indexOf(role) !== i);
    if (twice) {
      report(`hosts[${index}].roles`, `${twice} is named twice`, "name each role once");
    }
    if (roles.includes("controller") && roles.includes("compute")) {
      report(
        `hosts[${index}].roles`,
        "controller and compute are on one host, whose guests could starve the cluster that decides over it",
        "leave one of them out",
      );
    }
  }
  return duplicates;
}

/** Corosync's own limit for a cluster, and odd. */
const MOST_CONTROLLERS = 15;

/** A majority must be left after the loss of any one controller, and of any one failure domain. */
function checkControllers({ hosts, allHosts }: Candidate, report: Report): void {
  if (!allHosts) {
    return;
  }
  const controllers = hosts.filter(({ roles }) => roles.includes("controller"));
  const count = controllers.length;
  if (count < 3) {
    report(
      "hosts",
      `${count} ${count === 1 ? "host has" : "hosts have"} the role controller, and a majority has to outlive the loss of one`,
      "give it to three hosts",
    );
    return;
  }
  if (count > MOST_CONTROLLERS) {
    report(
      "hosts",
      `${count} hosts have the role controller, more than Corosync is made for`,
      `use at most ${MOST_CONTROLLERS}`,
    );
    return;
  }
  if (count % 2 === 0) {
    report(
      "hosts",
      `${count} hosts have the role controller, which outlives the loss of no more hosts than ${count - 1} would`,
      `use ${count - 1} or ${count + 1}`,
    );
    return;
  }

  const domains = new Map<string, PlacedHost[]>();
  for (const host of controllers) {
    const domain = host.failureDomain ?? `host ${host.name}`;
    domains.set(domain, [...(domains.get(domain) ?? []), host]);
  }
  const declared = new Set(hosts.map(({ failureDomain, name }) => failureDomain ?? `host ${name}`));
  // One domain for everything says that there is only one: nothing to spread over.
  if (declared.size === 1) {
    return;
  }
  const most = (count - 1) / 2;
  for (const [domain, members] of domains) {
    if (members.length > most) {
      report(
        `hosts[${members[most]!.index}].failureDomain`,
        `${members.length} of ${count} controllers are in ${domain}, and its loss would end the majority`,
        `have at most ${most} in one failure domain, or name the same one for all hosts if there is only one`,
      );
    }
  }
}

/** A cloud that runs guests needs hosts for their packets and for their disks, and outlives the loss of one of each. */
const LEAST_DISKS = 3;
const LEAST: readonly { role: "network" | "storage"; count: number; because: string }[] = [
  {
    role: "network",
    count: 2,
    because: "another has to take over the routers of one that is lost",
  },
  {
    role: "storage",
    count: LEAST_DISKS,
    because: "its monitors need a majority after the loss of one",
  },
];

function checkRoles({ hosts, allHosts }: Candidate, report: Report): void {
  if (!allHosts) {
    return;
  }
  const count = (role: Role): number => hosts.filter(({ roles }) => roles.includes(role)).length;
  const others = (["compute", "network", "storage"] as const).filter((role) => count(role) > 0);
  // Controllers alone are an identity service.
  if (others.length === 0) {
    return;
  }
  if (count("compute") === 0) {
    report(
      "hosts",
      `hosts have the role ${others.join(" and ")}, and none has the role compute`,
      "give it to the hosts that shall run guests, or name controllers only",
    );
    return;
  }
  for (const { role, count: least, because } of LEAST) {
    if (count(role) < least) {
      report(
        "hosts",
        `${count(role) === 0 ? "no host has" : count(role) === 1 ? "one host has" : `${count(role)} hosts have`} the role ${role}, and ${because}`,
        `give it to ${least} hosts; controllers can have it too`,
      );
    }
  }
}

/** Guests have to go somewhere, and nobody may take out what others count on. */
function checkDrained({ hosts, allHosts }: Candidate, report: Report): void {
  for (const { index, name, roles, state } of hosts) {
    const others = roles.filter((role) => role !== "compute");
    if (state === "drained" && others.length > 0) {
      report(
        `hosts[${index}].state`,
        `${name} has the role ${others.join(" and ")}, which others count on and which nothing takes over yet`,
        "drain hosts whose only role is compute",
      );
    }
  }
  const computes = hosts.filter(({ roles }) => roles.includes("compute"));
  if (allHosts && computes.length > 0 && computes.every(({ state }) => state === "drained")) {
    report(
      "hosts",
      "all hosts with the role compute are drained, and their guests have nowhere to go",
      "leave one of them active",
    );
  }
}

function checkFlavors({ settings: { content } }: Candidate, report: Report): void {
  const names = content?.flavors.map(({ name }) => name) ?? [];
  names.forEach((name, i) => {
    const first = names.indexOf(name);
    if (first < i) {
      report(
        `content.flavors[${i}].name`,
        `${name} is already the name of content.flavors[${first}]`,
        "give every flavor its own name",
      );
    }
  });
}

function checkStore({ settings: { ceph }, hosts, allHosts }: Candidate, report: Report): void {
  if (!ceph) {
    return;
  }
  if (ceph.minReplicas >= ceph.replicas) {
    report(
      "ceph.minReplicas",
      `${ceph.minReplicas} is not less than ceph.replicas ${ceph.replicas}, so writes would stop with the loss of one host`,
      `use ${ceph.replicas - 1} or less`,
    );
  }
  const disks = hosts.filter(({ roles }) => roles.includes("storage")).length;
  // Fewer are told to be more.
  if (allHosts && disks >= LEAST_DISKS && ceph.replicas > disks) {
    report(
      "ceph.replicas",
      `${ceph.replicas} copies need as many hosts with the role storage, and there are ${disks}`,
      `use ${disks}, or add hosts`,
    );
  }
  if (ceph.heartbeatGraceSeconds < 3 * ceph.heartbeatSeconds) {
    report(
      "ceph.heartbeatGraceSeconds",
      `${ceph.heartbeatGraceSeconds} is less than three times heartbeatSeconds ${ceph.heartbeatSeconds}, so one lost packet could count a disk as down`,
      `use ${3 * ceph.heartbeatSeconds} or more`,
    );
  }
}

/** The limits that gcomm itself enforces at start: a database that refuses to start is found here instead. */
function checkGaleraTimes({ settings: { galera } }: Candidate, report: Report): void {
  if (!galera) {
    return;
  }
  const { evs } = galera;
  const seconds = (option: keyof typeof evs): number => Number(evs[option].slice(2, -1));
  const atMost = (option: keyof typeof evs, limit: number, because: string): void => {
    if (seconds(option) > limit) {
      report(
        `galera.evs.${option}`,
        `${evs[option]} is more than ${because}`,
        `use PT${Number(limit.toFixed(3))}S or less`,
      );
    }
  };
  for (const option of ["keepalivePeriod", "suspectTimeout", "inactiveTimeout"] as const) {
    if (seconds(option) < 0.1) {
      report(
        `galera.evs.${option}`,
        `${evs[option]} is less than Galera takes`,
        "use PT0.1S or more",
      );
      return;
    }
  }
  if (seconds("suspectTimeout") >= seconds("inactiveTimeout")) {
    report(
      "galera.evs.suspectTimeout",
      `${evs.suspectTimeout} is not less than inactiveTimeout ${evs.inactiveTimeout}, so no member would be suspected before it is out`,
      "make it less",
    );
    return;
  }
  atMost(
    "keepalivePeriod",
    seconds("suspectTimeout") / 3,
    `a third of suspectTimeout ${evs.suspectTimeout}`,
  );
  atMost(
    "inactiveCheckPeriod",
    seconds("suspectTimeout") / 2,
    `half of suspectTimeout ${evs.suspectTimeout}`,
  );
  atMost("installTimeout", seconds("inactiveTimeout"), `inactiveTimeout ${evs.inactiveTimeout}`);
  if (seconds("installTimeout") < 2 * seconds("keepalivePeriod")) {
    report(
      "galera.evs.installTimeout",
      `${evs.installTimeout} is less than twice keepalivePeriod ${evs.keepalivePeriod}`,
      `use PT${2 * seconds("keepalivePeriod")}S or more`,
    );
  }
}

const UNITS: Readonly<Record<string, number>> = { ms: 1, s: 1000, m: 60_000, h: 3_600_000 };

/** Milliseconds of a duration as HAProxy writes it. */
function milliseconds(duration: string): number {
  const [, amount, unit] = /^(\d+)(\D+)$/.exec(duration) ?? [];
  return Number(amount) * (UNITS[unit ?? ""] ?? NaN);
}

function checkTimeouts({ settings: { haproxy, database } }: Candidate, report: Report): void {
  if (!haproxy) {
    return;
  }
  if (milliseconds(haproxy.checkTimeout) < 2000) {
    report(
      "haproxy.checkTimeout",
      `${haproxy.checkTimeout} took healthy but busy servers out when it was tried`,
      "use 2s or more",
    );
  }
  if (milliseconds(haproxy.connectTimeout) > milliseconds(haproxy.serverTimeout)) {
    report(
      "haproxy.connectTimeout",
      `${haproxy.connectTimeout} is more than serverTimeout ${haproxy.serverTimeout}`,
      "make it shorter: a dead server has to be noticed before a slow one",
    );
  }
  if (database && database.recycleSeconds * 1000 >= milliseconds(haproxy.databaseTimeout)) {
    report(
      "database.recycleSeconds",
      `${database.recycleSeconds} is not less than haproxy.databaseTimeout ${haproxy.databaseTimeout}, so services would meet connections that HAProxy has closed`,
      "make it shorter",
    );
  }
}

/** Connections kept for replication, the health check and a person in trouble. */
const SPARE_CONNECTIONS = 20;

/** Processes on each controller that keep a pool of connections, besides those of APIs. */
const DAEMONS = 9;
/** Pools of each process of an API: Glance, Placement, Neutron, Cinder; Nova's two APIs use its own database and two cells. */
const API_POOLS = 4 + 2 * 3;

/** All services write through one member of the database: it has to take all their connections. */
function checkConnections({ settings, hosts, allHosts }: Candidate, report: Report): void {
  const { database, galera, horizon, keystone, workers } = settings;
  if (!database || !galera || !horizon || !keystone || !workers || !allHosts) {
    return;
  }
  const controllers = hosts.filter(({ roles }) => roles.includes("controller")).length;
  const whole = isWhole(hosts);
  const pool = database.poolSize + database.poolOverflow;
  const each =
    keystone.processes * Math.min(keystone.threads, pool) +
    // Daemons work on few things at once: what they keep open is the pool without its overflow.
    (whole
      ? API_POOLS * workers.apiProcesses * Math.min(workers.apiThreads, pool) +
        DAEMONS * workers.rpc * database.poolSize +
        // Django opens one for each request and closes it after.
        horizon.processes * horizon.threads
      : 0);
  const needed = controllers * each + SPARE_CONNECTIONS;
  if (needed > galera.maxConnections) {
    report(
      "galera.maxConnections",
      `${galera.maxConnections} is too few for ${controllers} controllers whose services keep up to ${each} connections each`,
      `use ${needed} or more`,
    );
  }
}

/** Two may be late or lost before a service counts as down. */
function checkSignsOfLife({ settings: { nova } }: Candidate, report: Report): void {
  if (nova && nova.serviceDownSeconds < 3 * nova.reportIntervalSeconds) {
    report(
      "nova.serviceDownSeconds",
      `${nova.serviceDownSeconds} is less than three times nova.reportIntervalSeconds ${nova.reportIntervalSeconds}, so a busy service would count as down`,
      `use ${3 * nova.reportIntervalSeconds} or more, or a shorter interval`,
    );
  }
}

function checkSecrets({ settings, hosts, allHosts }: Candidate, report: Report): void {
  const { seed, secrets = {}, secretVersions = {} } = settings;
  if (seed !== undefined && new Set(seed).size < 12) {
    report(
      "seed",
      "the value repeats a few characters and can be guessed",
      `use ${minimumSeedLength} random characters or more: openssl rand -base64 48`,
    );
  }

  const names = hosts.map(({ name }) => name);
  const rotatable = rotatableNames(names);
  for (const name of Object.keys(secretVersions).sort()) {
    if (name === "keystone-fernet") {
      report(
        `secretVersions.${name}`,
        "token keys rotate by a number of their own",
        "set keystone.fernet.version",
      );
    } else if (
      !rotatable.includes(name) &&
      name !== "keystone-credential" &&
      (allHosts || !name.startsWith("ssh-host-"))
    ) {
      report(
        `secretVersions.${name}`,
        "there is no such secret",
        chooseAmong(name, [...rotatable, "keystone-credential"].sort()),
      );
    }
  }

  for (const [name, value] of Object.entries(secrets).sort(([a], [b]) => (a < b ? -1 : 1))) {
    const known = findSecret(name, names);
    if (known && known.kind !== "password") {
      report(
        `secrets.${name}`,
        "only passwords can be set by hand, and this is a key",
        "leave it out, and rotate it with secretVersions",
      );
    } else if (!known) {
      report(
        `secrets.${name}`,
        "there is no such password",
        chooseAmong(name, overridableNames(names)),
      );
    } else if (settings.backend === "inventory" && isGiven(name)) {
      // ipmitool reads it from a file, and IPMI 2.0 knows 20 bytes.
      if (!/^[\x21-\x7e]{1,20}$/.test(value)) {
        report(
          `secrets.${name}`,
          "the value is no password that IPMI takes",
          "use 12 to 20 letters, digits and signs of ASCII, 16 where the controllers are old",
        );
      }
    } else if (!/^[A-Za-z0-9_.~-]+$/.test(value)) {
      // They are put into URLs and into the files of a dozen daemons, each with its own rules of quoting.
      report(
        `secrets.${name}`,
        "the value has characters that mean something in URLs or configuration files",
        "use letters, digits and - _ . ~ only",
      );
    } else if (value.length < 12 || value.length > (known.length ?? 128)) {
      report(
        `secrets.${name}`,
        `the value has ${value.length} characters`,
        `use 12 to ${known.length ?? 128}`,
      );
    }
  }
}
