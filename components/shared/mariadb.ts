import type * as pulumi from "@pulumi/pulumi";
import { type Cloud, hostsWith } from "../../config";
import type { Host } from "../hosts/host";
import { ini, lines } from "../render";
import { type After, type Context, type PerHost, Service } from "../service";
import { type Check, type Files, scriptFile, withParams } from "../step";

const CHECK_PORT = 9200;

/** MariaDB with Galera on every controller. Pacemaker's agent bootstraps, joins and recovers it. */
export class Mariadb extends Service {
  /** Its configuration is on every controller: Pacemaker may start it. */
  readonly configured: PerHost;

  constructor(context: Context, opts?: pulumi.ComponentResourceOptions) {
    super("mariadb", context, opts);

    const install = this.install();
    this.configured = this.stage(
      "configure",
      (host) => ({
        files: mariadbFiles(context.cloud, host),
        directories: { "/var/log/mysql": { owner: "mysql", group: "adm", mode: "2750" } },
        script: this.script("configure.sh"),
      }),
      install,
    );
    this.registerOutputs({});
  }

  /** Every node is synced, once Pacemaker has been told to run it. */
  running(...after: After[]): PerHost {
    return this.stage(
      "start",
      (host) => ({
        ...withParams(mariadbCheck(this.context.cloud, host), { members: this.on.map(checkUrl) }),
        script: this.script("start.sh"),
        // 400 s to be there; then the third waits for two others, each of which has up to 120 s to see the rest healthy and
        // 240 s to restart.
        timeout: 1200,
      }),
      this.configured,
      ...after,
    );
  }
}

/** What HAProxy asks: this node is synced and takes writes. */
export const mariadbCheck: Check = (_cloud, host) => ({
  params: { check: checkUrl(host) },
  verify: "mariadb/verify.sh",
});

function checkUrl({ addresses }: Pick<Host, "addresses">): string {
  return `http://${addresses.management}:${CHECK_PORT}/`;
}

export function mariadbFiles(cloud: Cloud, host: Pick<Host, "name" | "addresses">): Files {
  return {
    "/etc/mysql/mariadb.conf.d/90-openstack-ha.cnf": {
      content: mariadbConf(cloud, host),
      validate: ["mariadbd", "--defaults-file={}", "--help", "--verbose"],
    },
    "/etc/systemd/system/galera-check.service": { content: checkUnit(host) },
    "/usr/local/lib/openstack-ha/galera-check.py": {
      content: scriptFile("mariadb/galera-check.py"),
      mode: "0755",
    },
  };
}

/** The server's options: only what differs from MariaDB's defaults, or must not change with them. */
export function mariadbConf(cloud: Cloud, host: Pick<Host, "name" | "addresses">): string {
  const { galera } = cloud;
  const members = hostsWith(cloud, "controller").map((each) => each.addresses.management);
  const provider = {
    "evs.inactive_check_period": galera.evs.inactiveCheckPeriod,
    "evs.inactive_timeout": galera.evs.inactiveTimeout,
    "evs.install_timeout": galera.evs.installTimeout,
    "evs.keepalive_period": galera.evs.keepalivePeriod,
    "evs.suspect_timeout": galera.evs.suspectTimeout,
    "gcache.size": `${galera.gcacheMiB}M`,
    "gmcast.listen_addr": `tcp://${host.addresses.management}:4567`,
    "ist.recv_addr": `${host.addresses.management}:4568`,
  };
  return ini({
    mariadb: {
      bind_address: host.addresses.management,
      binlog_format: "row",
      character_set_server: "utf8mb4",
      default_storage_engine: "InnoDB",
      // Galera needs interleaved auto-increments.
      innodb_autoinc_lock_mode: 2,
      innodb_buffer_pool_size: `${galera.bufferPoolMiB}M`,
      // A commit that was confirmed is on disk: all nodes can lose power at once.
      innodb_flush_log_at_trx_commit: 1,
      // OpenStack reads, then writes what another has changed since, as MariaDB allowed until 11.6.2 ("Record has changed
      // since last read" ends a server's deletion in error).
      innodb_snapshot_isolation: "OFF",
      max_connections: galera.maxConnections,
      // Without it a client's address is looked up in DNS at each connection.
      skip_name_resolve: "ON",
      wsrep_cluster_address: `gcomm://${members.join(",")}`,
      wsrep_cluster_name: cloud.stack,
      wsrep_node_address: host.addresses.management,
      wsrep_node_name: host.name,
      wsrep_on: "ON",
      wsrep_provider: "/usr/lib/galera/libgalera_smm.so",
      wsrep_provider_options: `"${Object.entries(provider)
        .map(([key, value]) => `${key}=${value}`)
        .join("; ")}"`,
      // Over the server's own socket, as its own account: no password to keep.
      wsrep_sst_auth: "mysql:",
      wsrep_sst_method: "mariabackup",
    },
  });
}

function checkUnit(host: Pick<Host, "addresses">): string {
  return lines(
    "[Unit]",
    "Description=Health of the Galera node, over HTTP for HAProxy",
    "",
    "[Service]",
    `ExecStart=/usr/local/lib/openstack-ha/galera-check.py ${host.addresses.management} ${CHECK_PORT}`,
    "User=mysql",
    "Restart=always",
    "RestartSec=1",
    "",
    "[Install]",
    "WantedBy=multi-user.target",
  );
}
