# shellcheck shell=bash
# ceph, start: this host's manager and disk run, and every object has its copies. A disk is restarted only while no
# object lacks one.

store() { timeout 30 ceph "$@" </dev/null; }
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
units_running ceph-mgr.target "ceph-mgr@$STEP_HOST.service" -- /etc/ceph/ceph.conf "$manager/keyring"

# The disk's number in the store, by its identifier: the same again for one that was begun.
disk_number() { store osd new "$(param osd)"; }
known_disk() { store osd dump --format json | jq -r --arg uuid "$(param osd)" '.osds[] | select(.uuid == $uuid) | .osd'; }

make_disk() {
  local number data
  number=$(disk_number) || fail "wanted a number for the disk of $STEP_HOST, found that the monitors give none; see \`ceph -s\`"
  data=/var/lib/ceph/osd/ceph-$number
  # One that was not finished holds nothing.
  rm -rf "$data"
  install -d -o ceph -g ceph -m 750 "$data"
  store auth get-or-create "osd.$number" mon 'allow profile osd' mgr 'allow profile osd' osd 'allow *' -o "$data/keyring"
  chown ceph:ceph "$data/keyring"
  ceph-osd --mkfs --id "$number" --osd-uuid "$(param osd)" --setuser ceph --setgroup ceph ||
    fail "wanted a disk of the store on $STEP_HOST, found that ceph-osd --mkfs fails; see the log"
  touch "$data/openstack-ha-made"
}

number=$(known_disk)
if [[ -z $number || ! -e /var/lib/ceph/osd/ceph-$number/openstack-ha-made ]]; then
  change "disk of $STEP_HOST" make_disk
  checking || number=$(known_disk)
fi
[[ -z $number ]] || units_running ceph-osd.target "ceph-osd@$number.service" -- /etc/ceph/ceph.conf

verified 240
