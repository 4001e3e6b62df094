import * as fs from "node:fs";
import * as path from "node:path";
import { isWhole } from "../catalogue";
import type { Cloud } from "../config";
import { Guests } from "./guests";
import { onHost } from "./hosts";
import { OpenStack } from "./openstack";
import { program } from "./program";
import { cloudFolder, stackCloud, stackName, stackOutputs } from "./stack";

/** What decides whether a guest gets an address: its port with its options, on each member; and who claimed it. */
const NORTHBOUND = ["Logical_Switch_Port", "DHCP_Options"]
  .map(
    (table) =>
      `ovn-nbctl --timeout 20 --no-leader-only --db unix:/run/ovn/ovnnb_db.sock list ${table}`,
  )
  .join("; ");
/** What decides whether its packets come and go: its port in the switch, and the flows that answer DHCP (opcode 2 of OVN's). */
const CHASSIS = [
  "tail -n 60 /var/log/ovn/ovn-controller.log",
  "tail -n 60 /var/log/openvswitch/ovs-vswitchd.log",
  "ovs-vsctl show",
  "ovs-vsctl --columns=name,ofport,link_state,error,external_ids,statistics list Interface",
  "ovs-ofctl dump-flows br-int | grep userdata=00.00.00.02",
].join("; ");

/** An emulated guest on a busy machine takes a minute and a half. */
const REACHED_SECONDS = 240;

/**
 * npm run first-server [STACK]: boot two servers, reach them by ping and ssh at their floating addresses, write to a
 * volume in the first, read it in the second, and remove everything. `npm run up` ends with it in the lab: a cloud works
 * when a server does.
 */
async function main(): Promise<void> {
  const stack = stackName();
  const cloud = stackCloud(stack);
  if (!isWhole(cloud) || !cloud.content.enabled || !cloud.content.testImage) {
    console.log("no servers: the cloud has no compute hosts, or no test image");
    return;
  }
  const outputs = stackOutputs(stack);
  const api = await OpenStack.login({
    authUrl: outputs.authUrl,
    user: "admin",
    password: outputs.adminPassword,
    project: "admin",
  });
  const started = Date.now();
  const say = (text: string): void => {
    console.log(`${((Date.now() - started) / 1000).toFixed(1).padStart(6)} s  ${text}`);
  };
  const guests = new Guests(api, "first");
  try {
    await guests.clear();
    await guests.prepare();
    say("network, router, security group and key are there");
    const [one, two] = await Promise.all([guests.boot("one"), guests.boot("two")]);
    say(`two servers run, at ${one.floating} and ${two.floating}`);
    const [volume, ...answers] = await Promise.all([
      guests.volume("volume"),
      ...[one, two].map((each) =>
        guests.reached(each, REACHED_SECONDS).then(
          () => [],
          (error: unknown) => [(error as Error).message],
        ),
      ),
    ]);
    const failed = answers.flat();
    if (failed.length) {
      const file = path.join(cloudFolder(stack), "first-server.txt");
      const said = [await guests.evidence(), ...(await networkSaid(stack, cloud))];
      fs.writeFileSync(file, said.join("\n"), { mode: 0o600 });
      throw new Error(
        `${failed.join("; ")} (${failed.length} of 2); where their ports are, what OVN knows of them and their consoles: ${file}; to try it again: npm run first-server`,
      );
    }
    say("both answer to ping and ssh from outside");
    const text = `written by ${one.name} at ${new Date(started).toISOString()}`;
    const disk = await guests.attach(one, volume);
    await guests.ssh(
      one.floating,
      `sudo mkfs.ext4 -q ${disk} && sudo mkdir -p /mnt && sudo mount ${disk} /mnt && echo '${text}' | sudo tee /mnt/note >/dev/null && sudo umount /mnt`,
    );
    say(`a volume is attached to ${one.name}, and written`);
    await guests.detach(one, volume);
    const other = await guests.attach(two, volume);
    const found = await guests.ssh(
      two.floating,
      `sudo mkdir -p /mnt && sudo mount ${other} /mnt && cat /mnt/note && sudo umount /mnt`,
    );
    if (found.trim() !== text)
      throw new Error(`wanted "${text}" on the volume, found "${found.trim()}"`);
    await guests.detach(two, volume);
    say(`it is read in ${two.name}`);
  } finally {
    await guests.clear();
    guests.close();
  }
  say("all removed again");
}

function networkSaid(stack: string, cloud: Cloud): Promise<string[]> {
  const asked = cloud.hosts.flatMap((host) => [
    ...(host.roles.includes("controller") ? [{ host, command: NORTHBOUND }] : []),
    ...(host.roles.includes("compute") ? [{ host, command: CHASSIS }] : []),
  ]);
  return Promise.all(
    asked.map(async ({ host, command }) => {
      const script = `sh -c '${command}'`;
      const said = await onHost(stack, host, script, { limitSeconds: 60 }).catch(String);
      return `== ${host.name}: ${command}\n${said}`;
    }),
  );
}

program(main);
