import * as fs from "node:fs";
import * as path from "node:path";
import { parseDocument, YAMLMap, YAMLSeq } from "yaml";
import { type Guest, Guests } from "../tools/guests";
import { nodeState } from "../tools/host-life";
import { eventually, type Json } from "../tools/openstack";
import {
  adminApi,
  begin,
  failures,
  killContainer,
  type Lab,
  longestGap,
  onHost,
  openHealthyLab,
  openLab,
  option,
  ROOT,
  run,
  seconds,
  sleep,
  Table,
  tool,
  untilHealthy,
} from "./lib";
import { API_KINDS, clearGuests, Pinger, Watch, wantPing } from "./watch";

/**
 * The life of hosts, each by a change of the list and `up`, while tokens are asked for, lists are read from the APIs, and a guest is
 * pinged: a compute host comes, is drained with a guest that runs and one that is off, and goes; a controller that was powered off
 * for good begins anew under its name. What is refused is shown too.
 *
 *   npm run bench:hostlife -- [--stack dev] [--new cmp3] [--id 23] [--lost ctl2] [--stories compute,controller]
 */

const PREFIX = "bench";
const AROUND_MS = 5000;
const UP_SECONDS = 3600;
const HEALTHY_SECONDS = 600;
/** Until the others have fenced a controller that lost power. */
const FENCED_SECONDS = 120;

interface Story {
  readonly lab: Lab;
  readonly file: string;
  readonly table: Table;
}

async function main(): Promise<void> {
  wantPing();
  const lab = await openHealthyLab();
  const stories = option("stories", "compute,controller").split(",");
  const file = path.join(ROOT, `Pulumi.${lab.stack}.yaml`);
  const pending = await changedResources(lab);
  if (pending.length)
    throw new Error(
      `wanted a stack without a change, found ${pending.length} (${pending.slice(0, 5).join(", ")}, …); run npm run up`,
    );
  const table = new Table(
    ["change", "preview", "resources", "up", ...API_KINDS, "ping", "gap", "well"],
    [26, 7, 9, 8, ...API_KINDS.map(() => 8), 8, 16, 7],
  );
  const story: Story = { lab, file, table };
  const guests = new Guests(await adminApi(lab), PREFIX);
  try {
    await guests.clear();
    await guests.prepare();
    // On a host that stays.
    const stays = await guests.boot("stays", computes(lab)[0]);
    await guests.reached(stays, 300);
    if (stories.includes("compute")) await computeHost(story, guests, stays);
    if (stories.includes("controller")) await controller(story, stays);
  } finally {
    await clearGuests(lab, PREFIX).catch((error: unknown) => {
      console.error(`the guests could not be removed: ${(error as Error).message}`);
      process.exitCode = 1;
    });
    guests.close();
  }
}

async function computeHost(story: Story, guests: Guests, stays: Guest): Promise<void> {
  const { lab } = story;
  const name = option("new", "cmp3");
  const added = {
    name,
    roles: ["compute"],
    id: Number(option("id", "23")),
    failureDomain: "rack3",
  };
  const others = hostList(story).items.map((item) => String((item as YAMLMap).get("name")));
  if (others.includes(name))
    throw new Error(`wanted a new host, found ${name} in the list already`);

  edit(story, (hosts) => {
    hosts.add(parseDocument("").createNode(added, { flow: true }));
  });
  await apply(story, `${name} comes`, stays);

  const running = await guests.boot("running", name);
  await guests.reached(running, 300);
  const off = await guests.boot("off", name);
  await (
    await adminApi(lab)
  ).ask("POST", "compute", `/servers/${off.id}/action`, { "os-stop": null });
  await guests.serverIs(off.id, "SHUTOFF", 180);

  // Not drained: refused, in the preview.
  const held = fs.readFileSync(story.file, "utf8");
  edit(story, (hosts) => {
    remove(hosts, name);
  });
  console.log(`    taken out at once: ${await refusal(lab)}`);
  fs.writeFileSync(story.file, held);

  edit(story, (hosts) => {
    hostIn(hosts, name).set("state", "drained");
  });
  const pinger = new Pinger(running.floating);
  pinger.start();
  const event = Date.now();
  try {
    await apply(story, `${name} is drained`, stays);
  } finally {
    await pinger.stop();
  }
  console.log(
    `    the guest that moved: ${failures(pinger.samples, event, Date.now())} pings lost, longest gap ${seconds(longestGap(pinger.samples, event))} s`,
  );
  const api = await adminApi(lab);
  for (const guest of [running, off]) {
    const server = await api.get<Json>("compute", `/servers/${guest.id}`, "server");
    console.log(
      `    ${guest.name}: ${String(server.status)} on ${String(server["OS-EXT-SRV-ATTR:host"])}`,
    );
  }

  edit(story, (hosts) => {
    remove(hosts, name);
  });
  await apply(story, `${name} goes`, stays);
  const left = await api.get<Json[]>("compute", `/os-services?host=${name}`, "services");
  const agents = await api.get<Json[]>("network", `/v2.0/agents?host=${name}`, "agents");
  console.log(
    `    left of ${name}: ${left.length} records of Nova, ${agents.length} agents of Neutron`,
  );
  await api.ask("POST", "compute", `/servers/${off.id}/action`, { "os-start": null });
  await guests.serverIs(off.id, "ACTIVE", 300);
  await guests.reached(off, 300);
  console.log(`    ${off.name} starts on another host and is reached`);
}

async function controller(story: Story, stays: Guest): Promise<void> {
  const { lab } = story;
  const name = option("lost", "ctl2");
  const witness = lab.cloud.hosts.find(
    (host) => host.name !== name && host.roles.includes("controller"),
  )?.name as string;
  console.log(`    ${name} loses power for good`);
  const killed = Date.now();
  killContainer(lab, name);
  const others = lab.cloud.hosts.filter((host) => host.name !== name);
  await eventually(`${name} fenced by the others`, FENCED_SECONDS, async () =>
    (await nodeState(others, lab.stack, name)) === "offline" ? true : undefined,
  );
  console.log(`    fenced after ${seconds(Date.now() - killed)} s`);
  // Fencing powers it on again, and the self-test takes its time: off before it boots, and nobody asks for it any more.
  await sleep(2000);
  killContainer(lab, name);

  const before = Number(hostIn(hostList(story), name).get("rebuild") ?? 1);
  const held = fs.readFileSync(story.file, "utf8");
  edit(story, (hosts) => {
    for (const each of [name, witness]) hostIn(hosts, each).set("rebuild", before + 1);
  });
  console.log(`    two at once: ${await refusal(lab)}`);
  fs.writeFileSync(story.file, held);

  edit(story, (hosts) => {
    hostIn(hosts, name).set("rebuild", before + 1);
  });
  await apply(story, `${name} begins anew`, stays);
  for (const [what, command] of [
    ["pacemaker", "crm_mon --one-shot --output-as=xml | grep -c '<node .*online=\"true\"'"],
    ["galera", "mariadb -BNe \"SHOW STATUS LIKE 'wsrep_cluster_size'\""],
    ["rabbitmq", "rabbitmqctl --quiet --formatter json cluster_status | jq -c .running_nodes"],
    [
      "queues by copies",
      "rabbitmqctl --quiet --formatter json list_queues name type members | jq -c 'group_by(.members | length) | map({copies: (.[0].members | length), queues: length})'",
    ],
    [
      "ovn nb",
      "ovn-appctl -t /run/ovn/ovnnb_db.ctl cluster/status OVN_Northbound | sed -n '/^Servers/,$p' | grep -c ' at '",
    ],
    [
      "ovn sb",
      "ovn-appctl -t /run/ovn/ovnsb_db.ctl cluster/status OVN_Southbound | sed -n '/^Servers/,$p' | grep -c ' at '",
    ],
    [
      "ceph",
      "ceph -s --format json | jq -c '[.quorum_names, .osdmap.num_osds, .osdmap.num_in_osds, .health.status, (.health.checks | keys)]'",
    ],
  ] as const)
    console.log(`    ${what}: ${onHost(lab, witness, command).trim()}`);
}

/** A preview, then `up` under watch; one row, and what was said of the hosts. */
async function apply(story: Story, what: string, stays: Guest): Promise<void> {
  const { table } = story;
  // With the list as it is now.
  const lab = openLab(story.lab.stack);
  const began = Date.now();
  const changed = await changedResources(lab);
  const preview = Date.now() - began;
  // Those that stay may still be busy with the loss.
  const said = await eventually("nothing against it", 180, () =>
    tool(lab.stack, "tools/host-life.ts", ["--ask"]),
  );
  const watch = await Watch.start(story.lab);
  const pinger = new Pinger(stays.floating);
  let event: number;
  let up: number;
  try {
    pinger.start();
    await sleep(AROUND_MS);
    event = Date.now();
    await pulumi(
      lab,
      ["up", "--yes", "--skip-preview", "--suppress-outputs", "--parallel", "64"],
      UP_SECONDS,
    );
    up = Date.now() - event;
    await sleep(AROUND_MS);
  } finally {
    await Promise.all([watch.stop(), pinger.stop()]);
  }
  const end = event + up + AROUND_MS;
  const [worst, gap] = watch.kinds
    .map((kind): [string, number] => [kind, longestGap(watch.samples(kind), event, end)])
    .reduce((a, b) => (b[1] > a[1] ? b : a));
  // Hosts that came need an entry in the files that ssh reads.
  await tool(lab.stack, "tools/outputs.ts");
  const well = await untilHealthy(lab, HEALTHY_SECONDS);
  table.row(
    what,
    `${seconds(preview)} s`,
    changed.length,
    `${seconds(up)} s`,
    ...API_KINDS.map((kind) => failures(watch.samples(kind), event, end)),
    failures(pinger.samples, event, end),
    `${worst} ${seconds(gap)} s`,
    `${seconds(well)} s`,
  );
  for (const line of watch.failed(event, end)) console.log(line);
  console.log(said.trimEnd().replace(/^ {2}/gm, "    "));
}

/** What a preview that has to fail says. */
async function refusal(lab: Lab): Promise<string> {
  const errors = async (work: Promise<unknown>): Promise<string> => {
    try {
      await work;
    } catch (error) {
      const lines = (error as Error).message
        .split("\n")
        .filter((line) => /error:|protected/.test(line));
      if (lines.length === 0) throw error;
      return lines.map((line) => line.trim()).join(" | ");
    }
    return "not refused";
  };
  const [words, engine] = [
    await errors(tool(lab.stack, "tools/host-life.ts")),
    await errors(pulumi(lab, ["preview", "--suppress-outputs"], 600)),
  ];
  return `${words}; the engine: ${engine}`;
}

async function changedResources(lab: Lab): Promise<string[]> {
  const { steps = [] } = JSON.parse(await pulumi(lab, ["preview", "--json"], 600)) as {
    steps?: { op: string; urn: string }[];
  };
  return steps
    .filter(({ op }) => op !== "same")
    .map(({ op, urn }) => `${urn.split("::").at(-1) ?? urn} ${op}`);
}

function hostList({ file }: Pick<Story, "file">): YAMLSeq {
  const hosts = parseDocument(fs.readFileSync(file, "utf8")).getIn([
    "config",
    "openstack-ha:hosts",
  ]);
  if (!(hosts instanceof YAMLSeq)) throw new Error(`wanted a list of hosts in ${file}, found none`);
  return hosts;
}

/** Change the list in the stack's file, and leave the rest as it is written. */
function edit({ file }: Pick<Story, "file">, change: (hosts: YAMLSeq) => void): void {
  const document = parseDocument(fs.readFileSync(file, "utf8"));
  change(document.getIn(["config", "openstack-ha:hosts"]) as YAMLSeq);
  fs.writeFileSync(file, document.toString({ lineWidth: 0, flowCollectionPadding: false }));
}

function hostIn(hosts: YAMLSeq, name: string): YAMLMap {
  const found = hosts.items.find((item) => (item as YAMLMap).get("name") === name);
  if (!(found instanceof YAMLMap))
    throw new Error(`wanted the host ${name} in the list, found none`);
  return found;
}

function remove(hosts: YAMLSeq, name: string): void {
  hosts.items.splice(hosts.items.indexOf(hostIn(hosts, name)), 1);
}

function computes({ cloud }: Lab): string[] {
  return cloud.hosts.filter(({ roles }) => roles.includes("compute")).map(({ name }) => name);
}

function pulumi(lab: Lab, args: readonly string[], limitSeconds: number): Promise<string> {
  return run("pulumi", [...args, "--stack", lab.stack], limitSeconds);
}

begin("hostlife", main);
