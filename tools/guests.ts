import { execFileSync, spawn, spawnSync } from "node:child_process";
import * as fs from "node:fs";
import * as os from "node:os";
import * as path from "node:path";
import { ApiError, eventually, Final, type Json, type OpenStack } from "./openstack";

/** Guests for tests and benches: a network with a router, servers with floating addresses, volumes, and ssh into them. */

const COMPUTE = "compute";
const NETWORK = "network";
const VOLUME = "volumev3";
/** The account of the test image. */
const USER = "debian";
/** Of each server that is not reached. */
const CONSOLE_LINES = 80;

interface Named {
  readonly id: string;
  readonly name: string;
}

export interface Guest {
  readonly name: string;
  readonly id: string;
  readonly floating: string;
}

/** Everything is made with names of one prefix, by which it is found and removed, also what an earlier run left. */
export class Guests {
  private readonly folder = fs.mkdtempSync(path.join(os.tmpdir(), "openstack-ha-guests-"));
  private network = "";
  private external = "";

  constructor(
    private readonly api: OpenStack,
    private readonly prefix: string,
  ) {}

  private ours(list: readonly Named[]): Named[] {
    return list.filter(({ name }) => name.startsWith(`${this.prefix}-`));
  }

  private async servers(): Promise<Named[]> {
    return this.ours(await this.api.get<Named[]>(COMPUTE, "/servers", "servers"));
  }

  private name(what: string): string {
    return `${this.prefix}-${what}`;
  }

  /** Network, router, security group and key for the servers. */
  async prepare(): Promise<void> {
    execFileSync("ssh-keygen", [
      "-q",
      "-t",
      "ed25519",
      "-N",
      "",
      "-f",
      path.join(this.folder, "key"),
    ]);
    const { api } = this;
    const [external] = await api.get<Named[]>(NETWORK, "/v2.0/networks?name=external", "networks");
    if (!external)
      throw new Error("wanted the network external, found none; is content.enabled on?");
    this.external = external.id;
    await api.post(COMPUTE, "/os-keypairs", "keypair", {
      keypair: {
        name: this.name("key"),
        type: "ssh",
        public_key: fs.readFileSync(path.join(this.folder, "key.pub"), "utf8").trim(),
      },
    });
    const group = await api.post<Named>(NETWORK, "/v2.0/security-groups", "security_group", {
      security_group: { name: this.name("group") },
    });
    for (const rule of [
      { protocol: "icmp" },
      { protocol: "tcp", port_range_min: 22, port_range_max: 22 },
    ]) {
      await api.post(NETWORK, "/v2.0/security-group-rules", "security_group_rule", {
        security_group_rule: { security_group_id: group.id, direction: "ingress", ...rule },
      });
    }
    const network = await api.post<Named>(NETWORK, "/v2.0/networks", "network", {
      network: { name: this.name("network") },
    });
    this.network = network.id;
    const subnet = await api.post<Named>(NETWORK, "/v2.0/subnets", "subnet", {
      subnet: {
        name: this.name("subnet"),
        network_id: network.id,
        ip_version: 4,
        cidr: "192.168.99.0/24",
      },
    });
    const router = await api.post<Named>(NETWORK, "/v2.0/routers", "router", {
      router: { name: this.name("router"), external_gateway_info: { network_id: external.id } },
    });
    await api.ask("PUT", NETWORK, `/v2.0/routers/${router.id}/add_router_interface`, {
      subnet_id: subnet.id,
    });
  }

  /** A server with a floating address, as soon as Nova says it runs; it may still boot. */
  async boot(what: string, host?: string): Promise<Guest> {
    const { api } = this;
    const name = this.name(what);
    const [image] = await api.get<Named[]>("image", "/v2/images?name=test", "images");
    const flavors = await api.get<Named[]>(COMPUTE, "/flavors", "flavors");
    const flavor = flavors.find((each) => each.name === "m1.nano");
    if (!image || !flavor)
      throw new Error("wanted the image test and the flavor m1.nano, found them missing");
    const server = await api.post<Named>(COMPUTE, "/servers", "server", {
      server: {
        name,
        imageRef: image.id,
        flavorRef: flavor.id,
        key_name: this.name("key"),
        networks: [{ uuid: this.network }],
        security_groups: [{ name: this.name("group") }],
        ...(host ? { host } : {}),
      },
    });
    await this.serverIs(server.id, "ACTIVE", 300);
    const [port] = await api.get<Named[]>(NETWORK, `/v2.0/ports?device_id=${server.id}`, "ports");
    const address = await api.post<Json>(NETWORK, "/v2.0/floatingips", "floatingip", {
      floatingip: {
        floating_network_id: this.external,
        port_id: (port as Named).id,
        description: this.name("address"),
      },
    });
    return { name, id: server.id, floating: address.floating_ip_address as string };
  }

  async serverIs(id: string, status: string, limitSeconds: number): Promise<Json> {
    return eventually(`server ${id} ${status}`, limitSeconds, async () => {
      const server = await this.api.get<Json>(COMPUTE, `/servers/${id}`, "server");
      if (server.status === "ERROR") {
        const fault = server.fault as { message?: string } | undefined;
        throw new Final(`server ${id}: ${fault?.message ?? "in error, without a reason"}`);
      }
      if (server.status === status && server["OS-EXT-STS:task_state"] === null) return server;
      throw new Error(`it is ${String(server.status)}`);
    });
  }

  /** It answers to ping, and then to ssh. */
  async reached({ floating }: Guest, limitSeconds: number): Promise<void> {
    await eventually(`an answer to ping from ${floating}`, limitSeconds, () =>
      Promise.resolve(pings(floating) ? true : undefined),
    );
    await eventually(`ssh at ${floating}`, limitSeconds, async () => {
      await this.ssh(floating, "true", 20);
      return true;
    });
  }

  /** What there is to see of servers that are not reached, before they are gone: where they and their gateway are, and their consoles. */
  async evidence(): Promise<string> {
    const { api } = this;
    const servers = await this.servers();
    const ports = await api.get<Json[]>(NETWORK, "/v2.0/ports", "ports");
    const consoles = await Promise.all(
      servers.map(async ({ id, name }) => {
        const output = await api
          .post<string>(COMPUTE, `/servers/${id}/action`, "output", {
            "os-getConsoleOutput": { length: CONSOLE_LINES },
          })
          .catch((error: unknown) => `no console: ${String(error)}`);
        return `== console of ${name}\n${output}`;
      }),
    );
    const lines = ports.map((port) =>
      [
        ...[port.device_owner, port.status, port["binding:host_id"], port.mac_address],
        JSON.stringify(port.fixed_ips),
      ].join("  "),
    );
    const neighbours = spawnSync("ip", ["neighbour"], { encoding: "utf8" }).stdout;
    return [
      "== ports: owner, status, host, MAC, addresses",
      ...lines,
      "== who this machine knows",
      neighbours,
      ...consoles,
      "",
    ].join("\n");
  }

  /** Run a command in a guest; its standard output. */
  async ssh(floating: string, command: string, limitSeconds = 60): Promise<string> {
    const child = spawn("ssh", [...this.sshOptions(), `${USER}@${floating}`, command], {
      stdio: ["ignore", "pipe", "pipe"],
      timeout: limitSeconds * 1000,
    });
    let out = "";
    let err = "";
    child.stdout.on("data", (data: Buffer) => (out += data.toString()));
    child.stderr.on("data", (data: Buffer) => (err += data.toString()));
    const code = await new Promise<number | null>((resolve) => child.on("close", resolve));
    if (code !== 0)
      throw new Error(`ssh ${floating} ended with ${String(code)}: ${err.trim().slice(-300)}`);
    return out;
  }

  sshOptions(): string[] {
    return [
      ...["-i", path.join(this.folder, "key"), "-o", "IdentitiesOnly=yes", "-o", "BatchMode=yes"],
      // The guest made its key a minute ago, and nobody can have told us.
      ...["-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null"],
      ...["-o", "LogLevel=ERROR", "-o", "ConnectTimeout=10"],
    ];
  }

  /** An empty volume of one GiB. */
  async volume(what: string): Promise<string> {
    const volume = await this.api.post<Named>(VOLUME, "/volumes", "volume", {
      volume: { name: this.name(what), size: 1 },
    });
    await this.volumeIs(volume.id, "available");
    return volume.id;
  }

  async volumeIs(id: string, status: string): Promise<void> {
    await eventually(`volume ${id} ${status}`, 180, async () => {
      const volume = await this.api.get<Json>(VOLUME, `/volumes/${id}`, "volume");
      if (String(volume.status).startsWith("error")) throw new Final(`volume ${id} is in error`);
      if (volume.status === status) return true;
      throw new Error(`it is ${String(volume.status)}`);
    });
  }

  /** Attach a volume; the device's name in the guest. */
  async attach(guest: Guest, volume: string): Promise<string> {
    const disks = async (): Promise<string[]> =>
      (await this.ssh(guest.floating, "ls /sys/block"))
        .split(/\s+/)
        .filter((each) => each.startsWith("vd"));
    const before = await disks();
    await this.api.post(COMPUTE, `/servers/${guest.id}/os-volume_attachments`, "volumeAttachment", {
      volumeAttachment: { volumeId: volume },
    });
    await this.volumeIs(volume, "in-use");
    const device = await eventually(`a new disk in ${guest.name}`, 90, async () =>
      (await disks()).find((each) => !before.includes(each)),
    );
    return `/dev/${device}`;
  }

  async detach(guest: Guest, volume: string): Promise<void> {
    const attachments = `/servers/${guest.id}/os-volume_attachments`;
    await this.api.remove(COMPUTE, `${attachments}/${volume}`);
    await this.volumeIs(volume, "available");
    // Nova refuses another server until it has forgotten this one, a moment after Cinder gave the volume free.
    await eventually(`volume ${volume} forgotten by ${guest.name}`, 60, async () => {
      const left = await this.api.get<Json[]>(COMPUTE, attachments, "volumeAttachments");
      return left.every(({ volumeId }) => volumeId !== volume) || undefined;
    });
  }

  /** Remove all that has the prefix, whoever made it, and wait until it is gone. */
  async clear(): Promise<void> {
    const { api } = this;
    const project = `project_id=${api.projectId}`;
    const floating = await api.get<(Named & { description: string })[]>(
      NETWORK,
      `/v2.0/floatingips?${project}`,
      "floatingips",
    );
    for (const each of floating.filter(({ description }) => description === this.name("address"))) {
      await api.remove(NETWORK, `/v2.0/floatingips/${each.id}`);
    }
    for (const { id } of await this.servers()) await api.remove(COMPUTE, `/servers/${id}`);
    await eventually("the servers gone", 180, async () =>
      (await this.servers()).length === 0 ? true : undefined,
    );
    const volumes = async (): Promise<Named[]> =>
      this.ours(await api.get<Named[]>(VOLUME, "/volumes", "volumes"));
    for (const { id } of await volumes()) {
      await eventually(`volume ${id} removable`, 120, async () => {
        await api.remove(VOLUME, `/volumes/${id}`);
        return true;
      });
    }
    await eventually("the volumes gone", 180, async () =>
      (await volumes()).length === 0 ? true : undefined,
    );
    const subnets = this.ours(
      await api.get<Named[]>(NETWORK, `/v2.0/subnets?${project}`, "subnets"),
    );
    for (const router of this.ours(
      await api.get<Named[]>(NETWORK, `/v2.0/routers?${project}`, "routers"),
    )) {
      for (const subnet of subnets) {
        await this.ignoring(404, () =>
          api.ask("PUT", NETWORK, `/v2.0/routers/${router.id}/remove_router_interface`, {
            subnet_id: subnet.id,
          }),
        );
      }
      await api.remove(NETWORK, `/v2.0/routers/${router.id}`);
    }
    for (const { id } of this.ours(
      await api.get<Named[]>(NETWORK, `/v2.0/networks?${project}`, "networks"),
    )) {
      await api.remove(NETWORK, `/v2.0/networks/${id}`);
    }
    for (const { id } of this.ours(
      await api.get<Named[]>(NETWORK, `/v2.0/security-groups?${project}`, "security_groups"),
    )) {
      await api.remove(NETWORK, `/v2.0/security-groups/${id}`);
    }
    await api.remove(COMPUTE, `/os-keypairs/${this.name("key")}`);
  }

  private async ignoring(status: number, call: () => Promise<unknown>): Promise<void> {
    try {
      await call();
    } catch (error) {
      if (!(error instanceof ApiError && error.status === status)) throw error;
    }
  }

  /** Forget the key. */
  close(): void {
    fs.rmSync(this.folder, { recursive: true, force: true });
  }
}

/** One ping, answered within a second. */
export function pings(address: string): boolean {
  return spawnSync("ping", ["-n", "-c", "1", "-W", "1", address], { stdio: "ignore" }).status === 0;
}
