# shellcheck shell=bash
# pacemaker, start: Corosync and Pacemaker run, and every controller is a member of one quorate cluster.

mapfile -t members < <(param members)
conf=(/etc/corosync/corosync.conf /etc/corosync/authkey)
record=$STEP_STATE/started/corosync.service

reload_corosync() {
  # Corosync takes over changed timers and keys while it runs: no restart, no failover.
  corosync-cfgtool -R >/dev/null || fail "wanted Corosync to reload its configuration, found: $(unit_problem corosync)"
}

# A cluster that starts for the first time waits dc-deadtime (20 s by default) for a coordinator that cannot exist yet.
# The option is part of the plan, so it is given to Pacemaker before its first start.
seed_options() {
  local option pairs=""
  while IFS= read -r option; do
    pairs+="<nvpair id=\"cib-bootstrap-options-${option%%=*}\" name=\"${option%%=*}\" value=\"${option#*=}\"/>"
  done < <(param options)
  install -d -o hacluster -g haclient -m 750 /var/lib/pacemaker/cib
  CIB_file=/var/lib/pacemaker/cib/cib.xml cibadmin --empty >"$STEP_DIR/cib.xml"
  CIB_file=$STEP_DIR/cib.xml cibadmin --modify --allow-create --scope crm_config --xml-text \
    "<cluster_property_set id=\"cib-bootstrap-options\">$pairs</cluster_property_set>"
  install -o hacluster -g haclient -m 600 "$STEP_DIR/cib.xml" /var/lib/pacemaker/cib/cib.xml.new
  mv /var/lib/pacemaker/cib/cib.xml.new /var/lib/pacemaker/cib/cib.xml
}

now=$(fingerprint "${conf[@]}")
for unit in corosync.service pacemaker.service; do
  systemctl is-enabled --quiet "$unit" || change "enabled $unit" enable_units "$unit"
done
if ! systemctl is-active --quiet corosync.service; then
  change "started corosync" start_units corosync.service
elif [[ ! -e $record || $(<"$record") != "$now" ]] || written_since "$record" "${conf[@]}"; then
  change "reloaded corosync" reload_corosync
fi
checking || remember_start "$record" "$now"

if ! systemctl is-active --quiet pacemaker.service; then
  [[ -e /var/lib/pacemaker/cib/cib.xml ]] || change "first cluster options" seed_options
  change "started pacemaker" start_units pacemaker.service
fi

# A host can be down while another is changed: a majority is enough, and `status` names who is missing.
majority() {
  local online
  online=$(crm_mon --one-shot --output-as=xml 2>/dev/null | grep -c '<node .*online="true"') || true
  ((online > ${#members[@]} / 2)) || {
    echo "$online of ${#members[@]} controllers online"
    return 1
  }
  [[ -n $(crmadmin --dc_lookup --quiet 2>/dev/null) ]] || {
    echo "no coordinator elected"
    return 1
  }
}

checking || wait_for 120 "a quorate cluster of ${members[*]}" majority
