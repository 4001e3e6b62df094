import { hostsWith } from "../config";
import {
  bmcOff,
  bmcPassword,
  killContainer,
  onHost,
  openHealthyLab,
  option,
  powerOn,
  seconds,
  sleep,
  TokenClient,
  untilHealthy,
} from "./lib";

/**
 * Power off all hosts at once, just after a row was committed; then power on, as when the electricity comes back, and
 * touch nothing. Measures the time until tokens are issued again and until every check is well, and looks for the row.
 *
 *   npm run bench:blackout -- [--stack dev] [--rounds 3]
 */
async function main(): Promise<void> {
  const lab = await openHealthyLab();
  const rounds = Number(option("rounds", "3"));
  const password = bmcPassword(lab);
  const hosts = lab.cloud.hosts.map((host) => host.name);
  const controllers = hostsWith(lab.cloud, "controller").map((host) => host.name);
  let lost = 0;
  console.log("round  tokens after  all well after  row");
  for (let round = 1; round <= rounds; round++) {
    const first = controllers[round % controllers.length] as string;
    const value = `${Date.now()}`;
    onHost(
      lab,
      first,
      "mariadb",
      `CREATE DATABASE IF NOT EXISTS bench; CREATE TABLE IF NOT EXISTS bench.rows (value BIGINT PRIMARY KEY); INSERT INTO bench.rows VALUES (${value});`,
    );
    // One by its BMC, to have both ways; then the rest at once.
    bmcOff(lab, first, password);
    for (const host of hosts) if (host !== first) killContainer(lab, host);
    await sleep(2000);
    const event = Date.now();
    for (const host of hosts) powerOn(lab, host);
    const client = new TokenClient(lab, "public", 1000);
    let tokens = Number.POSITIVE_INFINITY;
    while (Date.now() - event < 600_000) {
      if ((await client.ask()).ok) {
        tokens = Date.now() - event;
        break;
      }
      await sleep(500);
    }
    const healed = tokens + (await untilHealthy(lab, 300));
    const found = onHost(
      lab,
      first,
      `mariadb -BN -e 'SELECT COUNT(*) FROM bench.rows WHERE value = ${value}'`,
    ).trim();
    if (found !== "1") lost++;
    console.log(
      `${String(round).padEnd(5)}  ${`${seconds(tokens)} s`.padEnd(12)}  ${`${seconds(healed)} s`.padEnd(14)}  ${found === "1" ? "there" : "LOST"}`,
    );
  }
  onHost(lab, controllers[0] as string, "mariadb -e 'DROP DATABASE bench'");
  if (lost) process.exitCode = 1;
}

void main();
