# shellcheck shell=bash
# cinder, verify: its units run, its API answers on this host, and the database has heard of its workers lately.

verify() {
  local units
  mapfile -t units < <(param units)
  units_active "${units[@]}" && answers "$(param url)" || return 1
  seen_lately cinder "SELECT \`binary\`, TIMESTAMPDIFF(SECOND, updated_at, UTC_TIMESTAMP()) FROM services
    WHERE deleted = 0 AND host IN ('$STEP_HOST', '$STEP_HOST@$(param backend)')" "$(param down)" cinder-scheduler cinder-volume
}
