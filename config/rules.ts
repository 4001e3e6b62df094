import type { HostSettings, Settings } from "./schema";

/**
 * What rules are checked on: only what the schema found sound, so that one mistake is not reported twice.
 */
export interface Candidate {
  /** Top-level options without a mistake of form; `hosts` is apart. */
  readonly settings: Partial<Omit<Settings, "hosts">>;
  /** Hosts without a mistake of form. */
  readonly hosts: readonly PlacedHost[];
  /** Name and id of every host, each where it is sound by itself: a wrong role does not hide a doubled id. */
  readonly marks: readonly HostMark[];
  /** Texts of the files that options name, by path; those that can be read. */
  readonly texts: Readonly<Record<string, string>>;
  /** False where a host was left out, so that nothing can be counted. */
  readonly allHosts: boolean;
}

export interface HostMark {
  /** Place in the list as written. */
  readonly index: number;
  readonly name: string | undefined;
  readonly id: number | undefined;
}

export interface PlacedHost extends HostSettings {
  /** Place in the list as written. */
  readonly index: number;
}

/** Notes a mistake: where, what was found, what to do. */
export type Report = (path: string, what: string, fix: string) => void;
