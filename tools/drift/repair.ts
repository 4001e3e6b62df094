import { nameOf } from "../report/plan";
import { plain, type StateResource } from "../stack";
import { type Digest, pulumi } from "./engine";
import type { Repair, RepairPlan } from "./plan";

/**
 * Running steps again through the engine. A step has nothing to delete, so to replace one is to run it: what it is made of
 * stays the same, and so does all that depends on it.
 */

/** Most steps wait for something on their host (see tools/cloud). */
const PARALLEL = "64";
const PREVIEW_SECONDS = 300;

/**
 * What the engine would do, before anybody is asked.
 * @throws Error if it is more than the plan, or something else than was applied last.
 */
export async function previewPlan(
  stack: string,
  state: readonly StateResource[],
  plan: RepairPlan,
): Promise<void> {
  if (!plan.steps.length) return;
  const digest = JSON.parse(
    await pulumi(
      ["preview", "--json", "--stack", stack, ...replacing(plan.steps)],
      PREVIEW_SECONDS,
    ),
  ) as Digest;
  const problem = previewProblem(digest, state, plan);
  if (problem !== undefined) throw new Error(problem);
}

/** Why a repair would do something else than it says. */
export function previewProblem(
  digest: Digest,
  state: readonly StateResource[],
  plan: RepairPlan,
): string | undefined {
  const wanted = new Set(plan.steps.map(({ urn }) => urn));
  const applied = new Map(state.map((each) => [each.urn, each]));
  for (const { op, urn, newState } of digest.steps ?? []) {
    if (op === "same") continue;
    if (!wanted.has(urn))
      return `the engine would also ${op} ${nameOf(urn)}; run \`npm run up\` first`;
    const planned = newState?.inputs?.stdin;
    if (planned === undefined || isBlinded(planned)) continue;
    if (planned !== plain(applied.get(urn)?.inputs?.stdin)) {
      return (
        `${nameOf(urn)} is planned otherwise than it was applied last, so that a repair would be a change; ` +
        "run `npm run preview`, then `npm run up`"
      );
    }
  }
  return undefined;
}

function isBlinded(value: unknown): boolean {
  return typeof value !== "string" || value === "[secret]";
}

/** Run the steps; then, with an API that works again, put right what is in it. */
export async function applyPlan(stack: string, { steps, resources }: RepairPlan): Promise<void> {
  const up = ["up", "--yes", "--skip-preview", "--suppress-outputs", "--stack", stack];
  if (steps.length) await pulumi([...up, "--parallel", PARALLEL, ...replacing(steps)]);
  if (resources.length)
    await pulumi([...up, "--refresh", ...resources.flatMap(({ urn }) => ["--target", urn])]);
}

function replacing(steps: readonly Repair[]): string[] {
  return steps.flatMap(({ urn }) => ["--target-replace", urn]);
}
