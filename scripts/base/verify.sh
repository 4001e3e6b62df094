# shellcheck shell=bash
# base, verify: the host has finished booting, and no unit of it failed.

verify() {
  local failed
  failed=$(systemctl list-units --failed --plain --no-legend 2>/dev/null | awk '{ print $1 }' | paste -sd ' ')
  [[ -z $failed ]] || {
    echo "failed units: $failed"
    return 1
  }
  echo "up $(($(ps -o etimes= -p 1) / 60)) min"
}
