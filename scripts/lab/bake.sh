#!/usr/bin/env bash
# Bakes one layer: bake.sh BUILD BASE RUNNER STEPS. Runs in a mount and a process namespace of its own (image.sh).
set -euo pipefail
build=$1 base=$2 runner=$3 steps=$4 root=$1/root

stage() { printf '## %s\n' "$*"; }

stage 'mounts'
mount --make-rprivate /
# volatile: no fsync while baking; a bake that dies is thrown away as a whole.
mount -t overlay overlay -o "lowerdir=$base,upperdir=$build/layer,workdir=$build/work,volatile" "$root"
mount -t proc proc "$root/proc"
mount -t sysfs -o ro sysfs "$root/sys"
mount -t tmpfs -o mode=755 tmpfs "$root/dev"
for dev in null zero full random urandom tty; do
  : >"$root/dev/$dev"
  mount --bind "/dev/$dev" "$root/dev/$dev"
done
mkdir "$root/dev/pts" "$root/dev/shm"
mount -t devpts -o newinstance,ptmxmode=666,mode=620,gid=5 devpts "$root/dev/pts"
mount -t tmpfs tmpfs "$root/dev/shm"
ln -s pts/ptmx "$root/dev/ptmx"
ln -s /proc/self/fd "$root/dev/fd"
mount -t tmpfs -o mode=755 tmpfs "$root/run"
mkdir -m 1777 "$root/run/lock"
mount --bind /etc/resolv.conf "$root/etc/resolv.conf"
mount --bind /etc/hosts "$root/etc/hosts"
mkdir -p "$root/var/cache/apt/archives" "$root/var/lib/apt/lists"
mount --bind "$build/archives" "$root/var/cache/apt/archives"
mount --bind "$build/lists" "$root/var/lib/apt/lists"

in_root() {
  chroot "$root" env -i PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LC_ALL=C.UTF-8 \
    DEBIAN_FRONTEND=noninteractive "$@"
}

# Nothing may start while baking; and apt shall speak to the machine's mirror, through the machine's proxy.
printf '#!/bin/sh\nexit 101\n' >"$root/usr/sbin/policy-rc.d"
chmod 755 "$root/usr/sbin/policy-rc.d"
cmp -s "$build/sources.list" "$root/etc/apt/sources.list" || cp "$build/sources.list" "$root/etc/apt/sources.list"
cp "$build/proxy.conf" "$root/etc/apt/apt.conf.d/00bake"
[[ -s $build/install ]] || install -D -m 755 "$build/runner" "$root$runner"

stage 'apt-get update'
in_root apt-get update -q
[[ ! -s $build/install ]] || in_root sh -s <"$build/install"
for ((i = 0; i < steps; i++)); do
  stage "step $(<"$build/steps/$i.name")"
  start=$SECONDS
  in_root "$runner" --bake <"$build/steps/$i"
  echo "$(<"$build/steps/$i.name"): $((SECONDS - start)) s"
done

stage 'units off'
# Again for units that a package enabled without asking the presets.
in_root systemctl --quiet preset-all
in_root systemctl --quiet set-default multi-user.target
for link in "$root"/etc/rc[2345S].d/S*; do
  [[ ! -L $link ]] || { name=${link##*/} && mv -fT "$link" "${link%/*}/K${name#S}"; }
done

stage 'cleaning'
# Done by the bake, so that no boot does it again: the linker's cache and the like.
in_root ldconfig
touch "$root/etc/.updated" "$root/var/.updated"
rm -f "$root/usr/sbin/policy-rc.d" "$root/etc/apt/apt.conf.d/00bake" "$root"/var/cache/apt/*.bin
rm -f "$root"/etc/ssh/ssh_host_*_key "$root"/etc/ssh/ssh_host_*_key.pub
find "$root/var/log" -type f -exec truncate -s 0 {} +
: >"$root/etc/machine-id"
stage 'writing to disk'
umount -R "$root"
sync -f "$build"
