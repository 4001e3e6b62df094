import { createHash } from "node:crypto";
import { RUNNER, type StepDocument, withoutSudo } from "../../components/document";
import { readScript } from "../../components/step";
import { nameOf } from "../report/plan";
import { plain, type StateResource } from "../stack";

/** What hosts are asked: the steps of a stack as they were applied last, each as a document for the runner's check. */

/** Seconds that a host has for the check of one step. */
const CHECK_SECONDS = 90;

export interface PlannedStep {
  /** Such as `haproxy-configure-ctl2`. */
  readonly name: string;
  readonly host: string;
  readonly urn: string;
  readonly document: unknown;
  /** What it answered when it ran last, for the program to go on with. */
  readonly answers: readonly string[];
}

/** The steps among a state's resources, in the state's order: what depends on another comes after it. */
export function plannedSteps(resources: readonly StateResource[]): PlannedStep[] {
  return resources.flatMap((resource): PlannedStep[] => {
    if (resource.type !== "command:remote:Command") return [];
    const name = nameOf(resource.urn);
    const stdin = plain(resource.inputs?.stdin) as string;
    const own = { name, urn: resource.urn, answers: [] };
    switch (withoutSudo(plain(resource.inputs?.create))) {
      case RUNNER: {
        const document = JSON.parse(stdin) as StepDocument;
        const { host } = document.step;
        const said = plain(resource.outputs?.stdout);
        const [, ...answers] = typeof said === "string" ? said.split("\n") : [];
        const timeout = CHECK_SECONDS;
        return [
          { ...own, host, document: { ...document, step: { ...document.step, timeout } }, answers },
        ];
      }
      case `${RUNNER} --secrets`: {
        const host = name.replace(/^base-secrets-/, "");
        return [{ ...own, host, document: storeDocument(host, stdin) }];
      }
      case "sh -s": {
        const host = name.replace(/^base-runner-/, "");
        return [{ ...own, host, document: runnerDocument(host, stdin) }];
      }
      default:
        return [];
    }
  });
}

/** The runner's own files, out of the script that puts them on a host. */
function runnerDocument(host: string, script: string): unknown {
  const files = script.matchAll(/^install_file (\d+) (\S+) <<'(\w+)'\n(.*?)^\3$/gms);
  return {
    step: baseStep("runner", host),
    files: Object.fromEntries<object>(
      [...files].map(([, mode = "", file = "", , content = ""]) => [
        file,
        { content, mode: `0${mode}` },
      ]),
    ),
  };
}

/** The store is compared by its digest, so that no secret is sent. */
function storeDocument(host: string, store: string): unknown {
  return {
    step: baseStep("secrets", host),
    params: { digest: createHash("sha256").update(asciiJson(store)).digest("hex") },
    script: readScript("base/secrets.sh"),
  };
}

function baseStep(stage: string, host: string): object {
  return { service: "base", stage, host, timeout: CHECK_SECONDS };
}

/** As Python writes it: characters beyond ASCII by their number. */
function asciiJson(text: string): string {
  return text.replace(
    /[\u007f-\uffff]/g,
    (c) => `\\u${c.charCodeAt(0).toString(16).padStart(4, "0")}`,
  );
}
