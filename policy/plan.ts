import { X509Certificate } from "node:crypto";
import { RUNNER, type StepDocument, withoutSudo } from "../components/document";
import type { FileSpec } from "../components/step";
import { type Element, nvpairs, readXml } from "./readers";

/**
 * What is planned, as the rules look at it: the stack's resources, and what is in the documents that go to the hosts.
 * Nothing here reads the configuration: what the program makes of it is judged.
 */

/** A resource of the stack. Secrets are in clear here, as Pulumi hands them to policies. */
export interface Resource {
  readonly name: string;
  readonly type: string;
  readonly urn: string;
  /** What is not known yet is undefined, and is not judged: without a seed, all that is made through the cloud's API. */
  readonly props: Readonly<Record<string, unknown>>;
  readonly protect: boolean;
  /** The engine's bounds; 0 where none was set. */
  readonly seconds: Readonly<Record<"create" | "delete" | "update", number>>;
}

export interface PlannedStep extends StepDocument {
  readonly resource: Resource;
  readonly host: string;
  readonly text: string;
}

export interface FileOnHost extends FileSpec {
  readonly path: string;
  readonly host: string;
  readonly step: PlannedStep;
}

/** What Pacemaker is told by one controller's step. */
export interface ClusterConfiguration {
  readonly host: string;
  readonly step: PlannedStep;
  readonly options: ReadonlyMap<string, string>;
  readonly resources: readonly Element[];
  readonly constraints: readonly Element[];
}

export interface VirtualIp {
  /** As its resource is called: `vip-internal`. */
  readonly id: string;
  readonly address: string;
  readonly prefix: string;
}

/** A machine that the lab makes, and its networks. */
export interface Machine {
  readonly name: string;
  readonly resource: Resource;
  readonly addresses: Readonly<Record<string, string>>;
  readonly bmc: { readonly address: string };
}
export interface PlannedNetwork {
  readonly name: string;
  readonly cidr: string;
  /** The deployer's own address. */
  readonly address?: string;
}

export const REMOTE = "command:remote:Command";
export const LOCAL = "command:local:Command";
/** Above the machines of a lab. */
const LAB = "openstack-ha:hosts:Lab";
/** Of the public VIP, and its key. */
export const CERTIFICATE = "/etc/haproxy/certs/public.pem";
const STACK = "pulumi:pulumi:Stack";

/** The end of the path of the passphrase that tools/env makes for a person who has none. */
export const PASSPHRASE_OF_OURS = "/openstack-ha/passphrase";
export type PassphraseOrigin = "empty" | "made by tools/env" | "own";

export class Plan {
  readonly steps: readonly PlannedStep[];
  private readonly files = new Map<string, FileOnHost[]>();
  private readonly carriers = new Map<string, Set<string>>();
  private clusters: readonly ClusterConfiguration[] | undefined;
  private names: ReadonlyMap<string, string> | undefined;
  private onHosts: readonly string[] | undefined;

  /** By name: the engine has them in no order. */
  readonly resources: readonly Resource[];

  constructor(
    resources: readonly Resource[],
    readonly passphrase: PassphraseOrigin = "own",
  ) {
    this.resources = [...resources].sort((a, b) => (a.name < b.name ? -1 : 1));
    this.steps = this.resources.filter(isStep).map((resource) => {
      const text = resource.props.stdin as string;
      const document = JSON.parse(text) as StepDocument;
      return { ...document, resource, text, host: document.step.host };
    });
    for (const step of this.steps) {
      const {
        host,
        step: { service },
      } = step;
      this.carriers.set(service, (this.carriers.get(service) ?? new Set()).add(host));
      for (const [path, file] of Object.entries(step.files ?? {})) {
        const all = this.files.get(path) ?? [];
        all.push({ ...file, path, step, host: step.host });
        this.files.set(path, all);
      }
    }
  }

  /** A file on every host that gets it. */
  file(path: string): readonly FileOnHost[] {
    return this.files.get(path) ?? [];
  }

  /** The addresses that hosts are told of each other. That of a connection may be another one, for people alone. */
  private named(): ReadonlyMap<string, string> {
    this.names ??= new Map(
      (this.file("/etc/hosts")[0]?.content ?? "").split("\n").map((line) => {
        const [address = "", name = ""] = line.split(/\s+/);
        return [name, address];
      }),
    );
    return this.names;
  }

  /** The services that have steps, in the order of their first. */
  services(): readonly string[] {
    return [...this.carriers.keys()];
  }

  /** The hosts that have steps. */
  hosts(): readonly string[] {
    this.onHosts ??= [...new Set(this.steps.map(({ host }) => host))];
    return this.onHosts;
  }

  allFiles(): readonly FileOnHost[] {
    return [...this.files.values()].flat();
  }

  stepsOf(service: string, stage: string): readonly PlannedStep[] {
    return this.steps.filter(({ step }) => step.service === service && step.stage === stage);
  }

  /** The hosts that get any step of a service. */
  hostsOf(service: string): readonly string[] {
    return [...(this.carriers.get(service) ?? [])];
  }

  commands(): readonly Resource[] {
    return this.resources.filter(({ type }) => type === REMOTE || type === LOCAL);
  }

  ofType(type: string): readonly Resource[] {
    return this.resources.filter((resource) => resource.type === type);
  }

  get isLab(): boolean {
    return this.ofType(LAB).length > 0;
  }

  /** What each controller's step tells Pacemaker. */
  cluster(): readonly ClusterConfiguration[] {
    this.clusters ??= this.stepsOf("pacemaker", "bootstrap").map((step) => ({
      host: step.host,
      step,
      options: readOptions(step.params?.options),
      resources: readXml(step.params?.resources as string),
      constraints: readXml(step.params?.constraints as string),
    }));
    return this.clusters;
  }

  /** The virtual IPs, as the first controller is told: that all are told the same is a rule of its own. */
  vips(): readonly VirtualIp[] {
    return virtualIps(this.cluster()[0]?.resources ?? []);
  }

  /** The certificate of the public VIP, if it is offered by TLS. */
  certificate(): X509Certificate | undefined {
    const [file] = this.file(CERTIFICATE);
    return file && new X509Certificate(file.content);
  }

  /** Whether clients get to a VIP by this: by its address, or by a name that its certificate is for. */
  leadsTo(vip: "internal" | "public", host: string): boolean {
    return (
      this.vips().some(({ id, address }) => id === `vip-${vip}` && address === host) ||
      (vip === "public" && this.certificate()?.checkHost(host) !== undefined)
    );
  }

  /** The address of a host by which the others know it. */
  addressOf(host: string): string | undefined {
    return this.named().get(host);
  }

  /** What a host shares its fate with; the host itself where nothing is said. */
  domainOf(host: string): string {
    const { hosts = {} } = (this.ofType(STACK)[0]?.props ?? {}) as {
      hosts?: Readonly<Record<string, { failureDomain?: string }>>;
    };
    return hosts[host]?.failureDomain ?? host;
  }

  machines(): readonly Machine[] {
    return this.labSpecs().flatMap(({ resource, spec }) =>
      "bmc" in spec ? [{ ...(spec as Omit<Machine, "resource">), resource }] : [],
    );
  }

  networks(): readonly PlannedNetwork[] {
    const networks = this.labSpecs().find(({ spec }) => "networks" in spec && !("bmc" in spec))
      ?.spec.networks;
    return Object.entries((networks ?? {}) as Record<string, Omit<PlannedNetwork, "name">>).map(
      ([name, network]) => ({ ...network, name }),
    );
  }

  private labSpecs(): { resource: Resource; spec: Record<string, unknown> }[] {
    return this.ofType(LOCAL).flatMap((resource) => {
      const { LAB_SPEC: text } = (resource.props.environment ?? {}) as { LAB_SPEC?: string };
      return text === undefined
        ? []
        : [{ resource, spec: JSON.parse(text) as Record<string, unknown> }];
    });
  }
}

function isStep({ type, props }: Resource): boolean {
  return type === REMOTE && withoutSudo(props.create) === RUNNER && typeof props.stdin === "string";
}

/** A list of `key=value`. */
export function readOptions(list: unknown): ReadonlyMap<string, string> {
  return new Map(
    (list as readonly string[]).map((option) => {
      const at = option.indexOf("=");
      return [option.slice(0, at), option.slice(at + 1)];
    }),
  );
}

/** The addresses that Pacemaker moves. */
export function virtualIps(resources: readonly Element[]): VirtualIp[] {
  return resources
    .filter(({ tag, attributes }) => tag === "primitive" && attributes.type === "IPaddr2")
    .map((element) => {
      const values = nvpairs(element);
      return {
        id: element.attributes.id!,
        address: values.get("ip") ?? "",
        prefix: values.get("cidr_netmask") ?? "",
      };
    });
}

export function unique<T>(list: readonly T[]): readonly T[] {
  return [...new Set(list)];
}
