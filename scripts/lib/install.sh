#!/bin/sh
# Put the step runner on a host. Reads nothing: the program appends the runner's files to this script as here-documents
# (see components/hosts/base.ts), so that a host needs a shell and no more. Safe to repeat; says what it changed.
set -eu
changed=

want_packages() {
  missing=
  for package in "$@"; do
    dpkg-query -W -f '${db:Status-Abbrev}' "$package" 2>/dev/null | grep -q '^.i ' || missing="$missing $package"
  done
  [ -z "$missing" ] && return 0
  # shellcheck disable=SC2086 # a list of package names
  DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends -o DPkg::Lock::Timeout=300 $missing >&2 || {
    echo "wanted$missing on $(hostname), found that apt-get cannot install them; can this host reach its package source?" >&2
    exit 1
  }
  changed="$changed$missing"
}

# install_file MODE PATH: standard input becomes the file, at once or not at all.
install_file() {
  mkdir -p "${2%/*}"
  cat >"$2.new"
  chmod "$1" "$2.new"
  if cmp -s "$2.new" "$2" && [ "$(stat -c %a "$2")" = "$1" ]; then
    rm "$2.new"
  else
    mv "$2.new" "$2"
    changed="$changed ${2##*/}"
  fi
}

finish() {
  if [ -n "$changed" ]; then echo "changed:$changed"; else echo unchanged; fi
}
