# shellcheck shell=bash
# Power of a host, and its BMC (ipmi_sim), which switches it.

verb_power() {
  need_root
  local usage='usage: lab power LAB on|off|reset|status HOST, or: lab power LAB off --all'
  (($# == 3)) || die "$usage"
  local action=$2 host=$3
  want_lab "$1"
  use_cgroup2
  case $action:$host in
    off:--all)
      local did=0
      for host in $(lab_hosts); do
        if cg_alive "$(cg_host "$host")"; then
          host_lock "$host"
          power_off "$host" 'lab power off --all'
          unlock
          did=$((did + 1))
        fi
      done
      if ((did)); then echo "off: $did hosts of lab $LAB"; else echo unchanged; fi
      return
      ;;
    on:* | off:* | reset:* | status:*) ;;
    *) die "$usage; found '$action'" ;;
  esac
  want_host "$host"
  case $action in
    status)
      if cg_alive "$(cg_host "$host")"; then echo on; else cat "$LABDIR/hosts/$host/power" 2>/dev/null || echo off; fi
      return
      ;;
    reset | off)
      host_lock "$host"
      if [[ $action == off ]] && cg_dead "$(cg_host "$host")"; then
        echo unchanged
        return
      fi
      power_off "$host" "lab power off"
      [[ $action == off ]] || power_on "$host"
      ;;
    on)
      host_lock "$host"
      if cg_alive "$(cg_host "$host")"; then
        echo unchanged
        return
      fi
      power_on "$host"
      ;;
  esac
  echo "$action: host $host of lab $LAB"
}

want_host() {
  check_host_name "$1"
  [[ -e $LABDIR/hosts/$1/host.json ]] ||
    die "host $1 of lab $LAB: wanted its descriptor, found none; hosts there are: $(lab_hosts | tr '\n' ' ')"
}

host_lock() { lock_dir "$LABDIR/hosts/$1" 60 "host $1 of lab $LAB"; }

# verb_chassis LAB HOST get|set WHAT [VALUE]: what ipmi_sim calls as the host's chassis. It answers nobody while we
# work, so nothing here waits for the guest.
verb_chassis() {
  use_lab "$1"
  use_cgroup2
  local host=$2
  shift 2
  case "$*" in
    'get power')
      if cg_alive "$(cg_host "$host")"; then echo power:1; else echo power:0; fi
      ;;
    'set power 0') host_lock "$host" && power_off "$host" 'power off by its BMC' ;;
    'set power 1')
      host_lock "$host"
      cg_alive "$(cg_host "$host")" || power_on "$host" self-test
      ;;
    'set reset '* | 'set power_cycle '*)
      host_lock "$host"
      power_off "$host" 'reset by its BMC'
      power_on "$host" self-test
      ;;
    # A soft power off is what pressing the button does: the guest's init gets the signal for it.
    'set shutdown '*) power_button "$host" ;;
    'get '*) echo "$2:none" ;;
    *) ;;
  esac
}

power_button() {
  local pid
  read -r pid <"$(cg_host "$1")/vm/payload/init.scope/cgroup.procs" || return 0
  kill -s SIGRTMIN+4 "$pid"
}

# power_off HOST WHY: as if the plug were pulled.
power_off() {
  local dir=$LABDIR/hosts/$1
  if cg_alive "$(cg_host "$1")"; then
    cg_signal_kill "$(cg_host "$1")"
    printf '%(%FT%T)T off: %s\n' -1 "$2" | tee -a "$dir/console.log" >"$dir/power"
  fi
  cg_end "$(cg_host "$1")"
  drop_peers "$1"
}

# drop_peers HOST: the kernel removes a dead guest's NICs in its own time; their names are needed now.
drop_peers() {
  local peer
  netns_exists || return 0
  while read -r _ peer _; do
    [[ -z $peer ]] || ip -n "$NETNS" link delete "$peer" 2>/dev/null || true
  done < <(host_var "$1" HOST_NICS)
}

# power_on HOST [self-test]: switched on by its BMC, a host is on at once and boots after its firmware's self-test, as a
# server does.
power_on() {
  local dir=$LABDIR/hosts/$1 cg lower cpu post=0
  [[ -z ${2:-} ]] || post=$(jq -r '.bmc.postSeconds // 0' "$dir/host.json")
  netns_exists || die "lab $LAB: wanted its namespace $NETNS, found none (was the machine restarted?); bring it back with: lab resume $LAB"
  for lower in $(tr ':' ' ' <"$dir/lower"); do
    [[ -d $lower ]] ||
      die "host $1: wanted the image its disk is built on, found no $lower; delete and create the host again, its disk is of no use without"
  done
  cg=$(cg_host "$1")
  cg_end "$cg"
  mkdir -p "$cg/sup"
  rm -f "$dir/power"
  if [[ -e $dir/console.log && $(stat -c %s "$dir/console.log") -gt 1048576 ]]; then mv -f "$dir/console.log" "$dir/console.log.1"; fi
  printf '%(%FT%T)T on\n' -1 >>"$dir/console.log"
  cpu=$(cpu_share "$1")
  detach "$cg/sup" "$dir/console.log" nsenter "--net=$NETNS_FILE" -- unshare --mount --propagation slave -- \
    bash "$LABDIR/bin/runner.sh" "$dir" "$post" "$cpu"
}

# --- BMC -----------------------------------------------------------------------------------------

bmc_on() {
  local host=$1 dir=$LABDIR/hosts/$1/bmc cg address port
  cg=$(cg_bmc "$host")
  read -r address port <"$dir/address"
  cg_end "$cg"
  mkdir -p "$cg"
  ip -n "$NETNS" address replace "$address/32" dev br-mgmt
  # What it remembers would win over its configuration.
  rm -rf "$dir/state"
  mkdir -p "$dir/state"
  : >"$dir/log"
  detach "$cg" "$dir/log" nsenter "--net=$NETNS_FILE" -- ipmi_sim -n -c "$dir/lan.conf" -f "$dir/bmc.emu" -s "$dir/state"
  wait_for 10 bmc_listens "$address" "$port" ||
    die "BMC of $host: wanted ipmi_sim on $address:$port within 10 s, found nothing there; see $dir/log"
}

bmc_listens() { [[ -n $(netns ss -Hnlu src "$1:$2") ]]; }

bmc_off() {
  local address=''
  cg_end "$(cg_bmc "$1")"
  [[ ! -e $LABDIR/hosts/$1/bmc/address ]] || read -r address _ <"$LABDIR/hosts/$1/bmc/address"
  if [[ -n $address ]] && netns_exists; then ip -n "$NETNS" address delete "$address/32" dev br-mgmt 2>/dev/null || true; fi
}
