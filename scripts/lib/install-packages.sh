# shellcheck shell=bash disable=SC2154
# install, of every service: its packages are there and none of its units starts unless the plan says so.

mapfile -t packages < <(param packages)
mapfile -t units < <(param units)
enabled=" "
baking || for unit in "${units[@]}"; do
  ! systemctl is-enabled --quiet "$unit" 2>/dev/null || enabled+="$unit "
done
if packages_installed "${packages[@]}" && ! baking && ! checking; then
  for unit in "${units[@]}"; do
    # Only now, and not those that a start step had enabled before.
    [[ $enabled == *" $unit "* ]] || units_disabled "$unit"
    # What runs is of another version: the start step starts it anew.
    rm -f "$STEP_STATE/started/$unit"
  done
fi

mapfile -t masked < <(param masked)
for unit in "${masked[@]}"; do
  [[ $(readlink "/etc/systemd/system/$unit") == /dev/null ]] || change "masked $unit" systemctl mask --quiet "$unit"
done

baking || {
  mapfile -t disabled < <(param disabled)
  units_disabled "${disabled[@]}"
}
