import { createHook } from "node:async_hooks";
import * as fs from "node:fs";
import test from "ava";
import { scaleOptions } from "../../bench/scale/cloud";
import type * as config from "../../config";
import { planOf } from "./support/plan";

/**
 * What the program does grows with the number of its hosts, and no faster. It is counted and not timed: three clouds that differ
 * in their compute hosts alone, by the same number each. What grows by a line grows by the same from the second to the third as from
 * the first to the second; a square would grow by half more here.
 */

const SIZES = [14, 22, 30] as const;

interface Work {
  resources: number;
  dependencies: number;
  /** How often one of the cloud's hosts was looked at. */
  looks: number;
  /** Promises: what the SDK does for a value or a resource. */
  promises: number;
  /** Files below scripts/ that were read. */
  files: number;
}

async function workOf(hosts: number): Promise<Work> {
  const work: Work = { resources: 0, dependencies: 0, looks: 0, promises: 0, files: 0 };
  const restore = [countHosts(work), countFiles(work), countPromises(work)];
  try {
    const plan = await planOf(scaleOptions(hosts), { preview: true });
    work.resources = plan.resources.length;
    work.dependencies = plan.resources.reduce((sum, { dependsOn }) => sum + dependsOn.length, 0);
  } finally {
    for (const each of restore.reverse()) each();
  }
  return work;
}

/** The program is loaded anew for each plan, and then gets a configuration whose list of hosts counts. */
function countHosts(work: Work): () => void {
  const loaded = require.cache[require.resolve("../../config")]!;
  const original = loaded.exports as typeof config;
  loaded.exports = {
    ...original,
    loadCloud: () => {
      const cloud = original.loadCloud();
      const hosts = new Proxy([...cloud.hosts], {
        get(list, key): unknown {
          if (typeof key === "string" && /^\d+$/.test(key)) work.looks++;
          return Reflect.get(list, key);
        },
      });
      return { ...cloud, hosts };
    },
  };
  return () => {
    loaded.exports = original;
  };
}

function countFiles(work: Work): () => void {
  const original = fs.readFileSync;
  const real = jsFs();
  real.readFileSync = ((file: fs.PathOrFileDescriptor, ...rest: never[]) => {
    if (typeof file === "string" && file.includes("/scripts/")) work.files++;
    return original(file, ...rest);
  }) as typeof fs.readFileSync;
  return () => {
    real.readFileSync = original;
  };
}

/** The module itself: what `import` gives cannot be written to. */
function jsFs(): { readFileSync: typeof fs.readFileSync } {
  // eslint-disable-next-line @typescript-eslint/no-require-imports
  return require("node:fs") as { readFileSync: typeof fs.readFileSync };
}

function countPromises(work: Work): () => void {
  const hook = createHook({
    init(_id, type) {
      if (type === "PROMISE") work.promises++;
    },
  }).enable();
  return () => {
    hook.disable();
  };
}

test.serial("work grows in line with the number of hosts", async (t) => {
  const [small, middle, large] = [
    await workOf(SIZES[0]),
    await workOf(SIZES[1]),
    await workOf(SIZES[2]),
  ];
  t.log(small, middle, large);
  for (const kind of ["resources", "dependencies", "looks", "promises"] as const) {
    const [first, second] = [middle[kind] - small[kind], large[kind] - middle[kind]];
    t.true(first > 0, `${kind}: ${small[kind]}, ${middle[kind]}: nothing was counted`);
    t.true(
      second <= 1.05 * first,
      `${kind}: wanted the same growth for the same number of hosts, found ${first} and then ${second}`,
    );
  }
  // Each script is read once, by the first plan of this process.
  t.is(large.files, 0);
});
