import type { HostConfig } from "../config";
import type { FileSpec } from "./step";

/** What a step sends to its host, for those that write it and those that read it in a plan. Needs nothing of Pulumi. */

/** Where base puts the runner on each host. */
export const RUNNER = "/usr/local/sbin/openstack-ha-step";
const SUDO = "sudo -n ";

/** A command as it is sent to a host, which may be reached as somebody else than root. */
export function asRoot({ ssh }: Pick<HostConfig, "ssh">, command: string): string {
  return ssh.user === "root" ? command : `${SUDO}${command}`;
}

/** The command again, whoever it is sent as. */
export function withoutSudo(command: unknown): unknown {
  return typeof command === "string" && command.startsWith(SUDO)
    ? command.slice(SUDO.length)
    : command;
}

/** A step's document, as scripts/lib/step.py reads it. */
export interface StepDocument {
  readonly step: {
    readonly service: string;
    readonly stage: string;
    readonly host: string;
    /** Seconds. */
    readonly timeout?: number;
    readonly configuration?: string;
  };
  readonly files?: Readonly<Record<string, FileSpec>>;
  readonly directories?: Readonly<Record<string, Readonly<Record<string, unknown>>>>;
  readonly absent?: readonly string[];
  readonly params?: Readonly<Record<string, unknown>>;
  /** Versions by name. */
  readonly secrets?: Readonly<Record<string, number>>;
  readonly script?: string;
}
