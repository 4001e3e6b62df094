import type * as pulumi from "@pulumi/pulumi";
import type { Cloud } from "../../config";
import type { KeyFile } from "../../secrets";
import type { Host } from "../hosts/host";
import { ini, secret } from "../render";
import { type After, type Context, everywhere, type PerHost, Service } from "../service";
import { type Check, type Files, type Step, withParams } from "../step";
import {
  apiPort,
  cacheSection,
  databaseSection,
  dropInPath,
  keystoneUrl,
  uwsgiDropIn,
  uwsgiIni,
} from "./oslo";

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
  /** Ids of its own roles by name. */
  readonly roles: pulumi.Output<Readonly<Record<string, string>>>;

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
      // Not before all members have joined: HAProxy moves sessions to the first of them, and cuts what is under way.
      everywhere(args.database),
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
    this.roles = this.askRoles(context);
    this.registerOutputs({});
  }

  /** Keystone makes these ids up; a step of its own, so that no other change makes them unknown in a preview. */
  private askRoles({ cloud }: Context): Keystone["roles"] {
    const [first] = this.stage(
      "verify",
      (host) => ({
        ...keystoneCheck(cloud, host),
        verify: undefined,
        script: this.script("roles.sh"),
      }),
      this.ready,
    ).values();
    return (first as Step).answers;
  }

  /** Every controller's Keystone, for what needs the API behind the VIP. */
  get everywhere(): After {
    return everywhere(this.ready);
  }
}

const PORT = apiPort("keystone");
const OWNED = { owner: "keystone", group: "keystone" } as const;

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
    [`${CONF}/keystone-uwsgi.ini`]: {
      content: uwsgiIni({
        name: "keystone",
        account: "keystone",
        script: "/usr/bin/keystone-wsgi-public",
        processes: cloud.keystone.processes,
        threads: cloud.keystone.threads,
      }),
    },
    [dropInPath("keystone")]: {
      content: uwsgiDropIn("keystone", host, PORT, `${CONF}/keystone-uwsgi.ini`),
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
  const { keystone } = cloud;
  return ini({
    DEFAULT: { debug: keystone.debug },
    cache: cacheSection(cloud),
    credential: { key_repository: `${CONF}/credential-keys` },
    database: databaseSection(cloud, "keystone"),
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
