# shellcheck shell=bash disable=SC2154
# install, of every service: its packages are there and none of its units starts by itself.

mapfile -t packages < <(param packages)
packages_installed "${packages[@]}"

baking || {
  mapfile -t units < <(param disabled)
  units_disabled "${units[@]}"
}
