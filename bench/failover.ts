import { hostsWith } from "../config";
import {
  bmcOff,
  bmcPassword,
  fencings,
  keepEvidence,
  killContainer,
  longestGap,
  median,
  moveVip,
  openHealthyLab,
  option,
  outage,
  seconds,
  sleep,
  TokenClient,
  untilHealthy,
} from "./lib";

/** Longer than anything that is known to happen. */
const STRANGE_MS = 10_000;

/**
 * Power off the controller that holds the public VIP, each in turn, round after round, while a token is asked for every
 * 0.2 s; odd rounds through its BMC, even ones by killing its container. Each round ends when every check is well again,
 * with no hand on it.
 *
 * With --second another one is lost that many seconds later, which takes five controllers to survive.
 *
 *   npm run bench:failover -- [--stack dev] [--rounds 10] [--second SECONDS]
 */
async function main(): Promise<void> {
  const lab = await openHealthyLab();
  const rounds = Number(option("rounds", "10"));
  const controllers = hostsWith(lab.cloud, "controller");
  const password = bmcPassword(lab);
  const turn = (round: number): string => controllers[round % controllers.length]?.name as string;
  const second = option("second", "");
  if (second && controllers.length < 5)
    throw new Error(
      `--second ${second}: wanted five controllers, found ${controllers.length}; three are no majority without two`,
    );

  const outages: number[] = [];
  console.log("round  victim  how   outage  longest gap  failed  healed  fenced");
  for (let round = 1; round <= rounds; round++) {
    const victim = turn(round - 1);
    await moveVip(lab, "public", victim);
    await untilHealthy(lab, 120);
    // Each controller meets both ways.
    const byBmc = round % 2 === 1;
    const witness = turn(round + 1);
    const fencedBefore = fencings(lab, witness, victim);
    const client = new TokenClient(lab);
    client.start();
    await sleep(3000);
    const event = Date.now();
    if (byBmc) bmcOff(lab, victim, password);
    else killContainer(lab, victim);
    if (second) {
      await sleep(Number(second) * 1000);
      killContainer(lab, turn(round));
    }
    await sleep(15_000);
    await client.stop();
    const down = outage(client.samples, event);
    const healed = (await untilHealthy(lab, 240)) + 15_000;
    const fenced = fencings(lab, witness, victim) - fencedBefore;
    outages.push(down);
    const failed = client.samples.filter((sample) => !sample.ok).length;
    console.log(
      [
        String(round).padEnd(5),
        victim.padEnd(6),
        (byBmc ? "BMC" : "kill").padEnd(4),
        `${seconds(down)} s`.padEnd(6),
        `${seconds(longestGap(client.samples, event))} s`.padEnd(11),
        `${failed}/${client.samples.length}`.padEnd(6),
        `${seconds(healed)} s`.padEnd(6),
        String(fenced),
      ].join("  "),
    );
    if (down > STRANGE_MS)
      console.log(`       what the hosts say of it: ${keepEvidence(lab, "failover")}`);
  }
  console.log(
    `outage in ${rounds} rounds: median ${seconds(median(outages))} s, least ${seconds(Math.min(...outages))} s, worst ${seconds(Math.max(...outages))} s`,
  );
}

void main();
