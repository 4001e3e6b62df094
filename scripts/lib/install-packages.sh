# shellcheck shell=bash disable=SC2154
# install, of every service: its packages are there and none of its units starts unless the plan says so.

mapfile -t packages < <(param packages)
mapfile -t units < <(param units)
if packages_installed "${packages[@]}" && ! baking; then
  # Only now: later, an enabled unit is one that its start step has enabled.
  units_disabled "${units[@]}"
fi

mapfile -t masked < <(param masked)
for unit in "${masked[@]}"; do
  [[ $(readlink "/etc/systemd/system/$unit") == /dev/null ]] || change "masked $unit" systemctl mask --quiet "$unit"
done

baking || {
  mapfile -t disabled < <(param disabled)
  units_disabled "${disabled[@]}"
}
