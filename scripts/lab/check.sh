# shellcheck shell=bash
# Is the machine fit to carry a lab? `setup` installs what it lacks, `preflight` says all that it lacks.

# command:package
TOOLS=(mmdebstrap:mmdebstrap systemd-nspawn:systemd-container ipmi_sim:openipmi ipmitool:ipmitool ip:iproute2
  ss:iproute2 ethtool:ethtool nsenter:util-linux unshare:util-linux flock:util-linux setsid:util-linux jq:jq
  ping:iputils-ping ssh:openssh-client ssh-keygen:openssh-client sha256sum:coreutils find:findutils)
KEYRING=/usr/share/keyrings/debian-archive-keyring.gpg

missing_packages() {
  local tool
  {
    for tool in "${TOOLS[@]}"; do command -v "${tool%%:*}" >/dev/null || echo "${tool##*:}"; done
    [[ -e $KEYRING ]] || echo debian-archive-keyring
  } | sort -u
}

verb_setup() {
  need_root
  local packages started
  started=$(now_ms)
  mapfile -t packages < <(missing_packages)
  if ((${#packages[@]} == 0)); then
    echo unchanged
    return
  fi
  # Another command that installs just now may install these.
  lock_dir "$CACHE/setup" 1000 setup
  install_missing
  unlock
  echo "created: packages installed ($(seconds_since "$started") s)"
}

install_missing() {
  local packages log
  mapfile -t packages < <(missing_packages)
  ((${#packages[@]})) || return 0
  command -v apt-get >/dev/null ||
    die "packages: wanted ${packages[*]} (Debian's names), found them missing and no apt-get on this machine; install what provides them by hand"
  say "installing ${packages[*]}"
  log=$(mktemp)
  apt_run "$log" install -y -q --no-install-recommends "${packages[@]}" || {
    # The package lists may be missing or too old for the mirror.
    apt_run "$log" update -q && apt_run "$log" install -y -q --no-install-recommends "${packages[@]}"
  } || die "packages: wanted ${packages[*]} installed, found: $(grep '^E:' "$log" | tail -n 1); see $log and run apt-get install ${packages[*]}"
  rm -f "$log"
  mapfile -t packages < <(missing_packages)
  ((${#packages[@]} == 0)) || die "packages: wanted nothing missing after apt-get, found ${packages[*]} missing; check PATH"
}

apt_run() {
  local log=$1
  shift
  # The services of these packages (openipmi) are no business of ours.
  DEBIAN_FRONTEND=noninteractive timeout --kill-after=10 900 apt-get -o DPkg::Lock::Timeout=300 "$@" </dev/null >>"$log" 2>&1
}

# lacks WHAT FIX: notes one finding.
lacks() { FINDINGS+=("$1"$'\t'"$2"); }

verb_preflight() {
  read_spec
  FINDINGS=()
  local vars name hosts memory disk command need
  vars=$(spec_vars '@sh "name=\(.name // "lab") hosts=\(.hosts // 0 | if type == "array" then length else . end) memory=\(.memoryMiB // 0) disk=\(.diskMiB // 0)"')
  eval "$vars"
  use_lab "$name"
  local packages
  mapfile -t packages < <(missing_packages)
  ((${#packages[@]} == 0)) || lacks "missing packages: ${packages[*]}" "run: scripts/lab/lab setup"
  check_keyring
  check_versions
  if ((EUID == 0)); then check_kernel; else lacks "not root (uid $EUID)" "run it as root: sudo -E"; fi
  check_room "$hosts" "$memory" "$disk"
  check_subnets
  report "${1:-}"
}

check_keyring() {
  [[ -e $KEYRING ]] || return 0
  # The release key of Debian 13; gpg is not everywhere, the split-out keyring of the same package is.
  [[ -e /usr/share/keyrings/debian-archive-trixie-stable.gpg ]] ||
    lacks "$KEYRING has no keys of Debian 13" "upgrade the package debian-archive-keyring (2023.3+deb12u1 or later)"
}

check_versions() {
  local version
  command -v systemd-nspawn >/dev/null || return 0
  version=$(systemd-nspawn --version | sed -n '1s/[^0-9]*\([0-9]*\).*/\1/p')
  ((version >= 247)) || lacks "systemd-nspawn $version is too old" "install systemd-container 247 or later (Debian 11 or later)"
}

check_kernel() {
  local dir
  unshare --mount --net true 2>/dev/null || {
    lacks 'mount and network namespaces are refused' 'run on a machine or a privileged container with CAP_SYS_ADMIN'
    return 0
  }
  dir=$(mktemp -d)
  mkdir "$dir"/{lower,upper,work,root,cgroup}
  unshare --mount mount -t cgroup2 none "$dir/cgroup" 2>/dev/null ||
    lacks 'cgroup2 can not be mounted' 'boot a kernel with CONFIG_CGROUPS and without cgroup_no_v1=named'
  unshare --mount sh -c 'mount -t cgroup2 none "$1" && mkdir "$1/osha-probe" && rmdir "$1/osha-probe"' _ "$dir/cgroup" 2>/dev/null ||
    lacks 'no cgroup can be made in cgroup2' 'run with a writable cgroup2 (docker: --privileged --cgroupns=host)'
  rm -rf "$dir"
  check_overlay "$CACHE" 'the image cache' OPENSTACK_HA_CACHE
  check_overlay "$STATE" "the hosts' disks" OPENSTACK_HA_STATE
  unshare --net sh -c 'ip link add probe0 type veth peer name probe1' 2>/dev/null ||
    lacks 'veth interfaces can not be made' 'modprobe veth (CONFIG_VETH)'
  unshare --net sh -c 'ip link add probe0 type bridge' 2>/dev/null ||
    lacks 'bridges can not be made' 'modprobe bridge (CONFIG_BRIDGE)'
  [[ -c /dev/net/tun ]] || lacks '/dev/net/tun is missing' 'modprobe tun (CONFIG_TUN)'
  # RT_GROUP_SCHED gives no realtime to processes in a v1 cpu group without a budget; corosync wants it.
  chrt -r 1 true 2>/dev/null ||
    lacks 'realtime scheduling is refused' "give this shell's cpu cgroup a budget: cpu.rt_runtime_us, or run outside of it"
}

# check_overlay FOLDER WHAT VARIABLE: can it be an overlay's upper? (Not on NFS, and not on an overlay, as in docker.)
check_overlay() {
  local at=$1 dir
  while [[ ! -d $at ]]; do at=${at%/*} && at=${at:-/}; done
  dir=$(mktemp -d "$at/.osha-probe.XXXXXX" 2>/dev/null) || {
    lacks "$1 ($2) is not writable" "choose another folder with $3"
    return 0
  }
  mkdir "$dir"/{lower,upper,work,root}
  unshare --mount mount -t overlay overlay -o "lowerdir=$dir/lower,upperdir=$dir/upper,workdir=$dir/work" "$dir/root" 2>/dev/null ||
    lacks "overlayfs can not be mounted on $1 ($2)" "modprobe overlay, or choose a folder on ext4, xfs or btrfs with $3"
  rm -rf "$dir"
}

check_room() {
  local hosts=$1 memory=$2 disk=$3 need have at running=0
  # Hosts that run already have their memory.
  if [[ -d $LABDIR/hosts ]]; then
    use_cgroup2
    local host
    for host in $(lab_hosts); do cg_dead "$(cg_host "$host")" || running=$((running + 1)); done
  fi
  need=$(((hosts > running ? hosts - running : 0) * memory))
  have=$(($(sed -n 's/^MemAvailable: *\([0-9]*\) kB/\1/p' /proc/meminfo) / 1024))
  ((have >= need)) ||
    lacks "memory: $need MiB wanted ($((need / (memory > 0 ? memory : 1))) hosts of $memory MiB), $have MiB available" "stop other programs, take fewer hosts, or a bigger machine"
  local place
  for place in "$CACHE" "$STATE"; do
    at=$place
    while [[ ! -d $at ]]; do at=${at%/*} && at=${at:-/}; done
    have=$(($(stat -fc '%a * %S' "$at") / 1048576))
    need=$disk
    if [[ $place == "$STATE" ]]; then need=$(((hosts > running ? hosts - running : 0) * disk)); fi
    ((have >= need)) || lacks "disk: $need MiB wanted in $place, $have MiB free" "free some, or choose another folder with $([[ $place == "$CACHE" ]] && echo OPENSTACK_HA_CACHE || echo OPENSTACK_HA_STATE)"
  done
}

check_subnets() {
  local network cidr device other tag
  command -v ip >/dev/null && command -v jq >/dev/null || return 0
  tag=$(jq -r '.tag // empty' <<<"$SPEC")
  while read -r network cidr; do
    [[ -n $network ]] || continue
    while read -r other device; do
      [[ $other == */* ]] || other=$other/32
      [[ -n $tag && $device == "osha-$tag-"* ]] || ! overlap "$cidr" "$other" ||
        lacks "network $network ($cidr) overlaps with $other on $device of this machine" "choose another cidr for openstack-ha:networks.$network"
    done < <({
      ip -j -4 address | jq -r '.[] | .ifname as $d | .addr_info[]? | select(.local) | "\(.local)/\(.prefixlen) \($d)"'
      ip -j -4 route show table all | jq -r '.[] | select(.dst != "default" and (.type // "unicast") == "unicast" and .dev) | "\(.dst) \(.dev)"'
    } | sort -u)
  done < <(jq -r '.networks // {} | to_entries[] | "\(.key) \(.value.cidr)"' <<<"$SPEC")
}

report() {
  local line n=${#FINDINGS[@]}
  if [[ $1 == --json ]]; then
    printf '%s\n' "${FINDINGS[@]}" | jq -Rs '[split("\n")[] | select(. != "") | split("\t") | {missing: .[0], fix: .[1]}] | {ok: (length == 0), findings: .}'
  else
    for line in "${FINDINGS[@]}"; do say "missing: ${line%%$'\t'*} -> ${line#*$'\t'}"; done
  fi
  if ((n > 0)); then
    die "preflight: wanted a machine fit for the lab, found $n of its needs unmet, listed above; fix them and run it again"
  fi
  [[ $1 == --json ]] || echo 'unchanged: the machine is fit for the lab'
}
