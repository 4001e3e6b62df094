# shellcheck shell=bash
# ceph, start: this host's manager and disk run, and every object has its copies. A disk is restarted only while no
# object lacks one, and no other of the store restarts.

store() { timeout 30 ceph "$@" </dev/null; }
in_turn() { alone_in_store restart alone_in_cluster restart "$@"; }
healthy() { copies_complete; }
ready() { verify; }

manager=/var/lib/ceph/mgr/ceph-$STEP_HOST
make_manager() {
  install -d -o ceph -g ceph -m 750 "$manager"
  store auth get-or-create "mgr.$STEP_HOST" mon 'allow profile mgr' osd 'allow *' mds 'allow *' -o "$manager/keyring.new" ||
    fail "wanted a key for the manager of $STEP_HOST, found that the monitors give none; see \`ceph -s\`"
  chown ceph:ceph "$manager/keyring.new"
  mv "$manager/keyring.new" "$manager/keyring"
}
[[ -e $manager/keyring ]] || change "manager $STEP_HOST" make_manager
units_up ceph-mgr.target ceph-osd.target --
manager_is() { "$1" "ceph-mgr@$STEP_HOST.service" -- /etc/ceph/ceph.conf "$manager/keyring"; }
manager_is units_up

# The disks as lines of identifier and device; without a device, a file.
mapfile -t disks < <(param disks_here)

# A disk's number in the store, by its identifier: the same again for one that was begun.
disk_number() { store osd new "$1"; }
known_disk() { store osd dump --format json | jq -r --arg uuid "$1" '.osds[] | select(.uuid == $uuid) | .osd'; }

# empty DEVICE IDENTIFIER: nobody's data is on it; what was begun of this very disk is none.
empty() {
  local found
  [[ -b $1 ]] || fail "wanted the disk $1 on $STEP_HOST, found none; see \`lsblk\` there, and mend hosts[].disks"
  found=$({
    lsblk --noheadings --raw --output NAME,MOUNTPOINT "$1" | tail -n +2
    lsblk --noheadings --raw --nodeps --output MOUNTPOINT "$1"
    wipefs --no-act --noheadings --output TYPE "$1"
  } | awk 'NF' | paste -sd ' ')
  [[ -z $found || $(ceph-bluestore-tool show-label --dev "$1" 2>/dev/null | jq -r '.[].osd_uuid') == "$2" ]] ||
    fail "wanted an empty disk $1 on $STEP_HOST, found $found on it; if nobody needs that, \`wipefs --all $1\`, then run \`pulumi up\` again"
}

# osd_is NUMBER CONDITION
osd_is() { store osd dump --format json | jq -e --argjson number "$1" ".osds[] | select(.osd == \$number) | $2" >/dev/null; }
# Of a disk that is not on this host: it was, and what was on it is lost.
was_used() { osd_is "$1" '.up_from > 0'; }
runs_somewhere() { osd_is "$1" '.up == 1'; }
# Every object can be read and written without it.
not_needed() {
  local left
  left=$(timeout 20 ceph --format json status 2>/dev/null </dev/null |
    jq '[.pgmap.pgs_by_state[]? | select(.state_name | startswith("active") | not) | .count] | add // 0') || left=unknown
  [[ $left == 0 ]] || {
    echo "$left placement groups are not active"
    return 1
  }
}
# Under its old number others would look for what was on it.
forget_disk() {
  local number=$1
  ! runs_somewhere "$number" ||
    fail "wanted the disk osd.$number of $STEP_HOST made anew, found that it runs; is another host called $STEP_HOST?"
  wait_for 90 "another copy of all that was on the lost disk osd.$number of $STEP_HOST (bring back the hosts with the others)" not_needed
  store osd purge "$number" --yes-i-really-mean-it >/dev/null ||
    fail "wanted the lost disk osd.$number of $STEP_HOST out of the store, found that ceph osd purge fails; see the log"
}

make_disk() {
  local uuid=$1 device=$2 known=$3 number data
  [[ -z $device ]] || empty "$device" "$uuid"
  if [[ -n $known ]] && was_used "$known"; then forget_disk "$known"; fi
  number=$(disk_number "$uuid") || fail "wanted a number for the disk ${device:+$device }of $STEP_HOST, found that the monitors give none; see \`ceph -s\`"
  data=/var/lib/ceph/osd/ceph-$number
  # One that was not finished holds nothing.
  rm -rf "$data"
  install -d -o ceph -g ceph -m 750 "$data"
  if [[ -n $device ]]; then
    ln -s "$device" "$data/block"
    # At each start of the host the rule of the plan's file does it.
    chown ceph:ceph "$device"
  fi
  store auth get-or-create "osd.$number" mon 'allow profile osd' mgr 'allow profile osd' osd 'allow *' -o "$data/keyring"
  chown ceph:ceph "$data/keyring"
  ceph-osd --mkfs --id "$number" --osd-uuid "$uuid" --setuser ceph --setgroup ceph ||
    fail "wanted a disk of the store on $STEP_HOST, found that ceph-osd --mkfs fails; see the log"
  touch "$data/openstack-ha-made"
}

made=()
for each in "${disks[@]}"; do
  read -r uuid device <<<"$each"
  number=$(known_disk "$uuid")
  if [[ -z $number || ! -e /var/lib/ceph/osd/ceph-$number/openstack-ha-made ]]; then
    change "disk ${device:+$device }of $STEP_HOST" make_disk "$uuid" "$device" "$number"
    checking || number=$(known_disk "$uuid")
  fi
  [[ -z $number ]] || made+=("$number")
done

# What restarts waits until every object has its copies: what is down here starts before.
for number in "${made[@]}"; do units_up "ceph-osd@$number.service" -- /etc/ceph/ceph.conf; done
manager_is units_running
for number in "${made[@]}"; do units_running "ceph-osd@$number.service" -- /etc/ceph/ceph.conf; done

verified 240
