#!/usr/bin/env bash
# Runs one host as long as it is powered on: runner.sh HOSTDIR POST_SECONDS CPU_GROUP, started by power.sh in the host's
# cgroup, in the lab's network namespace and in a mount namespace of its own, so that no mount shows up on the machine.
set -euo pipefail
dir=$1
# shellcheck source=lib.sh
. "${BASH_SOURCE[0]%/*}/lib.sh"
# shellcheck source=/dev/null
. "$dir/host.conf"

note() { printf '%(%FT%T)T %s\n' -1 "$*" | tee "$dir/power"; }
sleep "$2"
trap 'note "off: the runner failed at line $LINENO, see console.log"' ERR

if [[ -n $3 ]]; then echo "$$" >"$3/cgroup.procs"; fi
mount --make-rprivate /
# Other labs' namespaces must not live on because we hold their mount.
umount -R -l /run/netns 2>/dev/null || true
# nspawn leaves its locks and sockets in /run.
mount -t tmpfs -o mode=755 tmpfs /run
if [[ $(stat -fc %T /sys/fs/cgroup) != cgroup2fs ]]; then
  umount -R /sys/fs/cgroup 2>/dev/null || true
  mount -t cgroup2 none /sys/fs/cgroup
fi
cgroup=/sys/fs/cgroup/$HOST_CGROUP
mount -t overlay overlay -o "lowerdir=$HOST_LOWER,upperdir=$dir/upper,workdir=$dir/work" "$dir/root"

# As many open files as systemd gives on a real host, where this machine may raise its own limit.
ulimit -Hn 524288 2>/dev/null || true

# A new network namespace for each boot: a power cut leaves no address, route or firewall rule behind. The NICs are in
# place before the guest starts, with the machine's end already on its bridge, so there is nothing to wait for.
make_nics() {
  local nic peer bridge mac mtu offload
  umount -l /run/netns-host 2>/dev/null || : >/run/netns-host
  unshare --net=/run/netns-host true
  while read -r nic peer bridge mac mtu offload; do
    ip link delete "$peer" 2>/dev/null || true
    ip link add "$peer" mtu "$mtu" type veth peer name "$nic" address "$mac" mtu "$mtu" netns /run/netns-host
    ip link set "$peer" master "$bridge" up
    [[ $offload != false ]] || nsenter --net=/run/netns-host ethtool -K "$nic" tx off >/dev/null
  done <<<"$HOST_NICS"
}

drop_nics() {
  local peer
  while read -r _ peer _; do ip link delete "$peer" 2>/dev/null || true; done <<<"$HOST_NICS"
}

binds=()
for device in $HOST_DEVICES; do binds+=("--bind=$device"); done
# =network: the guest may set net.* of its own namespace, but /sys, sysrq and the kernel's other settings stay out of
# its reach: they are the machine's.
export SYSTEMD_NSPAWN_API_VFS_WRITABLE=network
while :; do
  make_nics
  lay_pending "$dir" "$dir/root"
  mkdir -p "$cgroup/vm"
  rc=0
  (
    echo "$BASHPID" >"$cgroup/vm/cgroup.procs"
    exec systemd-nspawn --quiet --boot --directory="$dir/root" --machine="$HOST_MACHINE" --hostname="$HOST_NAME" \
      --register=no --keep-unit --network-namespace-path=/run/netns-host --capability=all \
      --drop-capability=CAP_SYS_TIME,CAP_SYS_MODULE --system-call-filter='@keyring bpf perf_event_open' \
      --resolv-conf=off --timezone=off --link-journal=no --console=read-only "${binds[@]}"
  ) || rc=$?
  find "$cgroup/vm" -depth -type d -exec rmdir {} + 2>/dev/null || true
  # 133: the guest rebooted itself.
  ((rc == 133)) || break
  printf '%(%FT%T)T reboot\n' -1
done
drop_nics
if ((rc == 0)); then note 'off: the guest powered itself off'; else note "off: systemd-nspawn ended with exit code $rc, see console.log"; fi
