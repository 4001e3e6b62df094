import type { Frontend, ServiceEntry } from "../catalogue";
import type { Cloud } from "../config";

/**
 * The tables of docs/architecture.md, from the catalogue and from a cloud's options. Pure; test/unit/docs.test.ts puts
 * them there and fails when they are stale.
 */

/** Where each service runs, who manages it, and what it listens on. */
export function servicesTable(services: readonly ServiceEntry[]): string {
  return table(
    ["Layer", "Service", "Runs on", "Mode", "Managed by", "Ports"],
    services.map((entry) => [
      entry.layer,
      `**${entry.name}**`,
      rolesOf(entry),
      entry.mode,
      entry.manager,
      ports(entry, services).join("<br>") || "none",
    ]),
  );
}

/** Why each service runs the way it does, how it is asked whether it works, and what happens when it dies. */
export function reasonsTable(services: readonly ServiceEntry[]): string {
  return table(
    ["Service", "Why", "Health", "When it, or its host, dies"],
    services.map((entry) => [`**${entry.name}**`, entry.why, entry.health, entry.whenItDies]),
  );
}

/** What a changed file does to what runs, and who notices. */
export function changesTable(services: readonly ServiceEntry[]): string {
  return table(
    ["Service", "Changed file", "What it does", "Hosts", "Who notices", "API calls can fail"],
    services.flatMap(({ name, takeUp }) =>
      takeUp.map((each) => [
        `**${name}**`,
        each.files.map((file) => `\`${file}\``).join("<br>"),
        `${each.what} ${each.how}`,
        each.turns ? "one after the other" : "at once",
        each.notice,
        each.apiCallsMayFail ? "yes" : "no",
      ]),
    ),
  );
}

/** The times that decide how long a failure is felt, with the source of each number. */
export function timingsTable(cloud: Cloud): string {
  const { corosync, galera, haproxy, memcached, pacemaker, rabbitmq } = cloud;
  const controllers = cloud.hosts.filter((host) => host.roles.includes("controller")).length;
  const token = corosync.token + corosync.tokenCoefficient * Math.max(0, controllers - 2);
  const tick = rabbitmq.netTickSeconds;
  return table(
    ["Option", "Here", "What it decides", "Where the number comes from"],
    [
      [
        "`corosync.token`, `.tokenCoefficient`",
        `${corosync.token} ms, ${corosync.tokenCoefficient} ms`,
        `a silent host is suspected after ${token} ms and declared lost after 2.2 times that, ${seconds(2.2 * token)} s`,
        "500 ms is the least that was seen to be stable under load (six CPU burners on two cores, 40 s); 1 + 1.2 (`consensus`, corosync.conf(5)) = 2.2",
      ],
      [
        "none: `transition-delay`",
        "200 ms",
        "Pacemaker decides (0.3 s), fences (0.3–0.5 s) and starts the VIP (0.1 s)",
        "measured in its log; without the delay its controller sleeps for 1 s in two of three failures, because its own notes of the lost host are still under way",
      ],
      [
        "`haproxy.interMs`, `.fall`",
        `${haproxy.interMs} ms × ${haproxy.fall}`,
        "a dead server is out",
        "measured: 1.5 s with 500 ms × 2; with 2000 ms 4.4–7.9 s. A check may take `inter` to connect (HAProxy manual, `timeout check`)",
      ],
      [
        "`haproxy.connectTimeout`",
        haproxy.connectTimeout,
        "a request that meets the dead server before that tries another one",
        "`option redispatch 1`",
      ],
      [
        "`haproxy.checkTimeout`",
        haproxy.checkTimeout,
        "a busy server is not taken for a dead one",
        "measured: at 1 s a healthy Keystone was taken out",
      ],
      [
        "`galera.evs.suspectTimeout`",
        galera.evs.suspectTimeout,
        "a silent member is out, and writes go on",
        "measured: writes stop for 2.5 s; with Galera's own value, PT5S, 6.2 s",
      ],
      [
        "`galera.evs.inactiveTimeout`, `.installTimeout`",
        `${galera.evs.inactiveTimeout}, ${galera.evs.installTimeout}`,
        "how long those that are left may take to agree on who they are; one that does not see them agree goes on alone, without a majority",
        "Galera's own. Measured with five controllers, two lost one second apart: with PT3S for both no token for 27 s, with these no request failed",
      ],
      [
        "`memcached.socketTimeoutMs`, `.deadRetrySeconds`",
        `${memcached.socketTimeoutMs} ms, ${memcached.deadRetrySeconds} s`,
        "a dead cache costs a request this much, then it is left alone",
        "one of the settings of the forerunner's fastest row",
      ],
      [
        "`rabbitmq.netTickSeconds`",
        `${tick} s`,
        `a silent broker is noticed after ${0.75 * tick}–${1.25 * tick} s`,
        "Erlang's kernel(6): `net_ticktime` ± a quarter",
      ],
      [
        "none: `net.ipv4.tcp_retries2`",
        "4",
        "unanswered data on an open connection is given up after about 6 s",
        "0.2 s doubled five times, tcp(7); the kernel's own 15 is about 15 min",
      ],
      [
        "none: `net.ipv4.tcp_keepalive_*`",
        "5 s, 5 × 1 s",
        "an idle connection to a dead host is given up after 10 s",
        "tcp(7); the kernel's own is over 2 h",
      ],
      [
        "`pacemaker.monitorSeconds`",
        `${pacemaker.monitorSeconds} s`,
        "a VIP or an HAProxy that stopped on a live host is noticed",
        "chosen; Galera's monitor is 10 s",
      ],
      [
        "`pacemaker.dcDeadtimeSeconds`",
        `${pacemaker.dcDeadtimeSeconds} s`,
        "when all hosts start, how long they look for each other",
        "Pacemaker's own is 20 s",
      ],
    ],
  );
}

function rolesOf(entry: ServiceEntry): string {
  return entry.roles.length === 4 ? "every host" : entry.roles.join(", ");
}

/** Of HAProxy itself, the ports of all that it offers. */
function ports(entry: ServiceEntry, services: readonly ServiceEntry[]): string[] {
  const own = entry.ports.map(({ port, protocol, purpose }) => {
    const frontend = entry.frontends?.find((each) => each.port === port);
    const vips = frontend ? `, behind the ${names(frontend.vips)}` : "";
    return `${port}/${protocol} ${purpose}${vips}${byTls(frontend)}`;
  });
  const offered =
    entry.name === "haproxy"
      ? services.flatMap(({ frontends = [] }) =>
          frontends.map(
            (each) => `${each.port}/tcp ${each.name}, on the ${names(each.vips)}${byTls(each)}`,
          ),
        )
      : [];
  return [...own, ...offered];
}

/** Where a port is another one for those who come by TLS. */
function byTls(frontend?: Pick<Frontend, "tlsPort">): string {
  return frontend?.tlsPort === undefined
    ? ""
    : `; by TLS ${frontend.tlsPort}/tcp, and this sends there`;
}

function names(vips: readonly string[]): string {
  return `${vips.join(" and ")} VIP${vips.length > 1 ? "s" : ""}`;
}

function seconds(ms: number): string {
  return (ms / 1000).toFixed(1);
}

export function table(head: readonly string[], rows: readonly (readonly string[])[]): string {
  const line = (cells: readonly string[]): string =>
    `| ${cells.map((cell) => cell.replaceAll("|", "\\|")).join(" | ")} |`;
  return [line(head), `|${" --- |".repeat(head.length)}`, ...rows.map(line)].join("\n");
}

/**
 * A document with its generated sections put in place. A section stands between `<!-- generated: NAME -->` and
 * `<!-- end: NAME -->`.
 *
 * @throws Error if a section's marks are missing.
 */
export function withSections(document: string, sections: Readonly<Record<string, string>>): string {
  return Object.entries(sections).reduce((text, [name, content]) => {
    const from = `<!-- generated: ${name} -->`;
    const to = `<!-- end: ${name} -->`;
    const start = text.indexOf(from);
    const end = text.indexOf(to);
    if (start < 0 || end < start) throw new Error(`the document has no "${from} ... ${to}"`);
    return `${text.slice(0, start + from.length)}\n\n${content}\n\n${text.slice(end)}`;
  }, document);
}
