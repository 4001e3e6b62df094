# shellcheck shell=bash
# placement, verify: its units run and its API answers on this host.

verify() {
  local units
  mapfile -t units < <(param units)
  units_active "${units[@]}" && answers "$(param url)"
}
