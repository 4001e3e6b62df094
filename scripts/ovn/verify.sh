# shellcheck shell=bash
# ovn, verify: this host is a member of both databases' clusters, each has a leader, and northd works or waits its turn.

database_state() {
  local status
  status=$(timeout 10 ovn-appctl -t "/run/ovn/ovn$1_db.ctl" cluster/status "$2" 2>/dev/null) || {
    echo "OVN's database $2 does not answer on $STEP_HOST"
    return 1
  }
  grep -q '^Status: cluster member' <<<"$status" || {
    echo "OVN: $STEP_HOST is not a member of $2 ($(sed -n 's/^Status: //p' <<<"$status"))"
    return 1
  }
  if ! grep -q '^Leader: ' <<<"$status" || grep -q '^Leader: unknown' <<<"$status"; then
    echo "OVN: $2 has no leader"
    return 1
  fi
  [[ $(sed -n 's/^Role: //p' <<<"$status") != leader ]] || printf 'leader of %s, ' "$1"
}

verify() {
  local units nb sb northd
  mapfile -t units < <(param units)
  units_active "${units[@]}" || return 1
  nb=$(database_state nb OVN_Northbound) || {
    echo "$nb"
    return 1
  }
  sb=$(database_state sb OVN_Southbound) || {
    echo "$sb"
    return 1
  }
  northd=$(timeout 10 ovn-appctl -t ovn-northd status 2>/dev/null | sed -n 's/^Status: //p')
  [[ $northd == active || $northd == standby ]] || {
    echo "OVN: northd on $STEP_HOST is ${northd:-silent}"
    return 1
  }
  echo "$nb${sb}northd $northd"
}
