// The openstack plugin against the npm SDK that is used with it: the same tokens, properties, secrets and provider settings.

import { spawnSync } from "node:child_process";
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import test from "ava";
import { environment, repository } from "./support/toolchain";

interface Property {
  secret?: boolean;
}

interface ResourceSpec {
  properties: Record<string, Property>;
  inputProperties: Record<string, Property>;
  requiredInputs?: string[];
}

interface Schema {
  version?: string;
  provider: ResourceSpec;
  resources: Record<string, ResourceSpec>;
  functions: Record<string, { inputs?: { properties: Record<string, Property> } }>;
}

const sdk = join(repository, "node_modules/@pulumi/openstack");

function readSchema(): Schema {
  const { version } = JSON.parse(readFileSync(join(sdk, "package.json"), "utf8")) as {
    version: string;
  };
  const name = `openstack@${version.replace(/^v/, "")}`;
  const result = spawnSync("pulumi", ["package", "get-schema", name], {
    env: { ...environment },
    encoding: "utf8",
    maxBuffer: 64 * 1024 * 1024,
  });
  if (result.status !== 0) throw new Error(result.stderr);
  return JSON.parse(result.stdout) as Schema;
}

const schema = readSchema();

/** Each generated file of the SDK, with what is of interest in it. */
const sources = readdirSync(sdk, { recursive: true, encoding: "utf8" })
  .filter((file) => file.endsWith(".js"))
  .map((file) => readFileSync(join(sdk, file), "utf8"));

const all = (text: string, pattern: RegExp): string[] =>
  [...new Set([...text.matchAll(pattern)].map((match) => match[1] ?? ""))].sort();

const resources = sources.flatMap((source) =>
  all(source, /__pulumiType = '(openstack:[^']+)'/g).map((token) => ({ token, source })),
);
const functions = sources.flatMap((source) =>
  all(source, /invoke\("(openstack:[^"]+)"/g).map((token) => ({ token, source })),
);

const secrets = (properties: Record<string, Property>): string[] =>
  Object.keys(properties)
    .filter((name) => properties[name]?.secret === true)
    .sort();

const declaredSecrets = (source: string): string[] =>
  all(/additionalSecretOutputs: \[([^\]]*)\]/.exec(source)?.[1] ?? "", /"(\w+)"/g);

test("the SDK and the plugin have the same resources and functions", (t) => {
  t.true(resources.length > 100);
  t.true(functions.length > 50);
  t.deepEqual(resources.map((r) => r.token).sort(), Object.keys(schema.resources).sort());
  t.deepEqual(functions.map((f) => f.token).sort(), Object.keys(schema.functions).sort());
});

test("each resource has the same properties, secrets and requirements", (t) => {
  for (const { token, source } of resources) {
    const spec = schema.resources[token];
    if (spec === undefined) continue;
    t.deepEqual(
      all(source, /resourceInputs\["(\w+)"\]/g),
      Object.keys(spec.properties).sort(),
      `properties of ${token}`,
    );
    t.deepEqual(
      all(source, /resourceInputs\["(\w+)"\] = [^;\n]*\bargs\b/g),
      Object.keys(spec.inputProperties).sort(),
      `inputs of ${token}`,
    );
    t.deepEqual(declaredSecrets(source), secrets(spec.properties), `secrets of ${token}`);
    t.deepEqual(
      all(source, /Missing required property '(\w+)'/g),
      [...(spec.requiredInputs ?? [])].sort(),
      `required inputs of ${token}`,
    );
  }
});

test("each function has the same arguments", (t) => {
  for (const { token, source } of functions) {
    const body = source.slice(source.indexOf(`invoke("${token}"`)).split("}")[0] ?? "";
    t.deepEqual(
      all(body, /"(\w+)": args/g),
      Object.keys(schema.functions[token]?.inputs?.properties ?? {}).sort(),
      token,
    );
  }
});

test("the provider has the same settings", (t) => {
  const source = readFileSync(join(sdk, "provider.js"), "utf8");
  const settings = all(source, /resourceInputs\["(\w+)"\]/g);
  t.deepEqual(settings, Object.keys(schema.provider.inputProperties).sort());
  t.true(settings.includes("endpointOverrides"));
  t.deepEqual(declaredSecrets(source), secrets(schema.provider.inputProperties));
});
