import { spawnSync } from "node:child_process";
import { imageSpecs } from "../components/hosts/lab";
import { sortedJson } from "../components/step";
import { Secrets } from "../secrets";
import { program } from "./program";
import { fileCloud, ROOT, stackName } from "./stack";

/**
 * npm run bake [STACK]: bake the images of a lab's hosts into the cache, without a lab. `npm run up` does it by itself; the
 * tests that ask the daemons' own parsers need no more than this.
 */
function main(): void {
  const stack = stackName();
  // By its file: where nothing was deployed yet there is no stack to ask.
  const cloud = fileCloud(stack);
  // Names and versions of secrets, never a value.
  const secrets = new Secrets(cloud, { seed: undefined, overrides: {} });
  for (const [name, spec] of imageSpecs(cloud, secrets)) {
    console.log(`image ${name}`);
    const baked = spawnSync("scripts/lab/lab", ["image"], {
      cwd: ROOT,
      env: { ...process.env, LAB_SPEC: sortedJson(spec) },
      stdio: ["ignore", "inherit", "inherit"],
    });
    if (baked.status !== 0) {
      process.exitCode = 1;
      return;
    }
  }
}

if (require.main === module) program(main);
