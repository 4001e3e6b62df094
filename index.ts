import { isWhole } from "./catalogue";
import { loadCloud } from "./config";
import { Haproxy } from "./components/ha/haproxy";
import { Pacemaker } from "./components/ha/pacemaker";
import { hosts } from "./components/hosts/backend";
import { Base } from "./components/hosts/base";
import { Member } from "./components/hosts/members";
import { Cinder } from "./components/openstack/cinder";
import { Content } from "./components/openstack/content";
import { Glance } from "./components/openstack/glance";
import { Horizon } from "./components/openstack/horizon";
import { Keystone } from "./components/openstack/keystone";
import { Neutron } from "./components/openstack/neutron";
import { NeutronMetadata } from "./components/openstack/neutron-metadata";
import { Nova } from "./components/openstack/nova";
import { NovaCompute } from "./components/openstack/nova-compute";
import { Ovn } from "./components/openstack/ovn";
import { OvnChassis } from "./components/openstack/ovn-chassis";
import { Placement } from "./components/openstack/placement";
import { Registration } from "./components/openstack/registration";
import { outputs } from "./components/outputs";
import { everywhere, type PerHost } from "./components/service";
import { Ceph } from "./components/shared/ceph";
import { CephClient } from "./components/shared/ceph-client";
import { Mariadb } from "./components/shared/mariadb";
import { Memcached } from "./components/shared/memcached";
import { Rabbitmq } from "./components/shared/rabbitmq";
import { withoutTraces } from "./sdk";
import { Secrets } from "./secrets";

// config ─▶ hosts ─▶ ha ─▶ shared ─▶ openstack ─▶ outputs
withoutTraces();
const cloud = loadCloud();
const secrets = new Secrets(cloud);

const base = new Base({ cloud, secrets, hosts: hosts(cloud, secrets) });
const context = { cloud, secrets, hosts: base.ready };

const haproxy = new Haproxy(context);
const mariadb = new Mariadb(context);
const pacemaker = new Pacemaker(context, { configured: [haproxy.configured, mariadb.configured] });
const rabbitmq = new Rabbitmq(context);
const memcached = new Memcached(context);

const resources = pacemaker.resources(
  everywhere(haproxy.configured),
  everywhere(mariadb.configured),
);
const balancer = haproxy.running(resources);
const database = mariadb.running(resources);

const keystone = new Keystone(context, { database, cache: memcached.ready });
const registration = new Registration(context, {
  identity: [keystone.everywhere, everywhere(balancer)],
  roles: keystone.roles,
});

/** Hosts that may be taken out once this is done there. */
let emptied: PerHost = new Map();

// Controllers alone are an identity service; with compute hosts it is a cloud.
if (isWhole(cloud)) {
  const bus = rabbitmq.ready;
  const cephClient = new CephClient(context);
  const ceph = new Ceph(context, { configured: cephClient.configured });
  const store = cephClient.reached(ceph.everywhere);

  const glance = new Glance(context, { database, store, registered: registration.of("glance") });
  const placement = new Placement(context, { database, registered: registration.of("placement") });
  const nova = new Nova(context, {
    database,
    bus,
    registered: registration.of("nova", "placement"),
  });
  const ovn = new Ovn(context, { cluster: pacemaker.cluster });
  const chassis = new OvnChassis(context, { databases: ovn.everywhere });
  const neutron = new Neutron(context, {
    database,
    bus,
    ovn: ovn.everywhere,
    registered: registration.of("neutron", "nova"),
  });
  const cinder = new Cinder(context, {
    database,
    bus,
    store,
    registered: registration.of("cinder"),
  });
  new Horizon(context, { database });
  const compute = new NovaCompute(context, {
    store,
    network: chassis.ready,
    apis: [nova.everywhere, neutron.everywhere, everywhere(placement.ready)],
  });
  emptied = compute.drained;
  new NeutronMetadata(context, { network: chassis.ready, apis: [nova.everywhere] });
  if (cloud.content.enabled) {
    new Content(context, [
      glance.everywhere,
      nova.everywhere,
      neutron.everywhere,
      cinder.everywhere,
    ]);
  }
}

for (const host of context.hosts) new Member(host, emptied.get(host.name));

export = outputs(context);
