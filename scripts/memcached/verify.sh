# shellcheck shell=bash
# memcached, verify: it answers on the address that its clients use.

verify() {
  local found
  found=$(printf 'version\r\nquit\r\n' | socat -t 2 -T 2 - "TCP:$(param address):11211,connect-timeout=2" 2>&1) || true
  [[ $found == VERSION* ]] || {
    echo "memcached does not answer on $(param address):11211 (${found:-nothing})"
    return 1
  }
}
