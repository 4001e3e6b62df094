import * as command from "@pulumi/command";
import * as pulumi from "@pulumi/pulumi";
import { withoutTraces } from "../../sdk";

/**
 * As many resources as a cloud has, in components of the same sizes, of the same type, and with next to nothing in them: what
 * the engine, the SDK and the plugin take for their number alone. Without a command there is nothing to run, so `up` makes them
 * without a host.
 */
withoutTraces();
const shape = new pulumi.Config("openstack-ha").requireObject<Record<string, number>>("shape");
for (const [name, children] of Object.entries(shape)) {
  const parent = new pulumi.ComponentResource("openstack-ha:bench:Part", name);
  for (let i = 0; i < children; i++) {
    new command.remote.Command(
      `${name}-${i}`,
      { connection: { host: "none" }, stdin: "x" },
      { parent },
    );
  }
}
