# shellcheck shell=bash
# ovn, start: its databases and northd run with their newest configuration, one member restarting at a time.

mapfile -t files < <(param files)
mapfile -t units < <(param units)
healthy() { verify; }
ready() { verify; }

# A member whose cluster has no leader yet waits for it, and northd for both.
units_running "${units[@]}" ovn-central.service -- "${files[@]}"
verified 180
