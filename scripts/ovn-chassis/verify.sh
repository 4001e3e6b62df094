# shellcheck shell=bash
# ovn-chassis, verify: the switch and OVN's controller run, it is connected, and the planned ports are up.

verify() {
  local state address nic
  units_active ovsdb-server.service ovs-vswitchd.service ovn-controller.service || return 1
  state=$(timeout 10 ovn-appctl -t ovn-controller connection-status 2>/dev/null) || true
  [[ $state == connected ]] || {
    echo "OVN's controller on $STEP_HOST is ${state:-silent}: wanted it connected to the southbound database"
    return 1
  }
  address=$(param bridge_address)
  [[ -z $address ]] || ip -4 -oneline address show dev "$(param tunnel_bridge)" 2>/dev/null | grep -qF " $address " || {
    echo "the tunnels' address $address is not on $(param tunnel_bridge)"
    return 1
  }
  [[ -n $(param external_bridge) ]] || return 0
  nic=$(ovs-vsctl --timeout 10 list-ports "$(param external_bridge)" 2>/dev/null | grep -v '^patch-') || true
  [[ -n $nic && $(ip -oneline link show dev "$nic" 2>/dev/null) == *[\<,]UP[,\>]* ]] || {
    echo "${nic:-no port} of $(param external_bridge) is up: wanted the one to the external network"
    return 1
  }
  echo gateway
}
