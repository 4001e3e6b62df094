import type * as pulumi from "@pulumi/pulumi";
import { service } from "../../catalogue";
import type { Cloud } from "../../config";
import type { KeyFile } from "../../secrets";
import type { Host } from "../hosts/host";
import { ini, lines, MANAGED, secret } from "../render";
import { type After, type Context, everywhere, type PerHost, Service } from "../service";
import { memcachedServers } from "../shared/memcached";
import { type Check, type Files, withParams } from "../step";

const CONF = "/etc/keystone";

export interface KeystoneArgs {
  /** Galera takes writes through the internal VIP. */
  readonly database: PerHost;
  readonly cache: PerHost;
}

/** Keystone on every controller: stateless, with the same Fernet keys everywhere, behind both VIPs. */
export class Keystone extends Service {
  /** Tokens are issued on every controller. */
  readonly ready: PerHost;

  constructor(context: Context, args: KeystoneArgs, opts?: pulumi.ComponentResourceOptions) {
    super("keystone", context, opts);

    const keys = {
      fernet: context.secrets.fernetRepository(),
      credential: context.secrets.credentialRepository(),
    };
    const install = this.install();
    const configure = this.stage(
      "configure",
      (host) => ({
        files: keystoneFiles(context.cloud, host, keys),
        directories: {
          [`${CONF}/credential-keys`]: { ...OWNED, mode: "0700", purge: true },
          [`${CONF}/fernet-keys`]: { ...OWNED, mode: "0700", purge: true },
        },
      }),
      install,
    );
    const bootstrap = this.stage(
      "bootstrap",
      () => ({
        params: {
          credentials: context.cloud.secretVersions["keystone-credential"] ?? 1,
          internal: keystoneUrl(context.cloud, "internal"),
          public: keystoneUrl(context.cloud, "public"),
          region: context.cloud.region,
        },
        secrets: ["keystone-admin", "keystone-db"],
        script: this.script("bootstrap.sh"),
      }),
      // New credential keys have to be on every host before anything is encrypted with them.
      everywhere(configure),
      args.database,
    );
    this.ready = this.stage(
      "start",
      (host) => ({
        ...withParams(keystoneCheck(context.cloud, host), {
          files: Object.keys(keystoneFiles(context.cloud, host, { fernet: [], credential: [] })),
        }),
        script: this.script("start.sh"),
      }),
      bootstrap,
      everywhere(args.cache),
    );
    this.registerOutputs({});
  }

  /** Every controller's Keystone, for what needs the API behind the VIP. */
  get everywhere(): After {
    return everywhere(this.ready);
  }
}

const PORT = service("keystone").frontend?.port as number;
const OWNED = { owner: "keystone", group: "keystone" } as const;

/** The Identity API behind a VIP. */
export function keystoneUrl(cloud: Cloud, vip: "internal" | "public"): string {
  return `http://${cloud.vips[vip]}:${PORT}/v3`;
}

/** This host's Keystone issues a token and accepts it. */
export const keystoneCheck: Check = (_cloud, host) => ({
  params: { url: `http://${host.addresses.management}:${PORT}` },
  secrets: ["keystone-admin"],
  verify: "keystone/verify.sh",
});

export interface KeystoneKeys {
  readonly fernet: readonly KeyFile[];
  readonly credential: readonly KeyFile[];
}

export function keystoneFiles(
  cloud: Cloud,
  host: Pick<Host, "addresses">,
  keys: KeystoneKeys,
): Files {
  return {
    [`${CONF}/keystone.conf`]: { content: keystoneConf(cloud), mode: "0640", group: "keystone" },
    [`${CONF}/keystone-uwsgi.ini`]: { content: uwsgiIni(cloud) },
    "/etc/systemd/system/keystone.service.d/openstack-ha.conf": {
      // Debian's start script binds every address, and HAProxy needs the VIPs'.
      content: lines(
        "[Service]",
        "ExecStart=",
        `ExecStart=/usr/bin/uwsgi_python3 --http-socket ${host.addresses.management}:${PORT} --ini ${CONF}/keystone-uwsgi.ini`,
      ),
    },
    ...keyFiles("fernet", keys.fernet),
    ...keyFiles("credential", keys.credential),
  };
}

/**
 * A key repository as `keystone-manage fernet_rotate` would leave it. The next primary key is staged on every host
 * before any host uses it, so hosts can rotate in any order.
 */
function keyFiles(kind: "fernet" | "credential", keys: readonly KeyFile[]): Files {
  return Object.fromEntries(
    keys.map((key) => [
      `${CONF}/${kind}-keys/${key.file}`,
      {
        ...OWNED,
        content: secret(key.secret),
        mode: "0600",
        // The staged key is the next primary: that file has to be there before this one gets another key.
        ...(key.file === "0" ? { last: true } : {}),
      },
    ]),
  );
}

export function keystoneConf(cloud: Cloud): string {
  const { database, keystone, memcached } = cloud;
  return ini({
    DEFAULT: { debug: keystone.debug },
    cache: {
      // The pool takes a dead memcached out for a while; the plain client fails on it each time.
      backend: "oslo_cache.memcache_pool",
      enabled: true,
      memcache_dead_retry: memcached.deadRetrySeconds,
      memcache_servers: memcachedServers(cloud),
      memcache_socket_timeout: memcached.socketTimeoutMs / 1000,
    },
    credential: { key_repository: `${CONF}/credential-keys` },
    database: {
      connection: `mysql+pymysql://keystone:${secret("keystone-db")}@${cloud.vips.internal}/keystone?charset=utf8mb4`,
      connection_recycle_time: database.recycleSeconds,
      max_overflow: database.poolOverflow,
      max_pool_size: database.poolSize,
      max_retries: -1,
    },
    fernet_tokens: {
      key_repository: `${CONF}/fernet-keys`,
      max_active_keys: keystone.fernet.maxActiveKeys,
    },
    // bcrypt reads no more of a password; saying so keeps Keystone from warning of it at each login.
    identity: { max_password_length: 72, password_hash_rounds: keystone.passwordHashRounds },
    oslo_middleware: { enable_proxy_headers_parsing: true },
    token: {
      allow_expired_window: keystone.allowExpiredWindowSeconds,
      expiration: keystone.tokenExpirationSeconds,
      provider: "fernet",
    },
  });
}

/** Debian's file with the numbers of the plan, and what it needs to come back by itself. */
function uwsgiIni(cloud: Cloud): string {
  const { processes, threads } = cloud.keystone;
  return `${[
    MANAGED,
    "[uwsgi]",
    "buffer-size = 65535",
    "chdir = /var/lib/keystone",
    "close-on-exec = true",
    "close-on-exec2 = true",
    "die-on-term = true",
    // A client that gave up is no error of ours.
    "disable-write-exception = true",
    // HAProxy logs the requests; its health checks would be six lines a second here.
    "disable-logging = true",
    "enable-threads = true",
    "gid = keystone",
    // A worker that hangs on a request is replaced after this many seconds.
    "harakiri = 60",
    "ignore-sigpipe = true",
    "ignore-write-errors = true",
    "lazy-apps = true",
    "listen = 100",
    "log-4xx = true",
    "log-5xx = true",
    "logto = /var/log/keystone/keystone.log",
    "master = true",
    "need-app = true",
    "no-orphans = true",
    "paste-logger = true",
    "plugins = python3",
    `processes = ${processes}`,
    // What ps shows.
    "procname-prefix-spaced = keystone-api",
    "rem-header = Content-Length",
    `threads = ${threads}`,
    "thunder-lock = true",
    "uid = keystone",
    "wsgi-file = /usr/bin/keystone-wsgi-public",
  ].join("\n")}\n`;
}
