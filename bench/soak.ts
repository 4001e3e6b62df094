import * as os from "node:os";
import {
  fencings,
  type Lab,
  openHealthyLab,
  option,
  seconds,
  sleep,
  TokenClient,
  untilHealthy,
} from "./lib";

/**
 * Load for a long time, and count what must not happen: a host that is fenced although nothing is wrong with it. Each
 * client asks for the next token as soon as it has the last one, so the machine's cores are always busy.
 *
 *   npm run bench:soak -- [--stack dev] [--minutes 30] [--clients 12]
 */
async function main(): Promise<void> {
  const lab = await openHealthyLab();
  const minutes = Number(option("minutes", "30"));
  const clients = Number(option("clients", "12"));
  const before = fencingsOfAll(lab);
  const end = Date.now() + minutes * 60_000;
  let failed = 0;
  console.log("minute  tokens  failed  slowest  load  fenced");
  for (let minute = 1; Date.now() < end; minute++) {
    const results = await Promise.all(
      Array.from({ length: clients }, () => askUntil(lab, Math.min(end, Date.now() + 60_000))),
    );
    const all = results.flat();
    const bad = all.filter((sample) => !sample.ok).length;
    failed += bad;
    const slowest = Math.max(...all.map((sample) => sample.end - sample.start));
    console.log(
      [
        String(minute).padEnd(6),
        String(all.length).padEnd(6),
        String(bad).padEnd(6),
        `${seconds(slowest)} s`.padEnd(7),
        (os.loadavg()[0] ?? 0).toFixed(1).padEnd(4),
        String(fencingsOfAll(lab) - before),
      ].join("  "),
    );
  }
  const fenced = fencingsOfAll(lab) - before;
  await untilHealthy(lab, 120);
  console.log(
    `${minutes} min, ${clients} clients: ${fenced} hosts fenced, ${failed} requests failed`,
  );
  if (fenced) process.exitCode = 1;
}

function fencingsOfAll(lab: Lab): number {
  const hosts = lab.cloud.hosts.map((host) => host.name);
  return hosts.reduce((sum, host) => sum + fencings(lab, hosts[0] as string, host), 0);
}

async function askUntil(lab: Lab, end: number): Promise<Awaited<ReturnType<TokenClient["ask"]>>[]> {
  // Slow is no failure here: with all cores busy an answer takes its time.
  const client = new TokenClient(lab, "public", 0, 30_000);
  const samples = [];
  while (Date.now() < end) {
    const sample = await client.ask();
    samples.push(sample);
    // A refused connection comes back at once: do not spin.
    if (!sample.ok) await sleep(200);
  }
  return samples;
}

void main();
