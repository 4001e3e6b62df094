# shellcheck shell=bash
# nova, verify: its units run, its APIs answer on this host, and the database has heard of its workers lately.

verify() {
  local units urls url
  mapfile -t units < <(param units)
  units_active "${units[@]}" || return 1
  mapfile -t urls < <(param urls)
  for url in "${urls[@]}"; do answers "$url" || return 1; done
  seen_lately nova "SELECT \`binary\`, TIMESTAMPDIFF(SECOND, last_seen_up, UTC_TIMESTAMP()) FROM services
    WHERE deleted = 0 AND host = '$STEP_HOST'" "$(param down)" nova-conductor nova-scheduler
}
