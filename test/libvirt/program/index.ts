import { Base } from "../../../components/hosts/base";
import { Libvirt } from "../../../components/hosts/libvirt";
import { loadCloud } from "../../../config";
import { Secrets } from "../../../secrets";

// The first host of a stack on libvirt, up to and including its base: what fits a small machine without KVM.
const { hosts, ...rest } = loadCloud();
const cloud = { ...rest, hosts: hosts.slice(0, 1) };
const secrets = new Secrets(cloud);
const machines = new Libvirt("libvirt", { cloud, secrets });
new Base({ cloud, secrets, hosts: machines.hosts });

export = { key: secrets.value("ssh-deployer") };
