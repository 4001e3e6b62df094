import * as pulumi from "@pulumi/pulumi";
import type { Cloud } from "../config";
import type { Secrets } from "../secrets";
import { carriers, type ServiceEntry, type ServiceName, service } from "../catalogue";
import type { Host } from "./hosts/host";
import { digest } from "./render";
import { Step, type StepArgs, type StepContent, type Stage } from "./step";

/** What every room of the house is given. */
export interface Context {
  readonly cloud: Cloud;
  readonly secrets: Secrets;
  readonly hosts: readonly Host[];
}

/** One step a host, by host name. */
export type PerHost = ReadonlyMap<string, Step>;

/** What a step waits for: the same host's step of an earlier stage, or every host's, or any resource. */
export type After = PerHost | { readonly everywhere: PerHost } | pulumi.Resource;

/** Wait for an earlier stage on all hosts, not only on the step's own. */
export function everywhere(steps: PerHost): After {
  return { everywhere: steps };
}

/**
 * A service of the catalogue on the hosts that carry it. Its constructor is a short list of stages; this class turns a
 * stage into one step a host, named `<service>-<stage>-<host>`.
 */
export abstract class Service extends pulumi.ComponentResource {
  protected readonly entry: ServiceEntry;
  /** The hosts that carry the service. */
  protected readonly on: readonly Host[];

  /** Digest of each host's configure step: what a start step has to run again for. */
  private readonly configurations = new Map<string, string>();

  protected constructor(
    name: ServiceName,
    protected readonly context: Context,
    opts?: pulumi.ComponentResourceOptions,
  ) {
    const entry = service(name);
    super(`openstack-ha:${entry.layer}:${capitalised(name)}`, name, {}, opts);
    this.entry = entry;
    this.on = carriers(context, entry);
  }

  /** The packages of the catalogue and more, with nothing started by their installation. */
  protected install(after: readonly After[] = [], more: readonly string[] = []): PerHost {
    return this.stage("install", () => installContent(this.entry, more), ...after);
  }

  protected stage(stage: Stage, content: (host: Host) => StepContent, ...after: After[]): PerHost {
    return this.stageOn(this.on, stage, content, ...after);
  }

  /** A stage on some of its hosts. */
  protected stageOn(
    hosts: readonly Host[],
    stage: Stage,
    content: (host: Host) => StepContent,
    ...after: After[]
  ): PerHost {
    return new Map(
      hosts.map((host) => {
        const args: StepArgs = {
          host,
          service: this.entry.name,
          stage,
          secretsFrom: this.context.secrets,
          ...content(host),
          ...(stage === "start" ? { configuration: this.configurations.get(host.name) } : {}),
        };
        const step = new Step(`${this.entry.name}-${stage}-${host.name}`, args, {
          parent: this,
          dependsOn: [...host.up, ...resolve(after, host)],
        });
        if (stage === "configure") this.configurations.set(host.name, digest(step.document));
        return [host.name, step];
      }),
    );
  }

  /** The path of one of the service's own scripts. */
  protected script(name: string): string {
    return `${this.entry.name}/${name}`;
  }
}

/** Content of an install step; the lab bakes its images with the same. */
export function installContent(entry: ServiceEntry, more: readonly string[] = []): StepContent {
  return {
    params: {
      disabled: entry.disabled ?? [],
      masked: entry.masked ?? [],
      packages: [...new Set([...entry.packages, ...more])],
      units: entry.units ?? [],
    },
    script: "lib/install-packages.sh",
  };
}

function resolve(after: readonly After[], host: Host): pulumi.Resource[] {
  return after.flatMap((item) => {
    if (!isPerHost(item)) return resources(item);
    const step = item.get(host.name);
    return step ? [step] : [];
  });
}

/** All resources that an `After` stands for. */
export function resources(after: After): pulumi.Resource[] {
  if (isPerHost(after)) return [...after.values()];
  if ("everywhere" in after) return [...after.everywhere.values()];
  return [after];
}

function isPerHost(after: After): after is PerHost {
  return after instanceof Map;
}

function capitalised(name: string): string {
  return name.charAt(0).toUpperCase() + name.slice(1);
}
