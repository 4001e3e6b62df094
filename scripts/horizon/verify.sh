# shellcheck shell=bash
# horizon, verify: Apache runs, and shows the login page to those who ask for the public address.

verify() {
  local units
  mapfile -t units < <(param units)
  units_active "${units[@]}" && answers "$(param url)" "Host: $(param host)"
}
