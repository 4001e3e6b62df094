import { execFileSync } from "node:child_process";
import * as fs from "node:fs";
import * as path from "node:path";
import { ROOT, sleep } from "../../../bench/lib";
import { committed, Scratch } from "../../../bench/scratch";
import type { Cloud } from "../../../config";
import { parseCloud } from "../../../config";
import { plainSecrets, sshKeyPair } from "../../../secrets";
import { knownHosts, sshConfig } from "../../../tools/outputs";
import { PROJECT } from "../../../tools/stack";
import { type Options, readStackFile } from "../../fixtures/config/fixtures";

/** Machines that exist, for a test: the lab hosts of a stack that makes nothing else, known to others by what a person would note. */
export class Machines {
  private readonly lab: Scratch;
  private readonly cloud: Cloud;
  private readonly folder: string;
  private readonly secrets: ReadonlyMap<string, string>;
  private readonly hostKeys: Readonly<Record<string, string>>;

  constructor(
    private readonly stack: string,
    prefix: string,
    private readonly seed: string,
  ) {
    this.lab = new Scratch(stack, committed("dev", prefix));
    this.cloud = parseCloud(readStackFile(`Pulumi.${stack}.yaml`), { project: PROJECT, stack });
    this.secrets = plainSecrets(this.cloud, seed);
    this.hostKeys = Object.fromEntries(
      this.names.map((name) => [
        name,
        sshKeyPair({ seed, stack, name: `ssh-host-${name}`, version: 1 }).publicKey,
      ]),
    );
    this.folder = path.join(ROOT, ".cloud", `${stack}-machines`);
    fs.mkdirSync(this.folder, { recursive: true, mode: 0o700 });
    const put = (name: string, content: string): void => {
      fs.writeFileSync(path.join(this.folder, name), content, { mode: 0o600 });
    };
    put("id_ed25519", this.privateKey);
    put("known_hosts", knownHosts(this.cloud, this.hostKeys));
    put("ssh_config", sshConfig(this.cloud, this.folder));
  }

  get names(): string[] {
    return this.cloud.hosts.map(({ name }) => name);
  }

  get privateKey(): string {
    return this.secrets.get("ssh-deployer")!;
  }

  get bmcPassword(): string {
    return this.secrets.get("pacemaker-bmc")!;
  }

  /** Switch them on for the first time. @throws Error if that fails. */
  async rack(): Promise<void> {
    const done = async (what: string, ...args: string[]): Promise<void> => {
      const { status } = await this.lab.pulumi(...args);
      if (status !== 0) throw new Error(`${what} ended with ${String(status)}`);
    };
    await done("stack init", "stack", "init");
    await done("the seed", "config", "set", "--secret", "openstack-ha:seed", this.seed);
    await done(
      "the lab's hosts",
      ...["up", "--yes", "--skip-preview", "--parallel", "64"],
      ...["--target", "**openstack-ha:hosts:Lab**"],
    );
    for (const name of this.names) {
      await this.answers(name);
      this.run(name, packageSource());
    }
  }

  destroy(): Promise<number | null> {
    return this.lab.cloud("destroy");
  }

  async unrack(): Promise<void> {
    await this.lab.dispose();
    fs.rmSync(this.folder, { recursive: true, force: true });
  }

  /** What a person writes down of them: an inventory, and the options that a cloud in containers needs. */
  inventory(): Options {
    const { hosts, ...options } = readStackFile(`Pulumi.${this.stack}.yaml`);
    return {
      ...options,
      backend: "inventory",
      neutron: { datapath: "userspace" },
      nova: { virtType: "qemu" },
      inventory: {
        confinesGuests: false,
        nics: Object.fromEntries(Object.entries(NICS).map(([port, name]) => [port, { name }])),
      },
      hosts: (hosts as { name: string; roles: string[] }[]).map((host) => {
        const { bmc } = this.cloud.hosts.find(({ name }) => name === host.name)!;
        const macs = this.macs(host.name);
        return {
          ...host,
          ssh: { hostKey: this.hostKeys[host.name] },
          bmc: { address: bmc!.address, port: bmc!.port, user: bmc!.user },
          nics: Object.fromEntries(
            Object.entries(NICS)
              .filter(([, nic]) => macs.has(nic))
              .map(([port, name]) => [port, { name, mac: macs.get(name) }]),
          ),
          ...(host.roles.includes("storage") ? { disks: [] } : {}),
        };
      }),
    };
  }

  /** Run commands as root on one; their output. */
  run(name: string, commands: string): string {
    return execFileSync(
      "ssh",
      ["-F", path.join(this.folder, "ssh_config"), name, "bash -e -o pipefail"],
      { input: commands, encoding: "utf8", maxBuffer: 1 << 28, timeout: 120_000 },
    );
  }

  /** Run a command where their network is, as whoever owns the switches can. */
  onSwitches(...command: string[]): string {
    return this.labCommand("exec", this.stack, "--", ...command);
  }

  power(name: string, state: "on" | "off"): void {
    this.labCommand("power", this.stack, state, name);
  }

  async answers(name: string): Promise<void> {
    const end = Date.now() + 120_000;
    for (;;) {
      try {
        this.run(name, "systemctl is-system-running --wait >/dev/null || true");
        return;
      } catch (error) {
        if (Date.now() > end) throw error;
        await sleep(500);
      }
    }
  }

  /** Every file and package of all of them, but for what is written by the clock and by a login. */
  listing(): string {
    return this.names.map((name) => `== ${name}\n${this.run(name, LISTING)}`).join("");
  }

  private macs(name: string): Map<string, string> {
    const links = JSON.parse(this.run(name, "ip -json link show")) as {
      ifname: string;
      address: string;
    }[];
    return new Map(links.map(({ ifname, address }) => [ifname, address]));
  }

  private labCommand(...args: string[]): string {
    return execFileSync(path.join(ROOT, "scripts/lab/lab"), args, {
      encoding: "utf8",
      stdio: ["ignore", "pipe", "inherit"],
    });
  }
}

const NICS = {
  management: "mgmt0",
  tunnel: "tun0",
  storage: "sto0",
  external: "ext0",
  provider: "prv0",
} as const;

const LISTING = `find / -xdev -path /var/log -prune -o -path /var/lib/systemd -prune -o -path /tmp -prune -o -path /run -prune -o \
  -type f -printf '%p %s %m %U:%G %T@\\n' | LC_ALL=C sort
dpkg-query --show
`;

/** Where apt finds what is installed: a machine's packages come from somewhere, and these have no way out to Debian's. */
function packageSource(): string {
  return `mkdir -p /srv/packages
rm -f /etc/apt/sources.list /etc/apt/sources.list.d/*
dpkg-query --show --showformat 'Package: \${Package}\\nVersion: \${Version}\\nArchitecture: \${Architecture}\\nFilename: none.deb\\nSize: 1\\n\\n' \
  >/srv/packages/Packages
echo 'deb [trusted=yes] file:/srv/packages ./' >/etc/apt/sources.list
apt-get -qq update
`;
}
