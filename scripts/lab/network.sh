# shellcheck shell=bash
# A lab's network: one namespace with four bridges, and a veth pair ("cable") from the machine into each network on
# which the machine has an address. Nothing else of the machine's own network is touched.

verb_network() {
  need_root
  read_spec
  local vars name
  vars=$(spec_vars '
    def ip4: type == "string" and test("^[0-9]{1,3}(\\.[0-9]{1,3}){3}$");
    (.networks // {}) as $n
    | if (.name | type) != "string" then error("name: wanted the name of the lab, found \(.name | tojson); give it") else . end
    | if (.tag | type) != "string" or (.tag | test("^[a-z][a-z0-9]{1,3}$") | not)
      then error("tag: wanted 2 to 4 characters of a-z and 0-9, found \(.tag | tojson); fix it") else . end
    | reduce ("management", "tunnel", "storage", "external") as $k (.;
        ($n[$k] // {}) as $w
        | if ($w.cidr | type) != "string" or ($w.cidr | test("^[0-9.]+/[0-9]+$") | not)
          then error("networks.\($k).cidr: wanted a network such as 10.0.0.0/24, found \($w.cidr | tojson); fix it") else . end
        | if ($w | has("address")) and ($w.address | ip4 | not)
          then error("networks.\($k).address: wanted an address of the machine, found \($w.address | tojson); fix it") else . end)
    | @sh "name=\(.name)"')
  eval "$vars"
  use_lab "$name"
  use_cgroup2
  if [[ ${1:-} == --delete ]]; then
    network_delete
    return
  fi
  lock_dir "$LABDIR" 60 "lab $LAB"
  chmod 700 "$LABDIR"
  local did=unchanged spec
  spec=$(jq -S '{name, tag, networks}' <<<"$SPEC")
  if [[ ! -e $LABDIR/lab.json ]]; then
    did=created
  elif [[ $spec != "$(<"$LABDIR/lab.json")" ]]; then
    did=updated
    network_replan "$spec"
  fi
  write_file "$LABDIR/lab.json" 600 <<<"$spec"
  load_lab
  install_scripts
  network_up
  ((MADE == 0)) || [[ $did != unchanged ]] || did=repaired
  if [[ $did == unchanged ]]; then echo unchanged; else echo "$did: network of lab $LAB ($NETNS)"; fi
}

# network_replan SPEC: other names or subnets mean another network; hosts would be left on the old one.
network_replan() {
  local what='{tag, cidrs: (.networks | map_values(.cidr))}' hosts
  [[ $(jq -cS "$what" <<<"$1") != $(jq -cS "$what" "$LABDIR/lab.json") ]] || return 0
  hosts=$(lab_hosts | tr '\n' ' ')
  [[ -z $hosts ]] ||
    die "lab $LAB: wanted other subnets or another tag, found hosts on the old ones (${hosts% }); delete the hosts first, or everything: lab destroy $LAB"
  network_down
}

# The BMCs call these scripts for as long as the lab lives, whatever becomes of the checkout they came from.
install_scripts() {
  local f
  [[ $HERE != "$LABDIR/bin" ]] || return 0
  mkdir -p "$LABDIR/bin"
  for f in lab lib.sh network.sh power.sh host.sh lifecycle.sh runner.sh; do
    cmp -s "$HERE/$f" "$LABDIR/bin/$f" || write_file "$LABDIR/bin/$f" 755 <"$HERE/$f"
  done
}

# network_is_up: cheap, for the way through when there is nothing to do.
network_is_up() {
  netns_exists || return 1
  local links name cidr mtu offload address here
  links=$(ip -n "$NETNS" -br link)
  here=$(ip -br -4 address)
  while read -r name cidr mtu offload address; do
    [[ $links == *"${BRIDGE[$name]} "* ]] || return 1
    [[ $address == - || ($links == *"$(cable_lab "$name")@"* && $here == *"$(cable_machine "$TAG" "$name")@"*" $address/${cidr#*/} "*) ]] || return 1
  done <<<"$PLAN"
}

# network_up: brings about what lab.json says; MADE=1 when something was missing.
network_up() {
  local name cidr mtu offload address
  MADE=0
  if ! netns_exists; then
    rm -f "$NETNS_FILE"
    ip netns add "$NETNS" || die "namespace $NETNS: could not be made; see: ip netns"
    MADE=1
  fi
  netns sh -c 'echo 1 >/proc/sys/net/ipv6/conf/all/disable_ipv6; echo 1 >/proc/sys/net/ipv6/conf/default/disable_ipv6
    echo 0 >/proc/sys/net/bridge/bridge-nf-call-iptables; echo 0 >/proc/sys/net/bridge/bridge-nf-call-ip6tables' 2>/dev/null || true
  ip -n "$NETNS" link set lo up
  while read -r name cidr mtu offload address; do
    network_bridge "$name" "$cidr" "$mtu"
    network_cable "$name" "${cidr#*/}" "$mtu" "$offload" "$address"
  done <<<"$PLAN"
}

# mac HOST WHAT: locally administered, the same for as long as the names are.
mac() {
  local h
  h=$(sha256sum <<<"$LAB/$1/$2")
  printf '02:%s:%s:%s:%s:%s' "${h:0:2}" "${h:2:2}" "${h:4:2}" "${h:6:2}" "${h:8:2}"
}

network_bridge() {
  local bridge=${BRIDGE[$1]} cidr=$2 mtu=$3
  if ! ip -n "$NETNS" link show "$bridge" >/dev/null 2>&1; then
    # A fixed MAC: otherwise it changes with the ports, and a host can't reach its neighbour's BMC when it must.
    ip -n "$NETNS" link add "$bridge" address "$(mac "" "$bridge")" type bridge stp_state 0 forward_delay 0
    MADE=1
  fi
  ip -n "$NETNS" link set "$bridge" mtu "$mtu" up
  # The BMCs' addresses are /32, so that each comes and goes without the others; this is their way out.
  ip -n "$NETNS" route replace "$cidr" dev "$bridge"
}

network_cable() {
  local name=$1 prefix=$2 mtu=$3 offload=$4 address=$5 out in stale
  out=$(cable_machine "$TAG" "$name")
  in=$(cable_lab "$name")
  if [[ $address == - ]]; then
    ip link delete "$out" 2>/dev/null || true
    return
  fi
  if ! ip link show "$out" >/dev/null 2>&1 || ! ip -n "$NETNS" link show "$in" >/dev/null 2>&1; then
    ip link delete "$out" 2>/dev/null || true
    ip link add "$out" type veth peer name "$in" netns "$NETNS"
    MADE=1
  fi
  echo 1 >"/proc/sys/net/ipv6/conf/$out/disable_ipv6" 2>/dev/null || true
  if [[ $offload == false ]]; then
    ethtool -K "$out" tx off >/dev/null
    netns ethtool -K "$in" tx off >/dev/null
  fi
  ip -n "$NETNS" link set "$in" mtu "$mtu" master "${BRIDGE[$name]}" up
  for stale in $(ip -br -4 address show "$out" | cut -s -d' ' -f3- | tr ' ' '\n' | grep '/' | grep -vx "$address/$prefix" || true); do
    ip address delete "$stale" dev "$out"
  done
  ip link set "$out" mtu "$mtu" up
  ip address replace "$address/$prefix" dev "$out"
}

network_delete() {
  if [[ ! -e $LABDIR ]] && ! netns_exists; then
    echo unchanged
    return
  fi
  lock_dir "$LABDIR" 60 "lab $LAB"
  local host
  # The network is the last to go: of a host that is still here the state knows nothing, for its creation was cut off.
  for host in $(lab_hosts); do host_delete "$host"; done
  lab_remove
  echo "deleted: network of lab $LAB"
}

# network_down: explicit, for a namespace dies only with its last user, and its links later still.
network_down() {
  local link
  if netns_exists; then
    while read -r link _; do
      link=${link%%@*}
      [[ $link == lo ]] || ip -n "$NETNS" link delete "$link" 2>/dev/null || true
    done < <(ip -n "$NETNS" -br link)
    ip netns delete "$NETNS"
  fi
  rm -f "$NETNS_FILE"
  # `ip netns` leaves its folder mounted on itself.
  if [[ -d /run/netns && -z $(ls -A /run/netns) ]]; then
    umount /run/netns 2>/dev/null || true
    rmdir /run/netns 2>/dev/null || true
  fi
}
