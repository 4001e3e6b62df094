import { execFileSync, spawnSync } from "node:child_process";
import {
  copyFileSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  readlinkSync,
  rmSync,
  statSync,
  truncateSync,
  writeFileSync,
} from "node:fs";
import { homedir, tmpdir } from "node:os";
import { join, resolve } from "node:path";
import test from "ava";
import { DhcpNetwork } from "./support/dhcp";
import { eventually, freePort, Machine, QEMU, run } from "./support/machine";

/**
 * The guest that the cloud's tests boot: built, started twice as Nova starts it, looked at from inside, and switched off by its
 * power button. The tests are one story and run in order.
 */

const repository = resolve(__dirname, "../..");
const folder = mkdtempSync(join(tmpdir(), "guest-"));
const at = (name: string): string => join(folder, name);
const MIB = 1024 * 1024;

let image: string;
let machine: Machine | undefined;
let network: DhcpNetwork | undefined;

const guest = (): Machine => {
  if (machine === undefined) throw new Error("wanted the guest started, found that it failed");
  return machine;
};

/** A command for one of these programs, whichever the machine has. */
function need(programs: readonly string[], packages: string): string {
  const found = programs.find((name) => spawnSync("which", [name]).status === 0);
  if (found !== undefined) return found;
  throw new Error(`wanted ${programs.join(" or ")}, found none; apt-get install ${packages}`);
}

function build(spec: object): { status: number | null; stdout: string; stderr: string } {
  const options = {
    env: { ...process.env, GUEST_SPEC: JSON.stringify(spec) },
    encoding: "utf8",
  } as const;
  return spawnSync(join(repository, "scripts/guest/build"), options);
}

/** What Nova puts on a config drive and behind its metadata service. */
function metadata(name: string, userData: string): void {
  const key = readFileSync(at("id.pub"), "utf8");
  const latest = at("metadata/openstack/latest");
  rmSync(at("metadata"), { recursive: true, force: true });
  mkdirSync(latest, { recursive: true });
  const data = {
    uuid: "83679162-1378-4288-a2d4-70e13ec132aa",
    // A trap for whoever takes the first word that fits.
    meta: { hostname: "not-me", public_keys: "none" },
    public_keys: { mine: key },
    keys: [{ name: "mine", type: "ssh", data: key }],
    hostname: `${name}.novalocal`,
    name,
  };
  writeFileSync(join(latest, "meta_data.json"), JSON.stringify(data));
  writeFileSync(join(latest, "user_data"), userData);
}

test.before(() => {
  need([QEMU], "qemu-system-x86");
  execFileSync("ssh-keygen", ["-q", "-t", "ecdsa", "-N", "", "-C", "user@test", "-f", at("id")]);
});

test.after.always(() => {
  machine?.kill();
  network?.close();
  rmSync(folder, { recursive: true, force: true });
});

test.serial("a mistake in the spec is one line that says what to do", (t) => {
  const { status, stdout, stderr } = build({ suite: "trixie", user: "root" });
  t.is(status, 1);
  t.is(stdout, "");
  t.is(stderr, "error: guest: user: wanted an ordinary one, found 'root'; fix GUEST_SPEC\n");
});

test.serial("it is built once, and is small", (t) => {
  t.timeout(20 * 60_000);
  const spec = { suite: "trixie", user: "debian" };
  const first = build(spec);
  t.is(first.status, 0, first.stderr);
  const last = first.stdout.trimEnd().split("\n").at(-1)!;
  t.regex(last, /^(created|updated): guest [0-9a-f]{16} \([0-9.]+ s\)$|^unchanged$/);
  t.log(last);
  t.is(build(spec).stdout, "unchanged\n");

  const { OPENSTACK_HA_CACHE, XDG_CACHE_HOME } = process.env;
  const cache =
    OPENSTACK_HA_CACHE ?? join(XDG_CACHE_HOME ?? join(homedir(), ".cache"), "openstack-ha");
  image = join(cache, "guest", readlinkSync(join(cache, "guest/current")));
  const size = (name: string): number => statSync(join(image, name)).size / MIB;
  for (const name of ["vmlinuz", "initrd", "disk.raw"]) {
    t.log(`${name}: ${size(name).toFixed(1)} MiB`);
  }
  t.is(size("disk.raw"), 1);
  t.true(size("initrd") < 12, "the initrd has less than 12 MiB");
});

test.serial("it boots with a config drive, and lets its user in", async (t) => {
  t.timeout(5 * 60_000);
  metadata("web1", "#!/bin/bash\nset -o pipefail\necho done as $(id -un) >/run/user-data-ran\n");
  const mkisofs = need(["genisoimage", "mkisofs", "xorrisofs"], "genisoimage");
  await run(mkisofs, ["-quiet", "-V", "config-2", "-r", "-J", "-o", at("cd.iso"), at("metadata")]);
  copyFileSync(join(image, "disk.raw"), at("root.raw"));
  truncateSync(at("root.raw"), 1024 * MIB);
  machine = await Machine.start({
    folder,
    kernel: join(image, "vmlinuz"),
    initrd: join(image, "initrd"),
    disk: at("root.raw"),
    args: ["-drive", `file=${at("cd.iso")},media=cdrom,if=ide,readonly=on`],
  });
  t.is(await machine.reachable(), "web1\n");
  t.log(`SSH after ${machine.age.toFixed(1)} s`);
  t.log(await machine.ssh("free -m | sed -n 2p"));
});

test.serial("its console ends with a prompt", async (t) => {
  t.timeout(3 * 60_000);
  await eventually("a prompt", () => guest().console().includes("web1 login: ") || undefined);
  t.regex(
    guest().console(),
    /guest: ready after [0-9.]+ s: web1, metadata of the config drive, SSH keys: 1/,
  );
  await guest().ssh("sudo sh -c 'echo written to the console >/dev/console'");
  await eventually(
    "the line",
    () => guest().console().includes("written to the console") || undefined,
  );
});

test.serial("it knows the commands of Tempest", async (t) => {
  t.timeout(5 * 60_000);
  const prologue = "set -eu -o pipefail; PATH=$PATH:/sbin:/usr/sbin; ";
  const ask = (command: string): Promise<string> => guest().ssh(prologue + command);
  t.is(await ask("sudo id -u; sudo sh -c 'id -un'; sudo -n -u debian id -un"), "0\nroot\ndebian\n");
  t.is(await ask("id -un; id -u; echo $SHELL"), "debian\n1000\n/bin/bash\n");
  t.regex(await ask("lsblk -lb --nodeps"), /^vda +254:0 +0 1073741824 +0 disk/m);
  t.regex(await ask("ip -o addr | awk '/eth0/ {print $4}'"), /^10\.0\.2\.15\/24$/m);
  t.is(await ask("cat /proc/$(cat /var/run/udhcpc.eth0.pid)/comm"), "udhcpc\n");
  t.regex(await ask("cat /etc/resolv.conf"), /^nameserver 10\.0\.2\.3$/m);
  await ask("sudo /bin/kill -USR1 $(cat /var/run/udhcpc.eth0.pid)");
  t.regex(await ask("ping -c1 -w5 -s56 127.0.0.1"), / 0% packet loss/);
  t.regex(await ask("sudo ping -I lo -c1 -w5 127.0.0.1"), / 0% packet loss/);
  t.regex(await ask("curl -V"), /^curl .*OpenSSL/);
  t.regex(await ask("sudo /sbin/modprobe 8021q; /sbin/lsmod"), /^8021q /m);
  t.is(await ask("cat /run/user-data-ran"), "done as root\n");
  t.is(
    await ask("sudo mount -o remount,rw /mnt; findmnt -no SOURCE,FSTYPE /mnt"),
    "/dev/vda ext4\n",
  );
  // As it mounts the config drive.
  await ask("sudo mount $(blkid -L config-2 -o device) /mnt");
  t.regex(await ask("sudo cat /mnt/openstack/latest/meta_data.json"), /novalocal/);
  await ask("sudo umount /mnt");
  const others = "uptime; df; ps -ef; nc --help; killall -l; mktemp; dd --help; timeout 1 true";
  await t.notThrowsAsync(ask(`(${others}) >/dev/null 2>&1`));
});

test.serial("a disk that is plugged in is there, and goes", async (t) => {
  t.timeout(5 * 60_000);
  writeFileSync(at("volume.raw"), "");
  truncateSync(at("volume.raw"), 64 * MIB);
  const node = { driver: "raw", "node-name": "volume" };
  await guest().command("blockdev-add", {
    ...node,
    file: { driver: "file", filename: at("volume.raw") },
  });
  await guest().command("device_add", {
    driver: "virtio-blk-pci",
    id: "volume",
    drive: "volume",
    serial: "1b4d6f2a-0b1c-4e5f-9",
  });
  const disks = (): Promise<string> => guest().ssh("lsblk --nodeps --noheadings --output NAME");
  await eventually("vdb", async () => /^vdb$/m.test(await disks()) || undefined);
  t.is(await guest().ssh("cat /sys/block/vdb/serial"), "1b4d6f2a-0b1c-4e5f-9");
  t.regex(await guest().ssh("cat /proc/partitions"), / 65536 vdb$/m);
  for (const type of ["ext4", "vfat"]) {
    await guest().ssh(`sudo mkfs -t ${type} /dev/vdb && sudo mkdir -p /mnt/vdb`);
    await guest().ssh("sudo mount /dev/vdb /mnt/vdb");
    await guest().ssh(
      `sudo sh -c 'echo ${type} on it >/mnt/vdb/text; sync' && sudo umount /mnt/vdb`,
    );
    t.is(
      await guest().ssh(
        "sudo mount /dev/vdb /mnt/vdb && cat /mnt/vdb/text && sudo umount /mnt/vdb",
      ),
      `${type} on it\n`,
    );
  }
  await guest().command("device_del", { id: "volume" });
  await eventually("no vdb", async () => !/^vdb$/m.test(await disks()) || undefined);
});

test.serial("a NIC that is plugged in gets what DHCP says, and goes", async (t) => {
  t.timeout(5 * 60_000);
  network = await DhcpNetwork.open({
    server: "192.0.2.2",
    client: "192.0.2.17",
    mtu: 1342,
    route: ["169.254.169.254", "192.0.2.2"],
  });
  await guest().command("netdev_add", {
    type: "socket",
    id: "nic1",
    udp: `127.0.0.1:${network.port}`,
    localaddr: `127.0.0.1:${await freePort()}`,
  });
  await guest().command("device_add", { driver: "virtio-net-pci", id: "nic1", netdev: "nic1" });
  const show = (): Promise<string> => guest().ssh("ip -o -4 addr; ip -o link; ip route");
  const shown = await eventually("an address", async () => {
    const text = await show();
    return text.includes("192.0.2.17/24") ? text : undefined;
  });
  t.regex(shown, /eth1: .* mtu 1342 /);
  const routed = await eventually("a route", async () => {
    const text = await show();
    return text.includes("169.254.169.254") ? text : undefined;
  });
  t.regex(routed, /^169\.254\.169\.254 via 192\.0\.2\.2 dev eth1/m);
  await guest().command("device_del", { id: "nic1" });
  await eventually("no eth1", async () => !(await show()).includes("eth1") || undefined);
  await eventually("no client", async () => {
    return /^1$/m.test(await guest().ssh("pidof udhcpc | wc -w")) || undefined;
  });
  t.pass();
});

test.serial("its power button ends it in order", async (t) => {
  t.timeout(3 * 60_000);
  await guest().ssh("sudo sh -c 'echo kept >/mnt/kept'");
  await guest().command("system_powerdown");
  t.is(await guest().end(120), 0);
  t.regex(guest().console(), /guest: the power button was pressed/);
});

test.serial("it boots with the metadata service, and finds its disk as it left it", async (t) => {
  t.timeout(6 * 60_000);
  guest().kill();
  metadata("web2", "#cloud-config\n");
  machine = await Machine.start({
    folder,
    kernel: join(image, "vmlinuz"),
    initrd: join(image, "initrd"),
    disk: at("root.raw"),
    // QEMU forwards addresses of its own network only.
    network: `net=169.254.169.0/24,guestfwd=tcp:169.254.169.254:80-cmd:${join(__dirname, "support/metadata")} ${at("metadata")}`,
  });
  t.is(await machine.reachable(), "web2\n");
  t.log(`SSH after ${machine.age.toFixed(1)} s`);
  t.is(await machine.ssh("cat /mnt/kept"), "kept\n");
  const url = "http://169.254.169.254/openstack/latest/meta_data.json";
  t.regex(await machine.ssh(`curl -sS ${url}`), /web2\.novalocal/);
  await eventually("a prompt", () => guest().console().includes("web2 login: ") || undefined);
  t.regex(guest().console(), /metadata of http:\/\/169\.254\.169\.254\//);

  await machine.ssh("sudo reboot").catch(() => "");
  await eventually("the next boot", () => {
    return guest().console().split("guest: ready after").length === 3 || undefined;
  });
  t.is(await machine.reachable(), "web2\n");
  await machine.ssh("sudo poweroff").catch(() => "");
  t.is(await machine.end(120), 0);
});
