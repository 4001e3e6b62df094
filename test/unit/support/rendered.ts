import type { FileSpec } from "../../../components/step";
import type { Document, Planned } from "./plan";
import { inspect, stepsOf } from "./plan";

/** What a plan writes to its hosts, taken from the steps' documents: a new service's files are in it by themselves. */

export interface RenderedFile extends FileSpec {
  readonly path: string;
  readonly host: string;
  /** The step that writes it, without the host. */
  readonly step: string;
}

export function hostsOf(plan: Planned): string[] {
  const hosts = stepsOf(plan).map(({ document }) => document.step.host);
  return [...new Set(hosts)];
}

/** Every file of every host. */
export function filesOf(plan: Planned): RenderedFile[] {
  return stepsOf(plan).flatMap(({ document }) =>
    Object.entries(document.files ?? {}).map(([path, file]) => ({
      ...file,
      path,
      host: document.step.host,
      step: `${document.step.service}-${document.step.stage}`,
    })),
  );
}

/** The files of one host by path. */
export function filesOn(plan: Planned, host: string): Map<string, RenderedFile> {
  return new Map(
    filesOf(plan)
      .filter((file) => file.host === host)
      .map((file) => [file.path, file]),
  );
}

/** The documents of one host in an order in which they can run. */
export function documentsOn(plan: Planned, host: string): Document[] {
  return stepsOf(plan)
    .map(({ document }) => document)
    .filter((document) => document.step.host === host);
}

/** The specs that the lab is given, by the name of the resource. */
export function labSpecs(plan: Planned): Map<string, Record<string, unknown>> {
  return new Map(
    plan.resources.flatMap(({ name, inputs }) => {
      const { LAB_SPEC: spec } = (inspect(inputs.environment).value ?? {}) as { LAB_SPEC?: string };
      return spec === undefined ? [] : [[name, JSON.parse(spec) as Record<string, unknown>]];
    }),
  );
}
