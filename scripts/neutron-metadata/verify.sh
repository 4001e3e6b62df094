# shellcheck shell=bash
# neutron-metadata, verify: the agent runs and is connected to the southbound database.

verify() {
  local units pid
  mapfile -t units < <(param units)
  units_active "${units[@]}" || return 1
  pid=$(systemctl show --property MainPID --value "${units[0]}")
  # It and its workers: whichever holds the connection.
  ss --no-header --tcp --processes state established '( dport = :6642 )' | grep -qE "pid=($(pgrep --parent "$pid" | tr '\n' '|')$pid)," || {
    echo "the metadata agent is not connected to OVN's southbound database"
    return 1
  }
}
