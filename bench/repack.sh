#!/bin/bash
# repack.sh NAME: on a host, a package source with the package NAME as it is installed, and beside it an older one.
set -euo pipefail
name=$1
source=/var/lib/bench-packages
root=$(mktemp -d)
trap 'rm -rf "$root"' EXIT

mkdir -p "$root/DEBIAN" "$source/older"
dpkg-query -L "$name" | while read -r file; do
  # Documents were left out of the image.
  [[ ! -e $file && ! -L $file ]] || [[ -d $file && ! -L $file ]] || cp --archive --parents "$file" "$root"
done
dpkg-query -s "$name" | awk '/^(Status|Conffiles):/ { skip = /^Conffiles/; next } skip && /^ / { next } { skip = 0; print }' >"$root/DEBIAN/control"
chmod 755 "$root"
dpkg-deb --build --root-owner-group "$root" "$source/$name.deb" >/dev/null
{
  cat "$root/DEBIAN/control"
  echo "Filename: ./$name.deb"
  echo "Size: $(stat -c %s "$source/$name.deb")"
  echo "SHA256: $(sha256sum "$source/$name.deb" | cut -d' ' -f1)"
} >"$source/Packages"
sed -i 's/^Version: .*/Version: 0~older/' "$root/DEBIAN/control"
dpkg-deb --build --root-owner-group "$root" "$source/older/$name.deb" >/dev/null

list=/etc/apt/sources.list.d/bench.list
echo "deb [trusted=yes] file:$source ./" >"$list"
apt-get update -qq -o Dir::Etc::sourcelist="$list" -o Dir::Etc::sourceparts=-
