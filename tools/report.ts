import * as fs from "node:fs";
import * as path from "node:path";
import { spawnSync } from "node:child_process";
import { program } from "./program";
import { LEAST_LIMIT, report } from "./report/markdown";
import { parsePlan, type Plan } from "./report/plan";
import { complaint, Room } from "./report/room";
import { verdictOn } from "./report/rules";
import { fileCloud } from "./stack";

/**
 * npm run preview:report -- [--stack STACK] [options]: what a change does, as Markdown for the comment of a pull request.
 *
 *   (nothing)       the stack's own state, with its passphrase: what `up` would do now
 *   --base FOLDER   another checkout of this repository, with its packages: what the change does to a cloud that was
 *                   deployed from there. Needs no state and no secret, and asks no host
 *   --plan FILE     what `pulumi preview --json --show-sames` has printed elsewhere; `-` is standard input
 *   --limit BYTES   of the Markdown, by default 60000: GitHub takes 65536 characters, GitLab 1000000
 *   --output FILE   instead of standard output
 *
 * Exit code 0 if there is a report, whatever it says; 1 if there is none, or if the engine refused the plan.
 */

const ROOT = path.join(__dirname, "..");
const OPTIONS = ["stack", "base", "plan", "limit", "output"] as const;

type Options = Partial<Record<(typeof OPTIONS)[number], string>>;

async function main(): Promise<void> {
  const options = readOptions(process.argv.slice(2));
  const stack = options.stack ?? process.env.STACK ?? "dev";
  const limit = readLimit(options.limit);
  const { notes, plan } = await planOf(stack, options);
  // Of a plan from elsewhere nobody knows the stack's file.
  const hosts = options.plan === undefined ? fileCloud(stack).hosts : [];
  const verdict = verdictOn(plan, hosts);
  const text = report(plan, { stack, notes, verdict, ...(limit ? { limit } : {}) });
  if (options.output === undefined) process.stdout.write(text);
  else fs.writeFileSync(options.output, text);
}

/** @throws Error that names what is not known. */
export function readOptions(args: readonly string[]): Options {
  const options: Options = {};
  for (let i = 0; i < args.length; i += 2) {
    const name = OPTIONS.find((each) => `--${each}` === args[i]);
    const value = args[i + 1];
    if (name === undefined || value === undefined) {
      throw new Error(
        `${args[i] ?? ""}: wanted ${OPTIONS.map((each) => `--${each}`).join(", ")}, each with a value; see the head of tools/report.ts`,
      );
    }
    options[name] = value;
  }
  return options;
}

function readLimit(text: string | undefined): number | undefined {
  if (text === undefined) return undefined;
  const limit = Number(text);
  if (!Number.isInteger(limit) || limit < LEAST_LIMIT) {
    throw new Error(`--limit: wanted a number of bytes from ${LEAST_LIMIT} on, found ${text}`);
  }
  return limit;
}

interface Planned {
  readonly plan: Plan;
  /** What was compared with what. */
  readonly notes: readonly string[];
}

async function planOf(stack: string, { base, plan }: Options): Promise<Planned> {
  if (plan !== undefined) {
    const text = fs.readFileSync(plan === "-" ? 0 : plan, "utf8");
    return { plan: parsePlan(text, plan), notes: [] };
  }
  if (base !== undefined) return between(stack, base);
  return {
    plan: ownPlan(stack),
    notes: ["Compared with the stack's state: what was last applied."],
  };
}

/** A base that is mistyped would make all of the stack new. */
function wantCheckout(base: string): void {
  if (!fs.existsSync(path.join(base, "Pulumi.yaml")))
    throw new Error(
      `--base ${base}: wanted another checkout of this repository, found no Pulumi.yaml there; make one: git worktree add ${base} main`,
    );
  if (!fs.existsSync(path.join(base, "node_modules")))
    throw new Error(
      `--base ${base}: wanted a checkout with its packages, found none; run there: npm ci`,
    );
}

/** The engine compares the state that the base would leave with what this checkout wants. */
export async function between(stack: string, base: string): Promise<Planned> {
  const notes = [
    "Compared with a cloud that was deployed from the base of this change. Seed, passphrase and state of the real one were not used.",
  ];
  wantCheckout(base);
  const here = await Room.open(ROOT, stack);
  try {
    if (!fs.existsSync(path.join(base, `Pulumi.${stack}.yaml`))) {
      return {
        plan: await here.preview(),
        notes: ["The base has no such stack: all of it is new."],
      };
    }
    const there = await Room.open(base, stack);
    try {
      await here.import(await there.settle());
    } finally {
      there.close();
    }
    return { plan: await here.preview(), notes };
  } finally {
    here.close();
  }
}

function ownPlan(stack: string): Plan {
  const { status, stdout, stderr } = spawnSync(
    "pulumi",
    ["preview", "--stack", stack, "--json", "--show-sames", "--non-interactive"],
    // A plan of hundreds of hosts has some hundred megabytes.
    { cwd: ROOT, encoding: "utf8", maxBuffer: 1 << 30, stdio: ["ignore", "pipe", "pipe"] },
  );
  if (status !== 0) throw new Error(complaint({ status, stdout, stderr }));
  return parsePlan(stdout, "pulumi preview");
}

if (require.main === module) program(main);
