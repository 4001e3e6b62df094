import * as path from "node:path";
import type * as pulumi from "@pulumi/pulumi";
import { carriers, type Frontend, type ServiceEntry, servicesIn } from "../../catalogue";
import type { Cloud } from "../../config";
import { MANAGED, secret } from "../render";
import { type After, type Context, type PerHost, Service } from "../service";
import type { Check, Files } from "../step";

/** Of the public VIP, with its key, as `crt` of a `bind` takes it. Before haproxy.cfg by its path: that is tried with it. */
const CERTIFICATE = "/etc/haproxy/certs/public.pem";

/** What HAProxy's checks call themselves, for a server that answers them otherwise than its clients. */
export const CHECK_AGENT = "haproxy-check";

/** HAProxy on every controller, in front of whatever the catalogue gives a frontend. Pacemaker runs it. */
export class Haproxy extends Service {
  /** Its configuration is on every controller: Pacemaker may start it. */
  readonly configured: PerHost;

  constructor(context: Context, opts?: pulumi.ComponentResourceOptions) {
    super("haproxy", context, opts);

    const install = this.install();
    this.configured = this.stage(
      "configure",
      () => ({
        files: haproxyFiles(context.cloud),
        // What is no longer used is no longer kept where it could be read.
        ...(context.cloud.tls
          ? { directories: { [path.dirname(CERTIFICATE)]: { mode: "0700" } } }
          : { absent: [CERTIFICATE] }),
      }),
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
    ...(cloud.tls
      ? {
          [CERTIFICATE]: {
            content: `${cloud.tls.certificate.trimEnd()}\n${secret("tls-public")}\n`,
            // HAProxy reads it before it lets go of root.
            mode: "0600",
            // It packs a certificate with its key, and with no other: a reload with another would leave the old one in use.
            validate: [
              ...["openssl", "pkcs12", "-export", "-in", "{}"],
              ...["-passout", "pass:", "-out", "/dev/null"],
            ],
          },
        }
      : {}),
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
      ...(cloud.tls ? ["ssl-default-bind-options ssl-min-ver TLSv1.2"] : []),
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
  const check = `meth GET uri ${frontend.check} hdr User-Agent ${CHECK_AGENT}${host}`;
  return section(`listen ${frontend.name}`, [
    `mode ${frontend.mode}`,
    ...frontend.vips.flatMap((vip) => binds(cloud, frontend, vip)),
    ...(cloud.tls && frontend.vips.includes("public") ? tellOfTls(cloud, frontend) : []),
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
    `http-check send ${check}`,
    "http-check expect status 200",
    // One that is about to go says so, and ends what it has begun.
    ...(frontend.mode === "http" ? ["http-check disable-on-404"] : []),
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

/** The public VIP by TLS, where there is a certificate. */
function binds({ tls, vips }: Cloud, frontend: Frontend, vip: "internal" | "public"): string[] {
  const { port, tlsPort = port } = frontend;
  const plain = `bind ${vips[vip]}:${port}`;
  if (!tls || vip === "internal") return [plain];
  return [
    ...(tlsPort === port ? [] : [plain]),
    `bind ${vips.public}:${tlsPort} ssl crt ${CERTIFICATE}`,
  ];
}

/** What is behind has to know how it was asked, for the links that it gives; and nobody else may say it. */
function tellOfTls({ tls }: Cloud, { tlsPort }: Frontend): string[] {
  return [
    ...(tlsPort === undefined
      ? []
      : [`http-request redirect location https://${tls!.name}%[path] code 301 unless { ssl_fc }`]),
    "http-request set-header X-Forwarded-Proto %[ssl_fc,iif(https,http)]",
  ];
}

function section(name: string, content: readonly string[]): string {
  return [name, ...content.map((line) => `    ${line}`)].join("\n");
}
