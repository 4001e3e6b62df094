# shellcheck shell=bash
# ceph, bootstrap: a monitor on this host, if it has one; then what the whole store has once: pools, users, the oldest
# client that is served. Each of these is safe to ask for twice and at the same time.

mapfile -t monitors < <(param monitors)

store() { timeout 30 ceph "$@" </dev/null; }

is_monitor() {
  local each
  for each in "${monitors[@]}"; do [[ ${each%% *} != "$STEP_HOST" ]] || return 0; done
  return 1
}

make_monitor() {
  local data=/var/lib/ceph/mon/ceph-$STEP_HOST map=$STEP_DIR/monmap each options=()
  for each in "${monitors[@]}"; do options+=(--addv "${each%% *}" "[v2:${each##* }:3300,v1:${each##* }:6789]"); done
  monmaptool --create --clobber --fsid "$(param fsid)" "${options[@]}" "$map" >/dev/null
  # One that was not finished holds nothing.
  rm -rf "$data"
  install -d -o ceph -g ceph -m 750 "$data"
  ceph-mon --mkfs --id "$STEP_HOST" --monmap "$map" --keyring /etc/ceph/ceph.mon.keyring --setuser root --setgroup root ||
    fail "wanted a monitor's database on $STEP_HOST, found that ceph-mon --mkfs fails; see the log"
  chown -R ceph:ceph "$data"
  touch "$data/openstack-ha-made"
}

quorum() { store quorum_status --format json | jq -e '.quorum | length > 0' >/dev/null; }
in_turn() { alone_in_store restart alone_in_cluster restart "$@"; }
# others_agree: every other monitor is in the majority, which then bears the loss of this one.
others_agree() {
  local out
  out=$(store quorum_status --format json |
    jq -r --arg host "$STEP_HOST" '[.monmap.mons[].name] - .quorum_names - [$host] | join(", ")') || out=all
  [[ -z $out ]] || {
    echo "Ceph's monitors that are not in the majority: $out"
    return 1
  }
}
in_majority() { store quorum_status --format json | jq -e --arg host "$STEP_HOST" '.quorum_names | index($host)' >/dev/null; }
healthy() { others_agree; }
ready() { in_majority; }

pool() {
  local name=$1
  store osd pool create "$name" "$(param groups)" "$(param groups)" replicated >/dev/null
  store osd pool application enable "$name" rbd >/dev/null
}

# One with other capabilities or another key is replaced.
user_is() {
  local wanted
  wanted=$(ceph-authtool --name "client.$1" --print-key /etc/ceph/ceph.mon.keyring)
  [[ $(store auth print-key "client.$1" 2>/dev/null) == "$wanted" ]] &&
    diff <(store auth get "client.$1" 2>/dev/null | sed -n 's/^[[:space:]]*\(caps .*\)/\1/p' | sort) \
      <(sed -n "/^\[client.$1\]/,/^\$/s/^\(caps .*\)/\1/p" /etc/ceph/ceph.mon.keyring | sort) >/dev/null
}

if is_monitor; then
  [[ -e /var/lib/ceph/mon/ceph-$STEP_HOST/openstack-ha-made ]] || change "monitor $STEP_HOST" make_monitor
  # With a target all that is part of it would restart, disks too.
  units_up ceph.target ceph-mon.target --
  units_running "ceph-mon@$STEP_HOST.service" -- /etc/ceph/ceph.conf
fi
if checking; then
  quorum || fail "wanted a majority of Ceph's monitors, found that they do not answer on $STEP_HOST"
else
  wait_for 180 "a majority of Ceph's monitors" quorum
fi

if [[ $(store osd get-require-min-compat-client) != mimic ]]; then
  # Older clients would have to unprotect and flatten what servers were made of before it can be replaced.
  change "clients from mimic on" store osd set-require-min-compat-client mimic
fi
mapfile -t pools < <(param pools)
for name in "${pools[@]}"; do
  present=$(store osd pool ls detail --format json | jq -c --arg name "$name" '.[] | select(.pool_name == $name)')
  [[ -n $present && $(jq '.application_metadata | has("rbd")' <<<"$present") == true ]] || change "pool $name" pool "$name"
  for option in size min_size; do
    [[ $(store osd pool get "$name" "$option" 2>/dev/null) == "$option: $(param "$option")" ]] ||
      change "$option of pool $name" store osd pool set "$name" "$option" "$(param "$option")"
  done
done
mapfile -t users < <(param users)
for user in "${users[@]}"; do
  user_is "$user" || change "user $user" store auth import -i <(sed -n "/^\[client.$user\]/,/^\$/p" /etc/ceph/ceph.mon.keyring)
done
