# shellcheck shell=bash
# Shared by every lab verb: paths, messages, locks, cgroups, namespaces.
#
# Words: the *machine* is where Pulumi runs; a *host* is a system container that stands in for a server.

shopt -s extglob
STATE=${OPENSTACK_HA_STATE:-/var/lib/openstack-ha}
CACHE=${OPENSTACK_HA_CACHE:-${XDG_CACHE_HOME:-${HOME:-/root}/.cache}/openstack-ha}
declare -A BRIDGE=([management]=br-mgmt [tunnel]=br-tun [storage]=br-sto [external]=br-ext)
# prv0 is a second port on the external network, without an address: Open vSwitch carries guests' packets through it.
declare -A NIC=([management]=mgmt0 [tunnel]=tun0 [storage]=sto0 [external]=ext0 [provider]=prv0)
# Short names of the networks, for interface names of at most 15 characters.
declare -A SHORT=([management]=mgmt [tunnel]=tun [storage]=sto [external]=ext)

say() { printf '%s\n' "$*" >&2; }
die() {
  say "error: $*"
  exit 1
}

now_ms() { printf '%s' "$((${EPOCHREALTIME/./} / 1000))"; }

# seconds_since START_MS: with one decimal.
seconds_since() {
  local ms=$(($(now_ms) - $1))
  printf '%d.%d' $((ms / 1000)) $((ms % 1000 / 100))
}

# wait_for SECONDS COMMAND...: polls until the command succeeds.
wait_for() {
  local end=$(($(now_ms) + $1 * 1000))
  shift
  until "$@"; do
    (($(now_ms) < end)) || return 1
    sleep 0.05
  done
}

# write_file PATH MODE: stdin into PATH by rename, so that nobody sees half a file.
write_file() {
  local tmp
  mkdir -p "${1%/*}"
  tmp=$(mktemp "${1%/*}/.new.XXXXXX")
  cat >"$tmp"
  chmod "$2" "$tmp"
  mv -fT "$tmp" "$1"
}

# The spec comes in LAB_SPEC, or on stdin when it is unset or "-" (one environment string ends at 128 KiB).
read_spec() {
  SPEC=${LAB_SPEC:--}
  export -n LAB_SPEC
  [[ $SPEC != - ]] || SPEC=$(cat)
  jq -e 'type == "object"' >/dev/null 2>&1 <<<"$SPEC" ||
    die "LAB_SPEC: wanted a JSON object, found '${SPEC:0:60}'; set LAB_SPEC, or pass the spec on stdin"
}

# spec_vars JQ: jq builds shell assignments with @sh; its own error() messages are ours to show.
spec_vars() {
  local out
  out=$(jq -er "$1" 2>&1 <<<"$SPEC") ||
    die "LAB_SPEC: ${out##jq: error (at <stdin>:+([0-9])): }"
  printf '%s' "$out"
}

# check_path WHAT PATH VARIABLE: no characters that the options of overlayfs or ipmi_sim would need escaped, and not
# where a host's runner mounts its own.
check_path() {
  [[ $2 =~ ^/[A-Za-z0-9_./@+-]+$ && $2 != /run/* ]] ||
    die "$1: wanted an absolute path of letters, digits and _./@+- outside of /run, found '$2'; set $3"
}

check_lab_name() {
  [[ $1 =~ ^[a-z][a-z0-9-]{0,19}$ ]] ||
    die "lab name: wanted a-z, 0-9 and '-', at most 20 characters, found '$1'; choose another stack name"
}

check_host_name() {
  [[ $1 =~ ^[a-z][a-z0-9-]{0,39}$ ]] ||
    die "host name: wanted a-z, 0-9 and '-', at most 40 characters, found '$1'; rename the host"
}

need_root() { ((EUID == 0)) || die "wanted root, found uid $EUID; run it as root (namespaces, mounts and bridges need it)"; }

# --- names and places of a lab -------------------------------------------------------------------

# use_lab NAME: sets LAB, LABDIR, NETNS, NETNS_FILE.
use_lab() {
  check_lab_name "$1"
  check_path 'state folder' "$STATE" OPENSTACK_HA_STATE
  LAB=$1
  LABDIR=$STATE/labs/$LAB
  NETNS=osha-$LAB
  NETNS_FILE=/run/netns/$NETNS
}

want_lab() {
  use_lab "$1"
  [[ -e $LABDIR/lab.json ]] ||
    die "lab $LAB: wanted its descriptor $LABDIR/lab.json, found none; create the lab first (pulumi up, or lab network)"
  load_lab
}

# load_lab: TAG, MANAGEMENT (its cidr) and PLAN, one line per network: "NAME CIDR MTU OFFLOAD ADDRESS" (ADDRESS "-":
# the machine has none there). Checksum offload is off where Open vSwitch in userspace may take the packets: it
# forwards the half-made checksums of a veth as they are, and TCP dies while ping works.
load_lab() {
  eval "$(jq -r '@sh "TAG=\(.tag) MANAGEMENT=\(.networks.management.cidr) PLAN=\([.networks | to_entries[]
    | "\(.key) \(.value.cidr) \(.value.mtu // 1500) \(
      if .value | has("txOffload") then .value.txOffload else .key != "tunnel" and .key != "external" end) \(.value.address // "-")"]
    | join("\n"))"' "$LABDIR/lab.json")"
}

lab_hosts() {
  local d
  for d in "$LABDIR"/hosts/*/; do
    d=${d%/}
    [[ ! -e $d/lower ]] || printf '%s\n' "${d##*/}"
  done
}

# host_var HOST NAME: of the host's host.conf; nothing if it is not there.
host_var() (
  if [[ -e $LABDIR/hosts/$1/host.conf ]]; then
    # shellcheck source=/dev/null
    . "$LABDIR/hosts/$1/host.conf"
    printf '%s' "${!2}"
  fi
)

# Host end, in the lab's namespace, of a host's NIC: <tag><id>-<nic>.
nic_peer() { printf '%s%s-%s' "$1" "$2" "${NIC[$3]}"; }
# The two ends of the machine's own cable into a lab's network.
cable_machine() { printf 'osha-%s-%s' "$1" "${SHORT[$2]}"; }
cable_lab() { printf 'up-%s' "${SHORT[$1]}"; }

# --- locks ---------------------------------------------------------------------------------------

# lock_dir DIR SECONDS WHAT: an exclusive lock held until the script ends. Locking the folder itself leaves no
# lock file behind; a folder deleted while we waited is a lock on nothing, hence the check of its inode.
lock_dir() {
  local fd end said=0
  end=$(($(now_ms) + $2 * 1000))
  while :; do
    mkdir -p "$1"
    exec {fd}<"$1"
    while ! flock -w 5 "$fd"; do
      (($(now_ms) < end)) || die "$3: wanted its lock within $2 s, found it held by another command; see who with: fuser -v $1"
      ((said++)) || say "$3: waiting for another command that works on it"
    done
    [[ $(stat -Lc %d:%i "/proc/self/fd/$fd") != "$(stat -c %d:%i "$1" 2>/dev/null)" ]] || break
    exec {fd}<&-
  done
  LOCK_FD=$fd
}

unlock() { exec {LOCK_FD}<&-; }

# --- cgroups -------------------------------------------------------------------------------------
# Every process of a lab lives in the cgroup osha-<lab> of the v2 hierarchy, from before it is executed. That is
# how we know our own processes (no search by name, no stale pid files), and how all of them die at once.

# Mount point of the v2 hierarchy in CGROUP2: where the machine has it (hybrid or unified), else one of our own.
use_cgroup2() {
  local root point rest
  while read -r _ _ _ root point rest; do
    if [[ ${rest##* - } == 'cgroup2 '* && $root == / ]]; then
      CGROUP2=$point
      return
    fi
  done </proc/self/mountinfo
  CGROUP2=/run/openstack-ha-cgroup2
  mkdir -p "$CGROUP2"
  mount -t cgroup2 none "$CGROUP2" ||
    die "cgroup2: wanted the v2 hierarchy mounted, found none and could not mount it; boot a kernel with CONFIG_CGROUPS"
}

cg_lab() { printf '%s/osha-%s' "$CGROUP2" "$LAB"; }
cg_host() { printf '%s/osha-%s/%s' "$CGROUP2" "$LAB" "$1"; }
cg_bmc() { printf '%s/osha-%s/%s.bmc' "$CGROUP2" "$LAB" "$1"; }

# Equal shares of the machine's cores: a host that boots takes no more from the others than one more server would. Without
# them each *process* has a share, and a host with forty of them starts, while the others' clients wait.

# cpu_share HOST: prints the host's group in the v1 cpu hierarchy, made if need be. Where the v2 hierarchy has that
# controller it is told to count by hosts, and nothing is printed.
cpu_share() {
  local root group=
  if [[ -e $CGROUP2/cgroup.controllers && " $(<"$CGROUP2/cgroup.controllers") " == *' cpu '* ]]; then
    mkdir -p "$(cg_lab)"
    # A kernel with RT_GROUP_SCHED refuses that while there are realtime processes; then all have their own share, as before.
    echo +cpu 2>/dev/null >"$CGROUP2/cgroup.subtree_control" || return 0
    echo +cpu >"$(cg_lab)/cgroup.subtree_control"
    # All hosts together against the machine's other slices, which have 100 each.
    echo 1000 >"$(cg_lab)/cpu.weight"
    return
  fi
  root=$(cpu_v1) || return 0
  group=$root/osha-$LAB.$1
  mkdir -p "$group"
  # As much as ten sessions of the machine, each of which the kernel takes for a group of 1024 (autogroup): a host has some
  # forty daemons.
  echo 10240 >"$group/cpu.shares"
  realtime_share "$1" "$root" "$group"
  printf '%s' "$group"
}

# realtime_share HOST ROOT GROUP: Corosync wants realtime, and with RT_GROUP_SCHED a group has none by itself. It takes 3 % of a core,
# and more for a moment when the membership changes: a quarter of what no other group was given, and at most 15 %. So a second lab
# beside the first has enough. A host without Corosync gets 1 %.
realtime_share() {
  local host=$1 root=$2 group=$3 left other given period most=1000
  [[ -e $group/cpu.rt_runtime_us ]] || return 0
  ! in_image "$host" usr/sbin/corosync || most=15000
  echo 100000 >"$group/cpu.rt_period_us"
  # All in µs of 100 ms; root's -1 is no limit.
  left=$(($(<"$root/cpu.rt_runtime_us") * 100000 / $(<"$root/cpu.rt_period_us")))
  ((left >= 0)) || left=100000
  for other in "$root"/*/cpu.rt_runtime_us; do
    [[ $other != "$group/cpu.rt_runtime_us" ]] || continue
    # It may be gone by now.
    if read -r given <"$other" && read -r period <"${other%/*}/cpu.rt_period_us"; then
      left=$((left - given * 100000 / period))
    fi
  done 2>/dev/null
  given=$((left / 4 < most ? left / 4 : most))
  { ((given >= 1000)) && echo "$given" >"$group/cpu.rt_runtime_us"; } 2>/dev/null ||
    die "host $host: wanted 1 % of a core as realtime, found ${left} µs of each 100 ms left in $root; power off hosts of other labs, or raise cpu.rt_runtime_us there"
}

# in_image HOST PATH: whether one of the images the host's disk is built on has that file.
in_image() {
  local lower
  for lower in $(tr ':' ' ' <"$LABDIR/hosts/$1/lower"); do
    [[ ! -e $lower/$2 ]] || return 0
  done
  return 1
}

# cpu_v1: mount point of the v1 cpu hierarchy; fails if there is none.
cpu_v1() {
  local root point rest
  while read -r _ _ _ root point rest; do
    if [[ ${rest##* - } == 'cgroup '* && ",${rest##* }," == *,cpu,* && $root == / ]]; then
      printf '%s' "$point"
      return
    fi
  done </proc/self/mountinfo
  return 1
}

# cpu_end HOST|*: remove the groups again; nothing runs in them any more.
cpu_end() {
  local root group
  root=$(cpu_v1) || return 0
  for group in "$root/osha-$LAB."$1; do
    wait_for 5 cg_remove "$group" || die "cgroup $group: could not be removed; look for processes in its cgroup.procs"
  done
}

cg_alive() {
  local key value
  [[ -e $1/cgroup.events ]] || return 1
  while read -r key value; do
    [[ $key != populated ]] || return $((1 - value))
  done <"$1/cgroup.events" 2>/dev/null
  return 1
}
cg_dead() { ! cg_alive "$1"; }

cg_signal_kill() {
  local f pid
  if [[ -e $1/cgroup.kill ]]; then
    echo 1 >"$1/cgroup.kill"
    return
  fi
  # Kernels before 5.14: repeat, for a process can fork while we read.
  local tries=0
  while ((tries++ < 200)) && cg_alive "$1"; do
    while IFS= read -r f; do
      while read -r pid; do kill -KILL "$pid" 2>/dev/null || true; done <"$f"
    done < <(find "$1" -name cgroup.procs)
    sleep 0.02
  done
}

# cg_end DIR: SIGKILL to everything in it, wait, remove it.
cg_end() {
  [[ -d $1 ]] || return 0
  if cg_alive "$1"; then
    cg_signal_kill "$1"
    wait_for 20 cg_dead "$1" ||
      die "cgroup $1: wanted it empty 20 s after SIGKILL, found processes $(find "$1" -name cgroup.procs -exec cat {} + | tr '\n' ' '); they hang in the kernel, see /proc/PID/stack"
  fi
  # A dying cgroup can still be busy for a moment after its last process went.
  wait_for 5 cg_remove "$1" || die "cgroup $1: could not be removed; look for processes with: systemd-cgls $1"
}

cg_remove() {
  find "$1" -depth -type d -exec rmdir {} + 2>/dev/null || [[ ! -d $1 ]]
}

# --- processes that outlive us -------------------------------------------------------------------

# detach CGROUP LOG COMMAND...: a new session in the cgroup, no inherited file (a pipe or a lock kept open would
# hang whoever waits for it), no inherited environment (it may hold secrets), default signals.
detach() (
  cg=$1 log=$2
  shift 2
  echo "$BASHPID" >"$cg/cgroup.procs" || die "cgroup $cg: wanted to enter it, found it refused; is cgroup2 mounted read-only?"
  exec </dev/null >>"$log" 2>&1
  for fd in /proc/self/fd/*; do
    fd=${fd##*/}
    ((fd < 3 || fd == 255)) || eval "exec $fd>&-"
  done
  cd /
  umask 022
  exec setsid -f env -i --default-signal PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin \
    HOME=/root LC_ALL=C.UTF-8 OPENSTACK_HA_STATE="$STATE" OPENSTACK_HA_CACHE="$CACHE" "$@"
)

# --- IPv4 ----------------------------------------------------------------------------------------

ip_to_int() {
  local a b c d
  IFS=. read -r a b c d <<<"$1"
  printf '%d' $(((a << 24) + (b << 16) + (c << 8) + d))
}

# in_cidr ADDRESS CIDR
in_cidr() {
  local shift=$((32 - ${2#*/}))
  (($(ip_to_int "$1") >> shift == $(ip_to_int "${2%/*}") >> shift))
}

# overlap CIDR CIDR: the shorter prefix decides.
overlap() {
  local p=${1#*/} q=${2#*/}
  if ((p <= q)); then in_cidr "${2%/*}" "$1"; else in_cidr "${1%/*}" "$2"; fi
}

# enter_machine VERB ARG...: from another mount namespace (`ip netns exec` makes one) back to the machine's own, for
# what we start has to outlive it.
enter_machine() {
  [[ ! /proc/self/ns/mnt -ef /proc/1/ns/mnt && -e $STATE && $STATE -ef /proc/1/root$STATE ]] || return 0
  exec nsenter --mount=/proc/1/ns/mnt -- "$HERE/lab" "$@"
}

netns() { nsenter --net="$NETNS_FILE" -- "$@"; }

# netns_exists: the file may be left of a machine that went down; then it is no namespace.
netns_exists() { [[ $(stat -fc %T "$NETNS_FILE" 2>/dev/null) == nsfs ]]; }

# lay_pending HOSTDIR ROOT: files of the host's spec that its disk has not got yet, each by rename.
lay_pending() {
  local dir=$1 root=$2 file to
  umask 022
  [[ -d $dir/pending ]] || return 0
  while IFS= read -r -d '' file; do
    to=$root/$file
    mkdir -p "${to%/*}"
    [[ ${file%/*} != root/.ssh ]] || chmod 700 "${to%/*}"
    cp -a "$dir/pending/$file" "$to.openstack-ha"
    mv -fT "$to.openstack-ha" "$to"
  done < <(cd "$dir/pending" && find . -type f -printf '%P\0')
  rm -rf "$dir/pending"
}
