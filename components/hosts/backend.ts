import type { Cloud } from "../../config";
import type { Secrets } from "../../secrets";
import type { Host } from "./host";
import { Inventory } from "./inventory";
import { Lab } from "./lab";
import { Libvirt } from "./libvirt";

/** The hosts of a cloud, from whatever its configuration says they are made of. Nothing else asks that. */
export function hosts(cloud: Cloud, secrets: Secrets): readonly Host[] {
  switch (cloud.backend) {
    case "lab":
      return new Lab("lab", { cloud, secrets }).hosts;
    case "inventory":
      return new Inventory("inventory", { cloud, secrets }).hosts;
    case "libvirt":
      return new Libvirt("libvirt", { cloud, secrets }).hosts;
  }
}
