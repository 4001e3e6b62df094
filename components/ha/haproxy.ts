import type * as pulumi from "@pulumi/pulumi";
import { carriers, type Frontend, type ServiceEntry, servicesIn } from "../../catalogue";
import type { Cloud } from "../../config";
import { MANAGED } from "../render";
import { type After, type Context, type PerHost, Service } from "../service";
import type { Check, Files } from "../step";

/** HAProxy on every controller, in front of whatever the catalogue gives a frontend. Pacemaker runs it. */
export class Haproxy extends Service {
  /** Its configuration is on every controller: Pacemaker may start it. */
  readonly configured: PerHost;

  constructor(context: Context, opts?: pulumi.ComponentResourceOptions) {
    super("haproxy", context, opts);

    const install = this.install();
    this.configured = this.stage(
      "configure",
      () => ({ files: haproxyFiles(context.cloud) }),
      install,
    );
    this.registerOutputs({});
  }

  /** It runs with its newest configuration, once Pacemaker has been told to run it. */
  running(...after: After[]): PerHost {
    return this.stage(
      "start",
      (host) => ({ ...haproxyCheck(this.context.cloud, host), script: this.script("start.sh") }),
      this.configured,
      ...after,
    );
  }
}

/** It answers on its socket and serves what its configuration says. */
export const haproxyCheck: Check = () => ({ verify: "haproxy/verify.sh" });

export function haproxyFiles(cloud: Cloud): Files {
  return {
    "/etc/haproxy/haproxy.cfg": {
      content: haproxyConf(cloud, servicesIn(cloud)),
      group: "haproxy",
      mode: "0640",
      validate: ["haproxy", "-c", "-q", "-f", "{}"],
    },
  };
}

/** haproxy.cfg: one `listen` section a frontend of the catalogue. */
export function haproxyConf(cloud: Cloud, services: readonly ServiceEntry[]): string {
  const { haproxy } = cloud;
  const sections = services.flatMap((entry) =>
    (entry.frontends ?? []).map((frontend) => listen(cloud, entry, frontend)),
  );
  return `${[
    MANAGED,
    section("global", [
      "log /dev/log local0",
      `maxconn ${haproxy.maxconn}`,
      "stats socket /run/haproxy/admin.sock mode 660 level admin",
      "stats timeout 30s",
      "user haproxy",
      "group haproxy",
    ]),
    section("defaults", [
      "log global",
      "option dontlognull",
      "option redispatch 1",
      "retries 3",
      `timeout check ${haproxy.checkTimeout}`,
      `timeout client ${haproxy.clientTimeout}`,
      `timeout connect ${haproxy.connectTimeout}`,
      "timeout http-request 10s",
      "timeout queue 1m",
      `timeout server ${haproxy.serverTimeout}`,
      // A connection to a server that is down helps nobody: cut it, so that its client comes again and is served.
      `default-server inter ${haproxy.interMs}ms fall ${haproxy.fall} rise ${haproxy.rise} on-marked-down shutdown-sessions`,
    ]),
    ...sections,
  ].join("\n\n")}\n`;
}

function listen(cloud: Cloud, entry: ServiceEntry, frontend: Frontend): string {
  const { databaseTimeout, observedCheckTimeout, observedInterMs, patientTimeout } = cloud.haproxy;
  const patience = frontend.oneAtATime
    ? databaseTimeout
    : frontend.patient
      ? patientTimeout
      : undefined;
  const pace = frontend.costlyCheck
    ? `inter ${5 * observedInterMs}ms downinter ${observedInterMs}ms`
    : `inter ${observedInterMs}ms`;
  const host = frontend.checkHost ? ` hdr Host ${cloud.vips.public}` : "";
  return section(`listen ${frontend.name}`, [
    `mode ${frontend.mode}`,
    ...frontend.vips.map((vip) => `bind ${cloud.vips[vip]}:${frontend.port}`),
    // A pool's connections idle until they are needed; images and consoles take their time.
    ...(patience ? [`timeout client ${patience}`, `timeout server ${patience}`] : []),
    ...(frontend.patient ? [`timeout tunnel ${patientTimeout}`] : []),
    ...(frontend.mode === "http"
      ? [
          "option forwardfor",
          "option httplog",
          "balance leastconn",
          // A server that went away before it answered: what may be asked twice is asked of another one.
          "http-request disable-l7-retry unless METH_GET",
          "retry-on conn-failure empty-response",
        ]
      : ["option tcplog", "option clitcpka", "option srvtcpka"]),
    ...(frontend.observed
      ? [
          `timeout check ${observedCheckTimeout}`,
          // Its own traffic tells of a dead server sooner than the next check.
          `default-server ${pace} fastinter 500ms observe layer4 error-limit 2 on-error mark-down`,
        ]
      : []),
    "option httpchk",
    `http-check send meth GET uri ${frontend.check}${host}`,
    "http-check expect status 200",
    ...carriers(cloud, entry).map((server, i) =>
      [
        `server ${server.name} ${server.addresses.management}:${frontend.port} check`,
        ...(frontend.checkPort ? [`port ${frontend.checkPort}`] : []),
        // The first takes all; when it comes back, so do the connections, or two would be written to.
        ...(frontend.oneAtATime
          ? [i > 0 ? "backup" : "on-marked-up shutdown-backup-sessions"]
          : []),
      ].join(" "),
    ),
  ]);
}

function section(name: string, content: readonly string[]): string {
  return [name, ...content.map((line) => `    ${line}`)].join("\n");
}
