import { sortedJson } from "../../components/step";
import { nameOf, QUIET } from "../report/plan";
import { plain, type StateResource } from "../stack";
import { type Digest, pulumi } from "./engine";
import type { Finding, HostScan } from "./scan";

/** What is in the cloud's API and other than it was applied, as the engine's own plan says after it has read it. */

const CLOUD_SECONDS = 300;

/** The resources in the cloud's API. */
export function resourcesOf(state: readonly StateResource[]): StateResource[] {
  return state.filter(({ type }) => type.startsWith("openstack:"));
}

/** Read them all, and compare. Nothing is changed, also not what the engine keeps of them. */
export async function scanApi(
  stack: string,
  resources: readonly StateResource[],
): Promise<HostScan> {
  const started = Date.now();
  const targets = resources.flatMap(({ urn }) => ["--target", urn]);
  const end = (rest: Pick<HostScan, "findings" | "error">): HostScan => ({
    host: "cloud",
    steps: resources.length,
    seconds: (Date.now() - started) / 1000,
    ...rest,
  });
  try {
    const answer = await pulumi(
      ["preview", "--refresh", "--json", "--stack", stack, ...targets],
      CLOUD_SECONDS,
    );
    return end({ findings: findingsInCloud(JSON.parse(answer) as Digest, resources) });
  } catch (error) {
    return end({ findings: [], error: error instanceof Error ? error.message : String(error) });
  }
}

/** What somebody has changed or removed; not what the configuration wants otherwise since it was applied. */
export function findingsInCloud(digest: Digest, applied: readonly StateResource[]): Finding[] {
  const known = new Map(applied.map((each) => [each.urn, each]));
  // One that is replaced is in the plan once for each of its halves.
  const seen = new Set<string>();
  return (digest.steps ?? []).flatMap((step): Finding[] => {
    const before = known.get(step.urn);
    if (!before || QUIET.has(step.op) || seen.has(step.urn)) return [];
    seen.add(step.urn);
    const at = { host: "cloud", step: nameOf(step.urn), kind: "resource" } as const;
    if (step.op === "create")
      return [{ ...at, what: shortType(before.type), found: "it is gone", anew: true }];
    const found = step.oldState?.inputs ?? {};
    const wanted = step.newState?.inputs ?? {};
    const anew = step.op === "update" ? {} : ({ anew: true } as const);
    return (step.diffReasons ?? [])
      .filter((key) => equal(wanted[key], before.inputs?.[key]))
      .map((key) => ({
        ...at,
        ...anew,
        what: key,
        found: `found ${shown(found[key])}, wanted ${shown(wanted[key])}`,
      }));
  });
}

/** A value that the plan hides cannot be compared: it is taken as applied. */
function equal(planned: unknown, applied: unknown): boolean {
  return (
    planned === "[secret]" || sortedJson(planned ?? null) === sortedJson(plain(applied) ?? null)
  );
}

function shown(value: unknown): string {
  return value === undefined ? "none" : JSON.stringify(value);
}

/** `EndpointV3` of `openstack:identity/endpointV3:EndpointV3`. */
function shortType(type: string): string {
  return type.split(":").at(-1) ?? type;
}
