import type { FileOnHost, Plan } from "../plan";
import { type HaproxySection, readHaproxy, readProperties } from "../readers";
import { expects, type Finding, type Rule } from "../rule";

/** What stands between clients and services. */

const CONFIGURATION = "/etc/haproxy/haproxy.cfg";

/** Asked of haproxy.cfg on each host that gets it. */
function perFile(
  ask: (
    sections: readonly HaproxySection[],
    plan: Plan,
    file: FileOnHost,
  ) => readonly Omit<Finding, "host" | "at">[],
): Rule["find"] {
  return (plan) =>
    plan.file(CONFIGURATION).flatMap((file) =>
      ask(readHaproxy(file.content), plan, file).map((finding) => ({
        ...finding,
        host: file.host,
        at: file.step.resource,
      })),
    );
}

/** Sections with servers. */
function backends(sections: readonly HaproxySection[]): HaproxySection[] {
  return sections.filter(({ kind }) => kind === "listen" || kind === "backend");
}

/** Sections with addresses. */
function frontends(sections: readonly HaproxySection[]): HaproxySection[] {
  return sections.filter(({ kind }) => kind === "listen" || kind === "frontend");
}

function lines({ lines }: HaproxySection, ...start: readonly string[]): (readonly string[])[] {
  return lines.filter((words) => start.every((word, i) => words[i] === word));
}

const title = ({ kind, name }: HaproxySection): string => `${kind} ${name} of haproxy.cfg`;

/** What must not wait for ever. */
const TIMEOUTS = ["check", "client", "connect", "queue", "server"];

export const haproxy: readonly Rule[] = [
  {
    name: "backend-checked",
    severity: "mandatory",
    demand: "HAProxy checks the health of every server.",
    reason: "A dead server gets its share of the requests, and they fail.",
    fix: "add `check` to the server's line",
    find: perFile((sections) =>
      backends(sections).flatMap((section) =>
        lines(section, "server")
          .filter((words) => !words.includes("check"))
          .map((words) => ({
            where: `server ${words[1]!} in ${title(section)}`,
            wanted: "check",
            found: "none",
          })),
      ),
    ),
  },
  {
    name: "backend-asked",
    severity: "mandatory",
    demand: "A health check asks the service, and knows a good answer from a bad one.",
    reason: "A port that is open says nothing of a daemon that hangs or has lost its database.",
    fix: "give the frontend a check in catalogue.ts: option httpchk and http-check expect",
    find: perFile((sections) =>
      backends(sections)
        .filter(
          (section) =>
            lines(section, "option", "httpchk").length === 0 ||
            lines(section, "http-check", "expect").length === 0,
        )
        .map((section) => ({
          where: title(section),
          wanted: "option httpchk and http-check expect",
          found: "a check that the port is open",
        })),
    ),
  },
  {
    name: "backend-on-several-hosts",
    severity: "mandatory",
    demand: "Behind every frontend are servers on all controllers.",
    reason: "With the only host of a service its API is gone.",
    fix: "let the frontend's service run on all controllers",
    find: perFile((sections, plan) => {
      const hosts = [...plan.hostsOf("haproxy")].sort();
      return backends(sections).flatMap((section) => {
        const servers = lines(section, "server").map((words) => words[1]!);
        return hosts.every((host) => servers.includes(host))
          ? []
          : [
              {
                where: title(section),
                wanted: `servers on ${hosts.join(", ")}`,
                found: servers.join(", ") || "none",
              },
            ];
      });
    }),
  },
  {
    name: "backend-is-the-host",
    severity: "mandatory",
    demand: "A server's address is that of the host that it is named after.",
    reason: "Two servers that are one host die together, and status names the wrong one.",
    fix: "give each server its own host's address",
    find: perFile((sections, plan) =>
      backends(sections).flatMap((section) =>
        lines(section, "server").flatMap((words) => {
          const wanted = plan.addressOf(words[1]!);
          const found = words[2]!.replace(/:\d+$/, "");
          return found === wanted
            ? []
            : [
                {
                  where: `server ${words[1]!} in ${title(section)}`,
                  wanted: wanted ?? "a host of this stack",
                  found,
                },
              ];
        }),
      ),
    ),
  },
  {
    name: "one-writer",
    severity: "mandatory",
    demand: "One server takes all SQL, and the others are backups.",
    reason: "Services that write to two members of Galera meet certification conflicts.",
    fix: "mark all servers of the database but one as backup",
    find: perFile((sections) =>
      backends(sections)
        .filter(({ name }) => name === "mariadb")
        .flatMap((section) => {
          const active = lines(section, "server").filter((words) => !words.includes("backup"));
          return active.length === 1
            ? []
            : [{ where: title(section), wanted: "1 active server", found: `${active.length}` }];
        }),
    ),
  },
  {
    name: "dead-sessions-are-cut",
    severity: "mandatory",
    demand: "HAProxy cuts the sessions of a server that is down.",
    reason:
      "A client waits on a connection to a dead server until its own timeout, up to an hour for SQL.",
    fix: "keep on-marked-down shutdown-sessions in the defaults",
    find: perFile((sections) =>
      sections
        .filter(({ kind }) => kind === "defaults")
        .filter((section) => !has(section, "on-marked-down", "shutdown-sessions"))
        .map(() => ({
          where: "defaults of haproxy.cfg",
          wanted: "on-marked-down shutdown-sessions",
          found: "none",
        })),
    ),
  },
  {
    name: "haproxy-timeouts",
    severity: "mandatory",
    demand: "HAProxy waits for nobody without end.",
    reason: "Without a timeout HAProxy keeps connections to what is dead until it has no more.",
    fix: "set the timeout in the defaults of haproxy.cfg",
    find: perFile((sections) =>
      sections
        .filter(({ kind }) => kind === "defaults")
        .flatMap((section) =>
          TIMEOUTS.filter((name) => lines(section, "timeout", name).length === 0).map((name) => ({
            where: `timeout ${name} in defaults of haproxy.cfg`,
            wanted: "a time",
            found: "none",
          })),
        ),
    ),
  },
  {
    name: "frontend-on-vips",
    severity: "mandatory",
    demand: "HAProxy listens on virtual IPs and nowhere else.",
    reason:
      "An address that does not move dies with its host, and one that is not Pacemaker's can be on two hosts.",
    fix: "bind the frontend to vips.internal or vips.public",
    find: perFile((sections, plan) => {
      const vips = plan.vips().map(({ address }) => address);
      return frontends(sections).flatMap((section) =>
        lines(section, "bind")
          .map((words) => words[1]!.replace(/:\d+$/, ""))
          .filter((address) => !vips.includes(address))
          .map((found) => ({
            where: `bind of ${title(section)}`,
            wanted: `one of ${vips.join(", ")}`,
            found,
          })),
      );
    }),
  },
  {
    name: "binds-before-the-vip-comes",
    severity: "mandatory",
    demand: "A controller's kernel lets HAProxy bind an address that is not there yet.",
    reason:
      "HAProxy could not start where the virtual IPs are not, and answers late where they go.",
    fix: "set net.ipv4.ip_nonlocal_bind = 1",
    find: (plan) =>
      plan
        .file("/etc/sysctl.d/90-openstack-ha.conf")
        .filter(({ host }) => plan.hostsOf("haproxy").includes(host))
        .flatMap(({ content, host, step }) =>
          expects(
            { where: "net.ipv4.ip_nonlocal_bind of sysctl", host, at: step.resource },
            "1",
            readProperties(content).get("net.ipv4.ip_nonlocal_bind"),
          ),
        ),
  },
];

/** Whether some line has these words beside each other. */
function has(section: HaproxySection, ...words: readonly string[]): boolean {
  return section.lines.some((line) =>
    line.some((_, i) => words.every((word, j) => line[i + j] === word)),
  );
}
