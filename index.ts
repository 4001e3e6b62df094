import { loadCloud } from "./config";
import { Haproxy } from "./components/ha/haproxy";
import { Pacemaker } from "./components/ha/pacemaker";
import { Base } from "./components/hosts/base";
import { Lab } from "./components/hosts/lab";
import { Keystone } from "./components/openstack/keystone";
import { Registration } from "./components/openstack/registration";
import { outputs } from "./components/outputs";
import { everywhere } from "./components/service";
import { Mariadb } from "./components/shared/mariadb";
import { Memcached } from "./components/shared/memcached";
import { Rabbitmq } from "./components/shared/rabbitmq";
import { Secrets } from "./secrets";

// config ─▶ hosts ─▶ ha ─▶ shared ─▶ openstack ─▶ outputs
const cloud = loadCloud();
const secrets = new Secrets(cloud);

const machines = new Lab("lab", { cloud, secrets });
const base = new Base({ cloud, secrets, hosts: machines.hosts });
const context = { cloud, secrets, hosts: base.ready };

const pacemaker = new Pacemaker(context);
const haproxy = new Haproxy(context);
const mariadb = new Mariadb(context);
new Rabbitmq(context);
const memcached = new Memcached(context);

const resources = pacemaker.resources(
  everywhere(haproxy.configured),
  everywhere(mariadb.configured),
);
const balancer = haproxy.running(resources);
const database = mariadb.running(resources);

const keystone = new Keystone(context, { database, cache: memcached.ready });
new Registration(context, { identity: [keystone.everywhere, everywhere(balancer)] });

export = outputs(context);
