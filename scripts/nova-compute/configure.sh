# shellcheck shell=bash
# nova-compute, configure: the account that guests move through is let in with the key of the other compute hosts.

keys=/var/lib/nova/.ssh/authorized_keys
wanted="restrict $(ssh-keygen -y -f "$(secret_file ssh-nova)" </dev/null | cut -d' ' -f1,2)"

write_keys() {
  printf '%s\n' "$wanted" >"$keys.new"
  chown nova:nova "$keys.new"
  chmod 600 "$keys.new"
  mv "$keys.new" "$keys"
}

[[ -e $keys && $(<"$keys") == "$wanted" ]] || change "key of the other compute hosts" write_keys
# A shell, for libvirt's own command is what it runs.
[[ $(getent passwd nova) != *nologin && $(getent passwd nova) != */false ]] || change "shell of nova" usermod --shell /bin/sh nova
