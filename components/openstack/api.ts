import type * as pulumi from "@pulumi/pulumi";
import type { ServiceName } from "../../catalogue";
import type { Host } from "../hosts/host";
import { type After, type Context, everywhere, type PerHost, Service } from "../service";
import { type Check, type Files, type StepContent, withParams } from "../step";

/** What differs between the services that are an API on every controller. */
export interface ApiServiceArgs {
  /** Galera takes writes through the internal VIP. */
  readonly database: PerHost;
  readonly files: (host: Host) => Files;
  readonly directories?: StepContent["directories"];
  /** More for the bootstrap than the password of its database. */
  readonly bootstrap?: StepContent;
  readonly check: Check;
  /** More for the start than the check's parameters and the files. */
  readonly start?: (host: Host) => Pick<StepContent, "params" | "secrets">;
  /** What else has to be there before it starts. */
  readonly after?: readonly After[];
}

/** A service that is an API on every controller, with a schema of its own in the database: install, configure, bootstrap, start. */
export abstract class ApiService extends Service {
  /** It answers, and takes work, on every controller. */
  readonly ready: PerHost;

  protected constructor(
    name: ServiceName,
    context: Context,
    args: ApiServiceArgs,
    opts?: pulumi.ComponentResourceOptions,
  ) {
    super(name, context, opts);

    const { directories } = args;
    const install = this.install();
    const configure = this.stage(
      "configure",
      (host) => ({ files: args.files(host), ...(directories ? { directories } : {}) }),
      install,
    );
    const bootstrap = this.stage(
      "bootstrap",
      () => ({
        ...args.bootstrap,
        secrets: [`${name}-db`],
        script: this.script("bootstrap.sh"),
      }),
      configure,
      // Not before all members have joined: HAProxy moves sessions to the first of them, and cuts what is under way.
      everywhere(args.database),
    );
    this.ready = this.stage(
      "start",
      (host) => {
        const check = args.check(context.cloud, host);
        const { params, secrets = [] } = args.start?.(host) ?? {};
        return {
          ...withParams(check, { ...params, files: Object.keys(args.files(host)) }),
          secrets: [...(check.secrets ?? []), ...secrets],
          script: this.script("start.sh"),
        };
      },
      bootstrap,
      ...(args.after ?? []),
    );
    this.registerOutputs({});
  }

  /** Every controller's, for what needs the API behind the VIP. */
  get everywhere(): After {
    return everywhere(this.ready);
  }
}
