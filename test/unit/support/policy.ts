import type { StepDocument } from "../../../components/document";
import { digest } from "../../../components/render";
import { sortedJson } from "../../../components/step";
import { type PassphraseOrigin, Plan, type Resource } from "../../../policy/plan";
import { violations } from "../../../policy/rule";
import { RULES } from "../../../policy/rules";
import { inspect, type Planned } from "./plan";

/** Plans as policies see them, and ways to break them. */

/** Seconds of an engine's timeout. */
function seconds(text: string): number {
  const [, amount, unit] = /^(\d+)([sm])$/.exec(text) ?? [];
  return Number(amount ?? 0) * (unit === "m" ? 60 : 1);
}

/** A plan of the real program as the engine would hand it to the pack. */
export function stackOf(planned: Planned): Resource[] {
  return planned.resources.map(({ inputs, name, protect, timeouts, type }) => ({
    name,
    type,
    urn: `urn:pulumi:test::openstack-ha::${type}::${name}`,
    props: inspect(type === "pulumi:pulumi:Stack" ? planned.outputs : inputs).value as object,
    protect,
    seconds: {
      create: seconds(timeouts.create),
      delete: seconds(timeouts.delete),
      update: seconds(timeouts.update),
    },
  })) as Resource[];
}

/** What all rules say of a stack: `rule: message`. */
export function judged(stack: readonly Resource[], passphrase?: PassphraseOrigin): string[] {
  const plan = new Plan(stack, passphrase);
  return RULES.flatMap((rule) =>
    violations(rule, plan).map(({ message }) => `${rule.name}: ${message}`),
  );
}

type Props = Record<string, unknown>;

/** A copy of a stack to be broken. What is changed stays consistent: a start step follows its configuration. */
export class Broken {
  stack: Resource[];

  constructor(stack: readonly Resource[]) {
    this.stack = [...stack];
  }

  get plan(): Plan {
    return new Plan(this.stack);
  }

  /** Changes the resources that a test picks. It has to pick one, and to change it. */
  change(picks: (resource: Resource) => boolean, change: (resource: Resource) => Resource): this {
    const picked = this.stack.filter(picks);
    if (picked.length === 0) throw new Error("there is nothing to break");
    this.stack = this.stack.map((each) => (picked.includes(each) ? change(each) : each));
    return this;
  }

  remove(picks: (resource: Resource) => boolean): this {
    if (!this.stack.some(picks)) throw new Error("there is nothing to remove");
    this.stack = this.stack.filter((each) => !picks(each));
    return this;
  }

  props(picks: (resource: Resource) => boolean, change: (props: Props) => Props): this {
    return this.change(picks, (each) => ({ ...each, props: change({ ...each.props }) }));
  }

  named(name: string, change: (props: Props) => Props): this {
    return this.props((each) => each.name === name, change);
  }

  documents(
    picks: (document: StepDocument) => boolean,
    change: (document: StepDocument) => StepDocument,
  ): this {
    const texts = new Map(
      this.plan.steps
        .filter(picks)
        .map(({ resource }) => [resource.name, resource.props.stdin as string]),
    );
    this.props(
      ({ name }) => texts.has(name),
      (props) => ({ ...props, stdin: changed(props.stdin as string, change) }),
    );
    return this.follow();
  }

  /** Changes a file on the hosts that get it, or on one of them. */
  file(path: string, change: (content: string) => string, host?: string): this {
    return this.documents(
      ({ files = {}, step }) => path in files && (host === undefined || step.host === host),
      (document) => {
        const file = document.files![path]!;
        const content = change(file.content);
        if (content === file.content) throw new Error(`${path} is as it was`);
        return { ...document, files: { ...document.files, [path]: { ...file, content } } };
      },
    );
  }

  /** Changes an address wherever it is: what the program would make of another option. */
  everywhere(from: string, to: string): this {
    const address = new RegExp(`(?<![\\d.])${from.replaceAll(".", "\\.")}(?!\\d)`, "g");
    return this.props(
      ({ props }) => JSON.stringify(props).includes(from),
      (props) => JSON.parse(JSON.stringify(props).replace(address, to)) as Props,
    ).follow();
  }

  /** Changes a parameter of a service's stage on all its hosts. */
  param(service: string, stage: string, name: string, change: (value: never) => unknown): this {
    return this.documents(
      ({ step }) => step.service === service && step.stage === stage,
      (document) => ({
        ...document,
        params: { ...document.params, [name]: change(document.params![name] as never) },
      }),
    );
  }

  /** Gives start steps the digest of what their configure step says now. */
  private follow(): this {
    const { plan } = this;
    const digests = new Map(
      plan.steps
        .filter(({ step }) => step.stage === "configure")
        .map(({ step, text }) => [`${step.service} ${step.host}`, digest(text)]),
    );
    this.stack = this.stack.map((resource) => {
      const planned = plan.steps.find((each) => each.resource === resource);
      if (planned?.step.configuration === undefined) return resource;
      const configuration = digests.get(`${planned.step.service} ${planned.step.host}`)!;
      return configuration === planned.step.configuration
        ? resource
        : {
            ...resource,
            props: {
              ...resource.props,
              stdin: changed(planned.text, (document) => ({
                ...document,
                step: { ...document.step, configuration },
              })),
            },
          };
    });
    return this;
  }
}

function changed(text: string, change: (document: StepDocument) => StepDocument): string {
  return sortedJson(change(JSON.parse(text) as StepDocument));
}
