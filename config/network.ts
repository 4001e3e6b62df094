/** IPv4 arithmetic on text and unsigned 32-bit numbers; pure, and all the addressing there is. */

/** A network as written, with the arithmetic done. */
export interface Cidr {
  /** First address: the network's own. */
  readonly base: number;
  readonly prefix: number;
  /** Last address: the broadcast. */
  readonly last: number;
}

const OCTET = /^(?:0|[1-9]\d{0,2})$/;

/** The address as a number, or undefined where the text is no dotted quad (leading zeros are refused: some tools read them as octal). */
export function parseAddress(text: string): number | undefined {
  const octets = text.split(".");
  if (octets.length !== 4 || !octets.every((octet) => OCTET.test(octet) && Number(octet) <= 255)) {
    return undefined;
  }
  return octets.reduce((sum, octet) => sum * 256 + Number(octet), 0);
}

export function formatAddress(address: number): string {
  return [24, 16, 8, 0].map((shift) => (address >>> shift) & 255).join(".");
}

/** The network, or undefined where the text is no `a.b.c.d/n`. Host bits may be set: compare with `formatCidr`. */
export function parseCidr(text: string): Cidr | undefined {
  const slash = text.indexOf("/");
  const address = parseAddress(text.slice(0, Math.max(slash, 0)));
  const prefixText = text.slice(slash + 1);
  if (slash < 0 || address === undefined || !OCTET.test(prefixText) || Number(prefixText) > 32) {
    return undefined;
  }
  const prefix = Number(prefixText);
  const size = 2 ** (32 - prefix);
  const base = address - (address % size);
  return { base, prefix, last: base + size - 1 };
}

export function formatCidr(cidr: Cidr): string {
  return `${formatAddress(cidr.base)}/${cidr.prefix}`;
}

/** True where a host can have the address: inside, and neither the network's own nor the broadcast. */
export function isHostAddress(cidr: Cidr, address: number): boolean {
  return address > cidr.base && address < cidr.last;
}

export function overlap(a: Cidr, b: Cidr): boolean {
  return a.base <= b.last && b.base <= a.last;
}

/** The upper half of a network, without its last address: routers are often there. */
export function upperHalf({ base, last }: Cidr): { start: string; end: string } {
  return { start: formatAddress(base + (last - base + 1) / 2), end: formatAddress(last - 2) };
}

/** Ranges that no host of a cloud can live in, with the name to call them by. */
export function reservedFor(cidr: Cidr): string | undefined {
  return RESERVED.find(([, range]) => overlap(cidr, range))?.[0];
}

const RESERVED: readonly (readonly [string, Cidr])[] = (
  [
    ["this-network", "0.0.0.0/8"],
    ["loopback", "127.0.0.0/8"],
    // Neutron's metadata service answers on 169.254.169.254.
    ["link-local", "169.254.0.0/16"],
    ["multicast or reserved", "224.0.0.0/3"],
  ] as const
).map(([name, text]) => [name, parseCidr(text)!]);
