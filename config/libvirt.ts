import type { Hypervisor, LibvirtOptions, NetworkName } from "./cloud";
import { formatAddress } from "./network";
import type { Candidate, Report } from "./rules";
import { networkNames, type Settings } from "./schema";

/** What is special about hosts that are virtual machines: defaults, and the rules for them. */

type HypervisorSettings = Settings["libvirt"]["hypervisors"][number];

/** A made network's first address is the hypervisor's own, on the networks that people use. */
export const HYPERVISOR_ID = 1;
export const HYPERVISOR_IS_ON: readonly NetworkName[] = ["management", "external"];

/** @param bases The first address of each network. */
export function libvirtOptions(
  { libvirt: { image, ...options } }: Settings,
  bases: Readonly<Record<NetworkName, number>>,
): LibvirtOptions {
  return {
    ...options,
    ...(image === undefined ? {} : { image }),
    hypervisors: options.hypervisors.map((each) => hypervisor(each, bases)),
  };
}

function hypervisor(
  { fence, bridges, ...rest }: HypervisorSettings,
  bases: Readonly<Record<NetworkName, number>>,
): Hypervisor {
  const { hostKey, ...reached } = fence;
  return {
    ...rest,
    bridges: Object.fromEntries(
      Object.entries(bridges).filter(([, bridge]) => bridge !== undefined),
    ),
    fence: {
      ...reached,
      address:
        fence.address ?? sshHost(rest.uri) ?? formatAddress(bases.management + HYPERVISOR_ID),
      ...(hostKey === undefined ? {} : { hostKey }),
    },
  };
}

/** The machine in `qemu+ssh://user@machine:port/system`. */
function sshHost(uri: string): string | undefined {
  return /^qemu\+ssh:\/\/(?:[^@/]*@)?([^:/?]+)/.exec(uri)?.[1];
}

export function checkLibvirt(candidate: Candidate, report: Report): void {
  const { settings, allHosts } = candidate;
  const { libvirt } = settings;
  if (settings.backend !== "libvirt" || !libvirt) {
    return;
  }
  const { hypervisors } = libvirt;
  checkHypervisors(hypervisors, report);
  if (!allHosts) {
    return;
  }
  if (hypervisors.length > 1) {
    checkPlaces(candidate, hypervisors, report);
  }
}

function checkHypervisors(hypervisors: readonly HypervisorSettings[], report: Report): void {
  const names = hypervisors.map(({ name }) => name);
  const domains = hypervisors.flatMap(({ name, failureDomains }, i) =>
    failureDomains.map((domain) => ({ domain, name, i })),
  );
  hypervisors.forEach(({ name, uri, bridges, fence }, i) => {
    const path = `libvirt.hypervisors[${i}]`;
    if (names.indexOf(name) < i) {
      report(
        `${path}.name`,
        `${name} is already the name of libvirt.hypervisors[${names.indexOf(name)}]`,
        "give every hypervisor its own name",
      );
    }
    const missing = networkNames.filter((network) => bridges[network] === undefined);
    if (hypervisors.length > 1 && missing.length > 0) {
      report(
        `${path}.bridges`,
        `${missing.join(", ")} ${missing.length === 1 ? "is" : "are"} missing, and a network that is made on one hypervisor does not reach the others`,
        "name a bridge of the hypervisor's for each network",
      );
    }
    if (bridges.management !== undefined && fence.address === undefined && !sshHost(uri)) {
      report(
        `${path}.fence.address`,
        "is missing, and only a network that is made here says where the hypervisor is on it",
        "add the address at which the hosts reach its SSH server",
      );
    }
  });
  domains.forEach(({ domain, i }, place) => {
    const first = domains.slice(0, place).find((each) => each.domain === domain);
    if (first) {
      report(
        `libvirt.hypervisors[${i}].failureDomains`,
        `${domain} is already at ${first.name}`,
        "name each failure domain at one hypervisor",
      );
    }
  });
}

/** Each host has a place, and the loss of one hypervisor leaves a majority of the controllers. */
function checkPlaces(
  { hosts }: Candidate,
  hypervisors: readonly HypervisorSettings[],
  report: Report,
): void {
  const at = new Map<HypervisorSettings, number>();
  const controllers = hosts.filter(({ roles }) => roles.includes("controller")).length;
  const most = Math.floor((controllers - 1) / 2);
  for (const { index, name, failureDomain, roles } of hosts) {
    const domain = failureDomain ?? name;
    const place = hypervisors.find(({ failureDomains }) => failureDomains.includes(domain));
    if (!place) {
      report(
        `hosts[${index}].failureDomain`,
        `${domain} is at none of the hypervisors, so ${name} has no place`,
        "add it to libvirt.hypervisors[…].failureDomains, or name another here",
      );
    } else if (roles.includes("controller")) {
      const there = (at.get(place) ?? 0) + 1;
      at.set(place, there);
      if (there === most + 1) {
        report(
          `hosts[${index}].failureDomain`,
          `${there} of ${controllers} controllers are on ${place.name}, and its loss would end the majority`,
          `have at most ${most} on one hypervisor`,
        );
      }
    }
  }
}
