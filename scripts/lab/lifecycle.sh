# shellcheck shell=bash
# A lab as a whole: bring it back, remove it, look at it.

# resume LAB [HOST...]: after a restart of the machine only the disks and descriptors are left; rebuild the rest from them. The
# hosts that are named stay as they are.
verb_resume() {
  need_root
  (($# >= 1)) || die 'usage: lab resume LAB [HOST THAT STAYS AS IT IS...]'
  want_lab "$1"
  use_cgroup2
  local host hosts started notes='' left=" ${*:2} "
  started=$(now_ms)
  mapfile -t hosts < <(for host in $(lab_hosts); do [[ $left == *" $host "* ]] || echo "$host"; done)
  local down=()
  for host in "${hosts[@]}"; do
    cg_alive "$(cg_host "$host")" && cg_alive "$(cg_bmc "$host")" || down+=("$host")
  done
  if ((${#down[@]} == 0)) && network_is_up; then
    echo unchanged
    return
  fi
  lock_dir "$LABDIR" 120 "lab $LAB"
  install_scripts
  network_up
  for host in "${down[@]}"; do
    host_lock "$host"
    if cg_dead "$(cg_bmc "$host")"; then bmc_on "$host"; fi
    if cg_dead "$(cg_host "$host")"; then
      if [[ -e $LABDIR/hosts/$host/power ]]; then notes+=", $host had been $(cut -d' ' -f2- "$LABDIR/hosts/$host/power")"; fi
      power_on "$host"
    fi
    unlock
  done
  for host in "${hosts[@]}"; do
    wait_ssh "$host" "$(host_var "$host" HOST_ADDRESS)" 90
  done
  echo "resumed: lab $LAB, ${#down[@]} of ${#hosts[@]} hosts started$notes ($(seconds_since "$started") s)"
}

verb_destroy() {
  need_root
  (($# == 1)) || die 'usage: lab destroy LAB'
  use_lab "$1"
  use_cgroup2
  if [[ ! -e $LABDIR && ! -d $(cg_lab) ]] && ! netns_exists; then
    echo unchanged
    return
  fi
  lock_dir "$LABDIR" 60 "lab $LAB"
  lab_remove
  echo "deleted: lab $LAB"
}

# lab_remove: processes first, then what they used. The caller holds the lab's lock.
lab_remove() {
  local host
  for host in $(lab_hosts); do host_lock "$host"; done
  cg_end "$(cg_lab)"
  cpu_end '*'
  network_down
  rm -rf --one-file-system "$LABDIR"
  rmdir "$STATE/labs" "$STATE" 2>/dev/null || true
  if [[ $CGROUP2 == /run/openstack-ha-cgroup2 && ! -e $STATE/labs ]]; then
    umount "$CGROUP2" && rmdir "$CGROUP2"
  fi
}

verb_list() {
  local d on host hosts
  for d in "$STATE"/labs/*/; do
    [[ -e $d ]] || { echo 'no labs' && return; }
    d=${d%/}
    use_lab "${d##*/}"
    use_cgroup2
    on=0
    mapfile -t hosts < <(lab_hosts)
    for host in "${hosts[@]}"; do cg_dead "$(cg_host "$host")" || on=$((on + 1)); done
    printf '%s: %d hosts, %d on, network %s\n' "$LAB" "${#hosts[@]}" "$on" "$(netns_exists && echo up || echo down)"
  done
}

verb_show() {
  local lab=${1:-} json=${2:-}
  [[ -n $lab ]] || die 'usage: lab show LAB [--json]'
  want_lab "$lab"
  use_cgroup2
  local out
  out=$(lab_json)
  if [[ $json == --json ]]; then
    printf '%s\n' "$out"
  else
    jq -r '"lab \(.name): network \(.network), folder \(.folder)",
      (.hosts[] | "  \(.name)  \(.power)  \(.addresses.management)  BMC \(.bmc.address) \(.bmc.power)")' <<<"$out"
  fi
}

lab_json() {
  local host dir
  for host in $(lab_hosts); do
    dir=$LABDIR/hosts/$host
    jq --arg power "$(cg_dead "$(cg_host "$host")" && echo off || echo on)" \
      --arg bmc "$(cg_dead "$(cg_bmc "$host")" && echo off || echo on)" --arg reason "$(cat "$dir/power" 2>/dev/null)" \
      --arg nics "$(host_var "$host" HOST_NICS)" --arg pid "$(head -n 1 "$(cg_host "$host")/vm/payload/init.scope/cgroup.procs" 2>/dev/null)" \
      --arg image "$(<"$dir/lower")" --arg dir "$dir" \
      '{name, role, id, power: $power, reason: $reason, pid: ($pid | tonumber? // null), addresses, bmc: (.bmc + {power: $bmc}), image: ($image | split(":")),
        nics: ($nics | split("\n") | map(split(" ") | {name: .[0], peer: .[1], bridge: .[2], mac: .[3]})), console: ($dir + "/console.log")}' "$dir/host.json"
  done | jq -s --slurpfile lab "$LABDIR/lab.json" --arg network "$(netns_exists && echo up || echo down)" --arg dir "$LABDIR" --arg netns "$NETNS" \
    '$lab[0] + {network: $network, netns: $netns, folder: $dir, hosts: .}'
}

verb_exec() {
  need_root
  local lab=${1:-}
  shift || true
  [[ ${1:-} != -- ]] || shift
  (($# > 0)) || die 'usage: lab exec LAB -- COMMAND...'
  want_lab "$lab"
  use_cgroup2
  netns_exists || die "lab $LAB: wanted its namespace $NETNS, found none; bring it back with: lab resume $LAB"
  # In the lab's cgroup, so that destroy ends what is still running here.
  mkdir -p "$(cg_lab)/exec"
  echo "$$" >"$(cg_lab)/exec/cgroup.procs"
  exec nsenter "--net=$NETNS_FILE" -- "$@"
}
