import { spawnSync } from "node:child_process";
import * as fs from "node:fs";
import * as path from "node:path";
import { parse } from "yaml";
import { imageSpecs } from "../components/hosts/lab";
import { sortedJson } from "../components/step";
import { Secrets } from "../secrets";
import { parseCloud } from "../config";
import { stackName } from "./stack";

/**
 * npm run bake [STACK]: bake the images of a lab's hosts into the cache, without a lab. `npm run up` does it by itself; the
 * tests that ask the daemons' own parsers need no more than this.
 */
const PROJECT = "openstack-ha";

function main(): void {
  const stack = stackName();
  const cloud = committedCloud(stack);
  // Names and versions of secrets, never a value.
  const secrets = new Secrets(cloud, { seed: undefined, overrides: {} });
  for (const [name, spec] of imageSpecs(cloud, secrets)) {
    console.log(`image ${name}`);
    const baked = spawnSync("scripts/lab/lab", ["image"], {
      cwd: path.join(__dirname, ".."),
      env: { ...process.env, LAB_SPEC: sortedJson(spec) },
      stdio: ["ignore", "inherit", "inherit"],
    });
    if (baked.status !== 0) {
      process.exitCode = 1;
      return;
    }
  }
}

/** By its file, without Pulumi: where nothing was deployed yet there is no stack to ask. */
function committedCloud(stack: string): ReturnType<typeof parseCloud> {
  const file = fs.readFileSync(path.join(__dirname, "..", `Pulumi.${stack}.yaml`), "utf8");
  const { config } = parse(file) as { config: Record<string, unknown> };
  const options = Object.entries(config)
    .filter(([key]) => key !== `${PROJECT}:seed`)
    .map(([key, value]) => [key.replace(`${PROJECT}:`, ""), value]);
  return parseCloud(Object.fromEntries(options), { project: PROJECT, stack });
}

main();
