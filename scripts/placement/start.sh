# shellcheck shell=bash
# placement, start: runs with its newest configuration.

mapfile -t files < <(param files)
mapfile -t units < <(param units)
ready() { verify; }

units_running "${units[@]}" -- "${files[@]}"
verified 180
