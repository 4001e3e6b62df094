# shellcheck shell=bash
# horizon, bootstrap: the database of its sessions, once for the whole cluster, on whichever controller comes first.

bootstrap_horizon() {
  again as www-data python3 /usr/share/openstack-dashboard/manage.py migrate --noinput ||
    fail "wanted Horizon's tables, found that manage.py migrate fails; see the log"
}

database_ready horizon horizon-db
bootstrapped "$(package_version openstack-dashboard)" bootstrap_horizon horizon
