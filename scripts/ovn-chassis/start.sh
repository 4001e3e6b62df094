# shellcheck shell=bash
# ovn-chassis, start: Open vSwitch runs with the planned bridges, and OVN's controller is connected.

mapfile -t files < <(param files)
ready() { verify; }
bridge_ready() { has_port "$bridge" "$nic" && ip -4 -oneline address show dev "$bridge" 2>/dev/null | grep -qF " $address "; }

setting() { ovs-vsctl --timeout 10 --if-exists get Open_vSwitch . "$1" 2>/dev/null | tr -d '"'; }

address=$(param bridge_address)
bridge=$(param tunnel_bridge)
nic=$(param tunnel_nic)

# Ports' files: who made the host may have given them addresses that belong on a bridge now.
units_running ovsdb-server.service -- /etc/openvswitch/system-id.conf
if [[ -n $address ]]; then
  # Packets with unfinished checksums: guests send them, and a switch in userspace has to finish them. Read at its start.
  [[ $(setting other_config:userspace-tso-enable) == true ]] ||
    change "checksums in userspace" ovs-vsctl --timeout 10 --no-wait set Open_vSwitch . other_config:userspace-tso-enable=true
fi
units_running openvswitch-switch.service -- /etc/openvswitch/system-id.conf

bridge_up() {
  ovs-vsctl --timeout 20 --may-exist add-br "$1" -- set Bridge "$1" datapath_type="$3" -- \
    --may-exist add-port "$1" "$2" || fail "wanted the bridge $1 with the port $2, found that ovs-vsctl fails; see the log"
  ip link set "$2" up
}
has_port() { [[ $(ovs-vsctl --timeout 10 port-to-br "$2" 2>/dev/null) == "$1" ]]; }

if [[ -n $address ]]; then
  take_address() {
    ovs-vsctl --timeout 20 --may-exist add-br "$bridge" -- set Bridge "$bridge" datapath_type=netdev \
      other_config:hwaddr="\"$(<"/sys/class/net/$nic/address")\"" -- set Interface "$bridge" mtu_request="$(param mtu)"
    ip address flush dev "$nic"
    bridge_up "$bridge" "$nic" netdev
    ip link set "$bridge" up
    networkctl reload
    networkctl reconfigure "$nic" "$bridge"
  }
  mapfile -t networks < <(printf '%s\n' "${files[@]}" | grep '^/etc/systemd/network/')
  now=$(fingerprint "${networks[@]}")
  record=$STEP_STATE/started/systemd-networkd
  if ! bridge_ready; then
    change "bridge $bridge with $nic and $address" take_address
  elif [[ ! -e $record || $(<"$record") != "$now" ]]; then
    change "networkd read its files" networkctl reload
  fi
  checking || remember_start "$record" "$now"
fi
external=$(param external_bridge)
if [[ -n $external ]]; then
  provider=$(param provider_nic)
  datapath=system
  [[ -z $address ]] || datapath=netdev
  has_port "$external" "$provider" || change "bridge $external with $provider" bridge_up "$external" "$provider" "$datapath"
fi

external_ids() {
  local each=$1
  if [[ -n ${each#*=} ]]; then
    ovs-vsctl --timeout 10 set Open_vSwitch . "external_ids:${each%%=*}=\"${each#*=}\""
  else
    ovs-vsctl --timeout 10 remove Open_vSwitch . external_ids "${each%%=*}"
  fi
}
mapfile -t ids < <(param external_ids)
for each in "${ids[@]}"; do
  [[ $(setting "external_ids:${each%%=*}") == "${each#*=}" ]] || change "${each%%=*}" external_ids "$each"
done
# os-vif plugs guests' ports through the network, also where it is on the same host.
[[ $(ovs-vsctl --timeout 10 get-manager) == *ptcp:6640:127.0.0.1* ]] || change "manager on 127.0.0.1" ovs-vsctl --timeout 10 set-manager ptcp:6640:127.0.0.1

units_running ovn-controller.service ovn-host.service -- "${files[@]}"
verified 120
