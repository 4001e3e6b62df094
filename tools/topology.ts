import { type ServiceEntry, servicesOf } from "../catalogue";
import { type Cloud, type HostConfig, networkNames } from "../config";

/** The cloud as a picture: hosts by failure domain, what runs on them, the networks they share, the VIPs. Pure. */

const CARD = { width: 220, gap: 24, head: 46, line: 20, margin: 24 };
const NETWORK_HEIGHT = 46;
const LAYER_COLOUR: Readonly<Record<ServiceEntry["layer"], string>> = {
  hosts: "#64748b",
  ha: "#b45309",
  shared: "#0f766e",
  openstack: "#1d4ed8",
};

export function topologySvg(cloud: Cloud): string {
  const cardHeight =
    CARD.head + CARD.line * Math.max(...cloud.hosts.map((h) => servicesOf(cloud, h).length)) + 16;
  const top = CARD.margin + 70;
  const networksTop = top + cardHeight + 40;
  const width = CARD.margin * 2 + cloud.hosts.length * (CARD.width + CARD.gap) - CARD.gap;
  const height = networksTop + networkNames.length * NETWORK_HEIGHT + CARD.margin;
  const x = (i: number): number => CARD.margin + i * (CARD.width + CARD.gap);
  const body = [
    `<rect width="${width}" height="${height}" fill="#ffffff"/>`,
    text(CARD.margin, 38, `${cloud.stack}: highly available OpenStack`, 20, "#0f172a", true),
    text(
      CARD.margin,
      62,
      `public VIP ${cloud.vips.public}, internal VIP ${cloud.vips.internal}, region ${cloud.region}`,
      13,
      "#475569",
    ),
    ...cloud.hosts.map((host, i) => card(cloud, host, x(i), top, cardHeight)),
    // All cables first: the bars of the networks lie over them.
    ...networkNames.flatMap((name, n) =>
      cloud.hosts.map((host, i) => {
        const at = x(i) + 30 + n * 50;
        const last = host.addresses[name].split(".").pop() ?? "";
        return [
          `<line x1="${at}" y1="${top + cardHeight}" x2="${at}" y2="${networksTop + n * NETWORK_HEIGHT}" stroke="#94a3b8"/>`,
          text(at + 4, top + cardHeight + 14, `.${last}`, 10, "#475569"),
        ].join("\n");
      }),
    ),
    ...networkNames.flatMap((name, n) => {
      const y = networksTop + n * NETWORK_HEIGHT;
      return [
        `<rect x="${CARD.margin}" y="${y}" width="${width - 2 * CARD.margin}" height="22" rx="4" fill="#e2e8f0"/>`,
        text(CARD.margin + 8, y + 15, `${name}  ${cloud.networks[name].cidr}`, 12, "#334155"),
      ];
    }),
  ];
  return `<svg xmlns="http://www.w3.org/2000/svg" width="${width}" height="${height}" viewBox="0 0 ${width} ${height}" font-family="system-ui, sans-serif">\n${body.join("\n")}\n</svg>\n`;
}

function card(cloud: Cloud, host: HostConfig, x: number, y: number, height: number): string {
  return [
    `<rect x="${x}" y="${y}" width="${CARD.width}" height="${height}" rx="8" fill="#f8fafc" stroke="#cbd5e1"/>`,
    text(x + 14, y + 22, host.name, 15, "#0f172a", true),
    text(x + 14, y + 38, `${host.roles.join(", ")} in ${host.failureDomain}`, 11, "#64748b"),
    ...servicesOf(cloud, host).map((entry, i) => {
      const top = y + CARD.head + 18 + i * CARD.line;
      return [
        `<circle cx="${x + 19}" cy="${top - 4}" r="4" fill="${LAYER_COLOUR[entry.layer]}"/>`,
        text(x + 30, top, entry.name, 12, "#1e293b"),
        text(x + 118, top, entry.manager, 10, "#94a3b8"),
      ].join("\n");
    }),
  ].join("\n");
}

function text(
  x: number,
  y: number,
  content: string,
  size: number,
  fill: string,
  bold = false,
): string {
  const escaped = content.replaceAll("&", "&amp;").replaceAll("<", "&lt;");
  return `<text x="${x}" y="${y}" font-size="${size}" fill="${fill}"${bold ? ' font-weight="600"' : ""}>${escaped}</text>`;
}
