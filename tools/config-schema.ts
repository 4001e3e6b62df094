import { writeFileSync } from "node:fs";
import * as path from "node:path";
import { setSecret, setSeed } from "../config/errors";
import { jsonSchema, minimumSeedLength, type JsonSchema } from "../config/schema";

/**
 * Writes config.schema.json, the schema of a stack file (`Pulumi.<stack>.yaml`), from config/schema.ts.
 * Editors read it by the first line of the file; `npm run schema` renews it, and a unit test compares.
 */

export const schemaFile = path.join(__dirname, "..", "config.schema.json");

/** An encrypted value, as `pulumi config set --secret` writes it. */
const secure: JsonSchema = {
  type: "object",
  properties: { secure: { type: "string" } },
  required: ["secure"],
  additionalProperties: false,
};

/** The text of config.schema.json. */
export function stackFileSchema(project: string): string {
  const { properties = {}, required = [] } = jsonSchema();
  const { seed, secrets, sshPrivateKey, tlsPrivateKey, ...plain } = properties;
  const options: Record<string, JsonSchema> = {
    ...plain,
    seed: {
      ...secure,
      description: `${seed?.description ?? ""} At least ${minimumSeedLength} characters. Set it with: ${setSeed({ project, stack: "STACK" })}`,
    },
    sshPrivateKey: {
      ...secure,
      description: `${sshPrivateKey?.description ?? ""} Set it with: ${setSecret({ project, stack: "STACK" }, "sshPrivateKey")} < FILE`,
    },
    tlsPrivateKey: {
      ...secure,
      description: `${tlsPrivateKey?.description ?? ""} Set it with: ${setSecret({ project, stack: "STACK" }, "tlsPrivateKey")} < FILE`,
    },
    secrets: {
      type: "object",
      ...(secrets?.description === undefined ? {} : { description: secrets.description }),
      additionalProperties: secure,
    },
  };
  const schema: JsonSchema = {
    $schema: "https://json-schema.org/draft/2020-12/schema",
    title: `Stack file of ${project}`,
    type: "object",
    properties: {
      config: {
        type: "object",
        properties: Object.fromEntries(
          Object.entries(options).map(([name, option]) => [`${project}:${name}`, option]),
        ),
        required: required.map((name) => `${project}:${name}`),
        // Options of Pulumi itself and of providers are none of ours.
        patternProperties: { [`^(?!${project}:)`]: {} },
        additionalProperties: false,
      },
    },
    required: ["config"],
  };
  return `${JSON.stringify(schema, null, 2)}\n`;
}

if (require.main === module) {
  writeFileSync(schemaFile, stackFileSchema("openstack-ha"));
}
