#!/bin/sh
# mmdebstrap hooks of the base root: base-hook.sh setup|customize ROOT
set -eu
root=$2
etc=$root/etc

case $1 in
  setup)
    # Debian enables every service at install; a host full of them crash-loops at boot. Packages ask the presets.
    mkdir -p "$etc/systemd/system-preset"
    {
      for unit in $ALLOWED_UNITS; do echo "enable $unit"; done
      echo 'disable *'
    } >"$etc/systemd/system-preset/00-openstack-ha.preset"
    mkdir -p "$root/usr/sbin"
    printf '#!/bin/sh\nexit 101\n' >"$root/usr/sbin/policy-rc.d"
    chmod 755 "$root/usr/sbin/policy-rc.d"
    ;;
  customize)
    rm -f "$root/usr/sbin/policy-rc.d"
    # Units of the first packages were enabled before there was a systemctl to read the presets.
    systemctl --root="$root" --quiet preset-all
    # What a container has no use for: terminals, logins, hardware, and sshd's keys (each host gets its own).
    systemctl --root="$root" --quiet mask getty.target console-getty.service getty@.service systemd-logind.service \
      systemd-networkd-wait-online.service systemd-resolved.service systemd-timesyncd.service systemd-pstore.service \
      systemd-udevd.service systemd-udev-trigger.service systemd-update-utmp.service ssh.socket sshd-keygen.service \
      dev-hugepages.mount sys-kernel-debug.mount sys-kernel-tracing.mount
    # Links of init scripts count for services without a unit of their own; see bake.sh.
    for link in "$etc"/rc[2345S].d/S*; do
      name=${link##*/}
      mv -fT "$link" "${link%/*}/K${name#S}"
    done
    rm -f "$etc"/ssh/ssh_host_*_key "$etc"/ssh/ssh_host_*_key.pub "$etc/hostname" "$etc/resolv.conf"
    # No name server in the lab: a look-up fails at once at 127.0.0.1 instead of timing out.
    echo 'options timeout:1 attempts:1' >"$etc/resolv.conf"
    echo 'LANG=C.UTF-8' >"$etc/default/locale"
    : >"$etc/machine-id"
    rm -rf "$root"/var/lib/apt/lists/* "$root"/var/cache/apt/*.bin "$root"/var/log/*.log "$root"/var/log/apt
    ;;
esac
