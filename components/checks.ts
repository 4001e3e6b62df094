import type { ServiceName } from "../catalogue";
import { haproxyCheck } from "./ha/haproxy";
import { pacemakerCheck } from "./ha/pacemaker";
import { baseCheck } from "./hosts/base";
import { keystoneCheck } from "./openstack/keystone";
import { mariadbCheck } from "./shared/mariadb";
import { memcachedCheck } from "./shared/memcached";
import { rabbitmqCheck } from "./shared/rabbitmq";
import type { Check } from "./step";

/** The check of each service of the catalogue. */
export const CHECKS: Readonly<Record<ServiceName, Check>> = {
  base: baseCheck,
  haproxy: haproxyCheck,
  keystone: keystoneCheck,
  mariadb: mariadbCheck,
  memcached: memcachedCheck,
  pacemaker: pacemakerCheck,
  rabbitmq: rabbitmqCheck,
};
