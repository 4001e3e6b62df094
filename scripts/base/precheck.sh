# shellcheck shell=bash
# base, precheck: say what this host is, as sections of plain text, and change nothing. Runs as root on a host that has
# nothing of ours yet; tools/precheck/facts.ts reads what it prints, tools/precheck/judge.ts decides what is wrong.
#
# Before it come the lines that tools/precheck/gather.ts writes: the arrays PEERS ("network address bytes"), VIPS, DISKS
# and PACKAGES.
set -u
export LC_ALL=C.UTF-8 PATH=/usr/sbin:/usr/bin:/sbin:/bin
section() { printf '@@ %s\n' "$1"; }

section clock
date +%s.%N
section root
id -u
section scratch
scratch=$(mktemp -d /dev/shm/openstack-ha-precheck.XXXXXX) || exit 1
trap 'rm -rf "$scratch"' EXIT

# ping_one NETWORK ADDRESS BYTES: whether packets of the network's size arrive, whether small ones do, and whose they are.
ping_one() {
  local full=no small=no mac
  # 28 bytes are the headers of IPv4 and ICMP.
  if ping -q -n -c 2 -i 0.2 -W 1 -M 'do' -s "$(($3 - 28))" "$2" >/dev/null 2>&1; then
    full=yes small=yes
  elif ping -q -n -c 2 -i 0.2 -W 1 "$2" >/dev/null 2>&1; then
    small=yes
  fi
  mac=$(ip neighbour show "$2" 2>/dev/null | grep -oE 'lladdr [0-9a-f:]+' | head -1)
  echo "$1 $2 $full $small ${mac#lladdr }"
}
for peer in "${PEERS[@]}"; do
  read -r network address bytes <<<"$peer"
  ping_one "$network" "$address" "$bytes" >"$scratch/ping-$network-$address" &
done
for vip in "${VIPS[@]}"; do
  ping_one vip "$vip" 84 >"$scratch/ping-vip-$vip" &
done

# The source of packages, by apt itself, so that its proxy, keys and certificates count; into a folder of this run. What a
# package of the host wants done after an update is left out.
source_answers() {
  mkdir -p "$scratch"/{lists,archives,none}/partial
  {
    apt-config dump | grep -vE '^(APT::Update::|DPkg::)'
    printf '%s "%s";\n' Dir::Etc::Parts "$scratch/none" Dir::Etc::Main "$scratch/none/conf" \
      Dir::State::Lists "$scratch/lists" Dir::Cache "$scratch" Dir::Cache::Archives archives \
      Acquire::IndexTargets::deb::Packages::DefaultEnabled false Acquire::IndexTargets::deb::DEP-11::DefaultEnabled false \
      Acquire::IndexTargets::deb::Contents-deb::DefaultEnabled false Acquire::Languages none APT::Sandbox::User root \
      Acquire::Retries 0 Acquire::http::Timeout 10 Acquire::https::Timeout 10 APT::Update::Error-Mode any
  } >"$scratch/apt.conf"
  APT_CONFIG=$scratch/apt.conf timeout 60 apt-get -qq update 2>&1 | grep -E '^(E|W|Err)' ||
    [[ ${PIPESTATUS[0]} != 124 ]] || echo "E: no answer in 60 s"
}
source_answers >"$scratch/source" &

section hostname
hostname
section machine
cat /etc/machine-id
section os
cat /etc/os-release
section architecture
dpkg --print-architecture
section cpu
nproc
grep -m 1 -owE 'vmx|svm' /proc/cpuinfo
section kvm
[[ ! -e /dev/kvm ]] || echo yes
section openvswitch
[[ ! -d /sys/module/openvswitch ]] && ! modinfo openvswitch >/dev/null 2>&1 || echo yes
section memory
grep MemTotal /proc/meminfo
section synchronized
timedatectl show --property NTPSynchronized --value 2>/dev/null
section free
df --output=avail -BM / | tail -n 1
section links
ip -d -o link show
section carriers
for each in /sys/class/net/*/carrier; do
  nic=${each%/carrier}
  echo "${nic##*/} $(cat "$each" 2>/dev/null || echo down)"
done
section addresses
ip -4 -o address show
for disk in "${DISKS[@]}"; do
  section "disk $disk"
  [[ -b $disk ]] || continue
  printf 'device %s\nbytes %s\n' "$(readlink -f "$disk")" "$(lsblk --bytes --nodeps --noheadings --output SIZE "$disk")"
  printf 'type %s\n' "$(lsblk --nodeps --noheadings --output TYPE "$disk")"
  lsblk --noheadings --raw --output NAME,MOUNTPOINT "$disk" | awk 'NR > 1 || NF > 1 { print "content " $0 }'
  wipefs --no-act --noheadings --output TYPE "$disk" 2>&1 | sed 's/^/content /'
done
section resolved
# Also of sources that were never asked yet. Where a proxy asks them, names are its own matter.
in_memory=(-o Dir::Cache::pkgcache= -o Dir::Cache::srcpkgcache=) # apt's caches on disk would be written anew
apt-config dump | grep -qE '^Acquire::https?::Proxy(::[^ ]*)? "[^"]' ||
  apt-get "${in_memory[@]}" --print-uris update 2>/dev/null | sed -nE "s|^'https?://([^/:']+).*|\1|p" | sort -u | while read -r name; do
    getent ahosts "$name" >/dev/null 2>&1 && echo "$name yes" || echo "$name no"
  done
section packages
apt-cache "${in_memory[@]}" policy "${PACKAGES[@]}" 2>/dev/null |
  awk '/^[^ ].*:$/ { name = $1; sub(":$", "", name) } $1 == "Candidate:" && $2 != "(none)" { print name }'
section listeners
ss -H -l -n -t -u -p
section cloud
# A cloud of this program writes the names of its VIPs.
sed -nE 's/.* internal\.([A-Za-z0-9_.-]+)$/\1/p' /etc/hosts
section corosync
sed -nE 's/^[[:space:]]*cluster_name:[[:space:]]*(.*)$/\1/p' /etc/corosync/corosync.conf 2>/dev/null
section ceph
sed -nE 's/^[[:space:]]*fsid[[:space:]]*=[[:space:]]*(.*)$/\1/p' /etc/ceph/ceph.conf 2>/dev/null
section leftovers
# What a package leaves where it was only installed is not there yet, or empty.
[[ ! -s /var/lib/mysql/grastate.dat ]] || echo "galera /var/lib/mysql"
find /var/lib/rabbitmq/mnesia -mindepth 1 -maxdepth 1 -name 'rabbit@*' -printf 'rabbitmq %p\n' -quit 2>/dev/null
find /var/lib/ceph/mon /var/lib/ceph/osd -mindepth 1 -maxdepth 1 -printf 'ceph %p\n' -quit 2>/dev/null
find /var/lib/pacemaker/cib -name cib.xml -printf 'pacemaker %p\n' -quit 2>/dev/null
find /var/lib/nova/instances -mindepth 1 -maxdepth 1 -name '*-*-*-*-*' -printf 'nova %p\n' -quit 2>/dev/null
section dmi
for each in product_uuid product_serial chassis_serial board_serial; do
  echo "$each $(cat "/sys/class/dmi/id/$each" 2>/dev/null)"
done
wait
section pings
cat "$scratch"/ping-* 2>/dev/null
section source
cat "$scratch/source"
section end
