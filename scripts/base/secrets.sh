# shellcheck shell=bash
# base, secrets: the store has what the program brought last, and only root can read it. For checks; the runner itself
# writes the store.

store=$STEP_ETC/secrets.json

if [[ ! -e $store ]]; then
  differs "the store of secrets is missing"
else
  [[ $(sha256sum <"$store") == "$(param digest)  -" ]] || differs "the store of secrets has another content"
  found=$(stat -c '%a %u' "$store")
  [[ $found == "600 $EUID" ]] || differs "the store of secrets has mode ${found% *} and owner ${found#* }, wanted 600 and $EUID"
fi
