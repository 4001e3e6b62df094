#!/bin/sh
# mmdebstrap hooks of the image: hook.sh setup|customize ROOT
set -eu
here=$(dirname "$0")
root=$2

case $1 in
  setup)
    mkdir -p "$root/usr/sbin"
    printf '#!/bin/sh\nexit 101\n' >"$root/usr/sbin/policy-rc.d"
    chmod 755 "$root/usr/sbin/policy-rc.d"
    ;;
  customize)
    rm -f "$root/usr/sbin/policy-rc.d"
    (cd "$here/root" && find . -type f) | while read -r file; do
      install -D -m 644 "$here/root/$file" "$root/$file"
    done
    # shellcheck disable=SC2086 # A list of names.
    chroot "$root" grub-mkimage -O i386-pc -c /boot/grub/early.cfg -p /boot/grub -o /boot/grub/core.img $GRUB_MODULES
    # Updates are the operator's, not a timer's that holds dpkg's lock while a step wants it.
    systemctl --root="$root" --quiet mask apt-daily.timer apt-daily-upgrade.timer
    systemctl --root="$root" --quiet enable systemd-networkd.service
    # Each host is given its own.
    rm -f "$root"/etc/ssh/ssh_host_*_key "$root"/etc/ssh/ssh_host_*_key.pub "$root/etc/hostname" "$root/etc/resolv.conf"
    : >"$root/etc/machine-id"
    rm -rf "$root"/var/lib/apt/lists/* "$root"/var/cache/apt/*.bin "$root"/var/cache/apt/archives/*.deb \
      "$root"/var/log/*.log "$root"/var/log/apt
    ;;
esac
