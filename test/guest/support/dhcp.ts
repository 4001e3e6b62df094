import { createSocket } from "node:dgram";

const BROADCAST = Buffer.alloc(6, 0xff);
const SERVER_MAC = Buffer.from("525400000001", "hex");
const COOKIE = Buffer.from("63825363", "hex");

const address = (text: string): Buffer => Buffer.from(text.split(".").map(Number));

export interface Lease {
  readonly server: string;
  readonly client: string;
  readonly mtu: number;
  /** Where the route of option 121 leads: a host, and the gateway to it. */
  readonly route: readonly [string, string];
}

/**
 * A network with nothing on it but a DHCP server, which answers as OVN does: one frame a datagram, as QEMU's netdev "socket" sends
 * them.
 */
export class DhcpNetwork {
  private readonly socket = createSocket("udp4");

  static async open(lease: Lease): Promise<DhcpNetwork> {
    const network = new DhcpNetwork(lease);
    await new Promise<void>((done) => {
      network.socket.bind(0, "127.0.0.1", done);
    });
    return network;
  }

  private constructor(private readonly lease: Lease) {
    this.socket.on("message", (frame, from) => {
      const answer = this.answer(frame);
      if (answer !== undefined) this.socket.send(answer, from.port, from.address);
    });
  }

  get port(): number {
    return this.socket.address().port;
  }

  close(): void {
    this.socket.close();
  }

  private answer(frame: Buffer): Buffer | undefined {
    // IPv4 without options, UDP, to port 67.
    if (frame.length < 282 || frame.readUInt16BE(12) !== 0x0800 || frame[14] !== 0x45) return;
    if (frame[23] !== 17 || frame.readUInt16BE(36) !== 67) return;
    const request = frame.subarray(42);
    const wanted = option(request, 53)?.[0];
    // Discover gets an offer, request an acknowledgement.
    const kind = wanted === 1 ? 2 : wanted === 3 ? 5 : undefined;
    if (kind === undefined) return;
    const { server, client, mtu, route } = this.lease;
    const options: readonly (readonly [number, Buffer])[] = [
      [53, Buffer.of(kind)],
      [54, address(server)],
      [51, Buffer.from([0, 0, 14, 16])],
      [1, address("255.255.255.0")],
      [26, Buffer.of(mtu >> 8, mtu & 0xff)],
      [121, Buffer.concat([Buffer.of(32), address(route[0]), address(route[1])])],
    ];
    const head = Buffer.alloc(236);
    head.set([2, 1, 6, 0]);
    request.copy(head, 4, 4, 8);
    address(client).copy(head, 16);
    request.copy(head, 28, 28, 44);
    const reply = Buffer.concat([
      head,
      COOKIE,
      ...options.map(([code, value]) => Buffer.concat([Buffer.of(code, value.length), value])),
      Buffer.of(255),
    ]);
    const udp = Buffer.alloc(8);
    udp.writeUInt16BE(67, 0);
    udp.writeUInt16BE(68, 2);
    udp.writeUInt16BE(8 + reply.length, 4);
    const ip = Buffer.alloc(20);
    ip.set([0x45, 0, 0, 0, 0, 0, 0, 0, 64, 17]);
    ip.writeUInt16BE(28 + reply.length, 2);
    address(server).copy(ip, 12);
    ip.fill(0xff, 16);
    ip.writeUInt16BE(checksum(ip), 10);
    return Buffer.concat([BROADCAST, SERVER_MAC, Buffer.of(8, 0), ip, udp, reply]);
  }
}

function option(message: Buffer, wanted: number): Buffer | undefined {
  let at = 240;
  while (at < message.length && message[at] !== 255) {
    // Padding has no length.
    if (message[at] === 0) {
      at++;
      continue;
    }
    const end = at + 2 + (message[at + 1] ?? 0);
    if (message[at] === wanted) return message.subarray(at + 2, end);
    at = end;
  }
  return undefined;
}

function checksum(header: Buffer): number {
  let sum = 0;
  for (let at = 0; at < header.length; at += 2) sum += header.readUInt16BE(at);
  while (sum > 0xffff) sum = (sum & 0xffff) + (sum >> 16);
  return ~sum & 0xffff;
}
