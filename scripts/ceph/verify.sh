# shellcheck shell=bash
# ceph, verify: this host's monitor is in the majority, its disk is up and in, and no object lacks a copy.

copies_complete() {
  local state=${1:-$(timeout 20 ceph --format json status 2>/dev/null </dev/null)} left
  left=$(jq '[.pgmap.pgs_by_state[]? | select(.state_name | startswith("active+clean") | not) | .count] | add // 0' <<<"${state:-null}") || left=unknown
  [[ $left == 0 ]] || {
    echo "Ceph: $left placement groups lack copies or are not active"
    return 1
  }
}

verify() {
  local state up
  state=$(timeout 20 ceph --format json status 2>/dev/null </dev/null) || {
    echo "Ceph's monitors do not answer on $STEP_HOST"
    return 1
  }
  if [[ $(param monitor) == true ]]; then
    jq -e --arg host "$STEP_HOST" '.quorum_names | index($host)' <<<"$state" >/dev/null || {
      echo "Ceph: the monitor of $STEP_HOST is not in the majority ($(jq -r '.quorum_names | join(", ")' <<<"$state"))"
      return 1
    }
  fi
  up=$(timeout 20 ceph --format json osd tree 2>/dev/null </dev/null | jq -r --arg host "$STEP_HOST" '
    (.nodes[] | select(.type == "host" and .name == $host) | .children) as $own
    | [.nodes[] | select(.id as $id | $own | index($id)) | .status] | unique | join(",")')
  [[ $up == up ]] || {
    echo "Ceph: the disk of $STEP_HOST is ${up:-not in the store}"
    return 1
  }
  [[ $(jq .mgrmap.available <<<"$state") == true ]] || {
    echo "Ceph: no manager is active"
    return 1
  }
  copies_complete "$state" || return 1
  jq -r --arg disks "$(param disks)" '"\(.osdmap.num_up_osds) of \($disks) disks, \(.quorum | length) monitors"' <<<"$state"
}
