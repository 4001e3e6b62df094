import { openLab, option, seconds, untilHealthy } from "./lib";
import { committed, Scratch } from "./scratch";

/**
 * Kill a first deployment (SIGKILL, its whole process group) at several points, run it again each time, and see that
 * it ends in the same healthy cloud.
 *
 *   npm run bench:interrupt -- [--points 10] [--first 1] [--last 10]
 */
async function main(): Promise<void> {
  const points = Number(option("points", "10"));
  const first = Number(option("first", "1"));
  const last = Number(option("last", String(points)));
  const rows: string[] = [];
  let broken = 0;
  for (let point = first; point <= last; point++) {
    const scratch = new Scratch("interrupt", committed("controllers", "10.79."));
    try {
      // A deployment says of 85 resources that they are created.
      const resources = Math.round((85 * point) / (points + 0.5));
      const killed = await scratch.killedUp(resources);
      const start = Date.now();
      const status = await scratch.cloud("up");
      if (status !== 0) throw new Error(`the second up ended with ${String(status)}`);
      await untilHealthy(openLab(scratch.stack), 60);
      rows.push(
        `${point}  killed at ${resources} resources (${killed.toFixed(1)} s), repaired in ${seconds(Date.now() - start)} s, all well`,
      );
    } catch (error) {
      broken++;
      rows.push(
        `${point}  NOT REPAIRED: ${error instanceof Error ? error.message : String(error)}`,
      );
    } finally {
      await scratch.dispose();
    }
    console.log(rows.at(-1));
  }
  console.log(["", ...rows, `${rows.length - broken} of ${rows.length} repaired`].join("\n"));
  process.exitCode = broken ? 1 : 0;
}

void main();
