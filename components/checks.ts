import type { ServiceName } from "../catalogue";
import { haproxyCheck } from "./ha/haproxy";
import { pacemakerCheck } from "./ha/pacemaker";
import { baseCheck } from "./hosts/base";
import { cinderCheck } from "./openstack/cinder";
import { glanceCheck } from "./openstack/glance";
import { horizonCheck } from "./openstack/horizon";
import { keystoneCheck } from "./openstack/keystone";
import { neutronCheck } from "./openstack/neutron";
import { neutronMetadataCheck } from "./openstack/neutron-metadata";
import { novaCheck } from "./openstack/nova";
import { novaComputeCheck } from "./openstack/nova-compute";
import { ovnCheck } from "./openstack/ovn";
import { ovnChassisCheck } from "./openstack/ovn-chassis";
import { placementCheck } from "./openstack/placement";
import { cephCheck } from "./shared/ceph";
import { cephClientCheck } from "./shared/ceph-client";
import { mariadbCheck } from "./shared/mariadb";
import { memcachedCheck } from "./shared/memcached";
import { rabbitmqCheck } from "./shared/rabbitmq";
import type { Check } from "./step";

/** The check of each service of the catalogue. */
export const CHECKS: Readonly<Record<ServiceName, Check>> = {
  base: baseCheck,
  ceph: cephCheck,
  "ceph-client": cephClientCheck,
  cinder: cinderCheck,
  glance: glanceCheck,
  haproxy: haproxyCheck,
  horizon: horizonCheck,
  keystone: keystoneCheck,
  mariadb: mariadbCheck,
  memcached: memcachedCheck,
  neutron: neutronCheck,
  "neutron-metadata": neutronMetadataCheck,
  nova: novaCheck,
  "nova-compute": novaComputeCheck,
  ovn: ovnCheck,
  "ovn-chassis": ovnChassisCheck,
  pacemaker: pacemakerCheck,
  placement: placementCheck,
  rabbitmq: rabbitmqCheck,
};
