# shellcheck shell=bash
# mariadb, start: Pacemaker has started it here, it is synced, and it runs with its newest configuration. A node is
# restarted only while all of them are synced, one at a time.

conf=/etc/mysql/mariadb.conf.d/90-openstack-ha.cnf
record=$STEP_STATE/started/mariadb
now=$(fingerprint "$conf")

all_synced() {
  local size
  size=$(mariadb --batch --skip-column-names -e "SHOW STATUS LIKE 'wsrep_cluster_size'" | cut -f2)
  [[ $size == "$(param members)" ]] || {
    echo "Galera has $size of $(param members) members"
    return 1
  }
  verify
}

restart_galera() {
  wait_for 120 "all Galera nodes synced before this one restarts" all_synced
  crm_resource --restart --resource galera-clone --node "$STEP_HOST" --timeout 240s >/dev/null ||
    fail "wanted Galera restarted on $STEP_HOST, found that Pacemaker could not do it; see \`pcs status\` there"
}

checking || wait_for 300 "Galera started by Pacemaker on $STEP_HOST" verify
if [[ -e $record && $(<"$record") != "$now" ]]; then
  change "restarted mariadb" alone_in_cluster mariadb restart_galera
fi
checking || remember_start "$record" "$now"

verified 120
