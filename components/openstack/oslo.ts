import { type ServiceName, service } from "../../catalogue";
import { type Cloud, hostsWith } from "../../config";
import { CHECK_AGENT } from "../ha/haproxy";
import type { Host } from "../hosts/host";
import { type IniSections, lines, MANAGED, secret } from "../render";
import { memcachedServers } from "../shared/memcached";

/** What OpenStack's services have in common: sections of their files, and the units that run them. Pure. */

type Section = IniSections[string];

/** The port of a service's API. */
export function apiPort(name: ServiceName): number {
  return service(name).frontends?.[0]?.port as number;
}

/** A port behind a VIP, as it is asked for. */
export function vipUrl({ tls, vips }: Cloud, vip: "internal" | "public", port: number): string {
  return tls && vip === "public" ? `https://${tls.name}:${port}` : `http://${vips[vip]}:${port}`;
}

/** The Identity API behind a VIP. */
export function keystoneUrl(cloud: Cloud, vip: "internal" | "public"): string {
  return `${vipUrl(cloud, vip, apiPort("keystone"))}/v3`;
}

/** A database behind the internal VIP, whose account has the service's name. */
export function databaseUrl(cloud: Cloud, account: string, name = account): string {
  const { timeoutSeconds } = cloud.database;
  return `mysql+pymysql://${account}:${secret(`${account}-db`)}@${cloud.vips.internal}/${name}?charset=utf8mb4&read_timeout=${timeoutSeconds}&write_timeout=${timeoutSeconds}`;
}

export function databaseSection(cloud: Cloud, account: string, name = account): Section {
  const { database } = cloud;
  return {
    connection: databaseUrl(cloud, account, name),
    connection_recycle_time: database.recycleSeconds,
    max_overflow: database.poolOverflow,
    max_pool_size: database.poolSize,
    max_retries: -1,
  };
}

export function cacheSection(cloud: Cloud): Section {
  const { memcached } = cloud;
  return {
    // The pool takes a dead memcached out for a while; the plain client fails on it each time.
    backend: "oslo_cache.memcache_pool",
    enabled: true,
    memcache_dead_retry: memcached.deadRetrySeconds,
    memcache_servers: memcachedServers(cloud),
    memcache_socket_timeout: memcached.socketTimeoutMs / 1000,
  };
}

/** How a service speaks to the others, with its own account. */
export function accountSection(cloud: Cloud, account: string): Section {
  return {
    auth_type: "password",
    auth_url: keystoneUrl(cloud, "internal"),
    password: secret(account),
    project_domain_name: "Default",
    project_name: "service",
    region_name: cloud.region,
    user_domain_name: "Default",
    username: account,
  };
}

/** How an API checks the tokens of its clients. */
export function authtokenSection(cloud: Cloud, account: string): Section {
  return {
    ...accountSection(cloud, account),
    interface: "internal",
    memcache_pool_dead_retry: cloud.memcached.deadRetrySeconds,
    // keystonemiddleware takes whole seconds.
    memcache_pool_socket_timeout: Math.max(1, Math.round(cloud.memcached.socketTimeoutMs / 1000)),
    memcached_servers: memcachedServers(cloud),
    service_token_roles: "service",
    service_token_roles_required: true,
    www_authenticate_uri: keystoneUrl(cloud, "public"),
  };
}

/** So that work goes on after a user's token has run out. */
export function serviceUserSection(cloud: Cloud, account: string): Section {
  return { ...accountSection(cloud, account), send_service_user_token: true };
}

/** Every broker: a client that loses one goes to the next. */
export function transportUrl(cloud: Cloud): string {
  const brokers = hostsWith(cloud, "controller").map(
    (host) => `openstack:${secret("rabbitmq-openstack")}@${host.addresses.management}:5672`,
  );
  return `rabbit://${brokers.join(",")}/`;
}

/** Quorum queues for everything, and streams for what goes to all. */
export function rabbitSection(): Section {
  return {
    kombu_reconnect_delay: 0.5,
    // Streams are read with a limit or not at all.
    rabbit_qos_prefetch_count: 1,
    rabbit_quorum_queue: true,
    rabbit_stream_fanout: true,
    rabbit_transient_quorum_queue: true,
    // Reply queues keep their names over a restart, instead of piling up.
    use_queue_manager: true,
  };
}

export interface Uwsgi {
  /** Unit, process and log. */
  readonly name: string;
  readonly account: string;
  readonly script: string;
  readonly processes: number;
  readonly threads: number;
  /** Further options, as Debian's file has them. */
  readonly options?: readonly string[];
}

/** Debian's file with the numbers of the plan, and what it needs to come back by itself. */
export function uwsgiIni(app: Uwsgi): string {
  return `${[
    MANAGED,
    "[uwsgi]",
    ...[
      "buffer-size = 65535",
      `chdir = /var/lib/${app.account}`,
      "close-on-exec = true",
      "close-on-exec2 = true",
      "die-on-term = true",
      // A client that gave up is no error of ours.
      "disable-write-exception = true",
      // HAProxy logs the requests; its health checks would be six lines a second here.
      "disable-logging = true",
      "enable-threads = true",
      `gid = ${app.account}`,
      // A worker that hangs on a request is replaced after this many seconds.
      "harakiri = 60",
      "ignore-sigpipe = true",
      "ignore-write-errors = true",
      "lazy-apps = true",
      "listen = 100",
      "log-4xx = true",
      "log-5xx = true",
      `logto = /var/log/${app.account}/${app.name}.log`,
      "master = true",
      "need-app = true",
      "no-orphans = true",
      "paste-logger = true",
      "plugins = python3",
      `processes = ${app.processes}`,
      // What ps shows.
      `procname-prefix-spaced = ${app.name}`,
      "rem-header = Content-Length",
      // HAProxy sends nobody more to a server that answers its check with 404; everybody else is served to the end.
      `route-if-not = exists:${besideUnit(app.name, "drain")} last:`,
      `route-user-agent = ^${CHECK_AGENT}$ break:404 Not Found`,
      `threads = ${app.threads}`,
      "thunder-lock = true",
      `touch-chain-reload = ${besideUnit(app.name, "reload")}`,
      `uid = ${app.account}`,
      `wsgi-file = ${app.script}`,
      ...(app.options ?? []),
    ].sort(),
  ].join("\n")}\n`;
}

/** What a drop-in changes of a unit of Debian's. */
export function dropIn(name: string, command: string, ...options: readonly string[]): string {
  return lines(
    "[Unit]",
    // However often it takes until what it needs is there.
    "StartLimitIntervalSec=0",
    "",
    "[Service]",
    "ExecStart=",
    `ExecStart=${command}`,
    // What the queue manager knows this process by.
    `Environment=OS_OSLO_MESSAGING_RABBIT__PROCESSNAME=${name}`,
    ...options,
  );
}

/**
 * What a unit's uWSGI looks for. `reload`: whoever touches it has it begin its workers anew, one when the one before is
 * ready. `drain`: as long as it is there, HAProxy takes the server for one that is about to go.
 */
function besideUnit(name: string, what: "drain" | "reload"): string {
  return `/run/${name}.${what}`;
}

/** Debian's start script binds every address, and HAProxy needs the VIPs'. */
export function uwsgiDropIn(
  name: string,
  host: Pick<Host, "addresses">,
  port: number,
  ini: string,
): string {
  return dropIn(
    name,
    `/usr/bin/uwsgi_python3 --http-socket ${host.addresses.management}:${port} --ini ${ini}`,
    // Workers take the service's new configuration one after the other, so that somebody always answers.
    `ExecReload=+/usr/bin/touch ${besideUnit(name, "reload")}`,
  );
}

/** Where a unit's drop-in is. */
export function dropInPath(unit: string): string {
  return `/etc/systemd/system/${unit}.service.d/openstack-ha.conf`;
}

/** A unit whose daemon comes back whatever ended it, for what Debian ships without one. */
export function daemonUnit(name: string, account: string, command: string): string {
  return lines(
    "[Unit]",
    `Description=OpenStack ${name}`,
    "After=network.target",
    "StartLimitIntervalSec=0",
    "",
    "[Service]",
    `User=${account}`,
    `Group=${account}`,
    `WorkingDirectory=/var/lib/${account}`,
    `ExecStart=${command}`,
    `Environment=OS_OSLO_MESSAGING_RABBIT__PROCESSNAME=${name}`,
    "Restart=always",
    "RestartSec=1",
    "LimitNOFILE=65535",
    "",
    "[Install]",
    "WantedBy=multi-user.target",
  );
}

/** Of a daemon that ends when something it needs is not there: it is tried again, as often as it takes. */
export const PERSISTENT = ["Restart=always", "RestartSec=1"] as const;
