# shellcheck shell=sh
# A new host has booted and cloud-init has ended; its file system takes what room its disk has. Run there by sh, which
# gets this on its standard input. The first line, with the plan's size, is put before it: a new size runs it again.
set -eu

if command -v cloud-init >/dev/null; then
  # 2: done, with complaints that it could live with.
  cloud-init status --wait >/dev/null || [ $? -eq 2 ] || {
    echo "wanted cloud-init to set up $(hostname), found: $(cloud-init status --long | tail -n 3 | paste -sd ' '); see /var/log/cloud-init.log there" >&2
    exit 1
  }
fi

device=$(findmnt -no SOURCE /)
part=$(cat "/sys/class/block/${device##*/}/partition")
disk=$(lsblk -no PKNAME "$device")
# 1: there is nothing to grow into.
if grown=$(growpart "/dev/$disk" "$part" 2>&1); then
  case $(findmnt -no FSTYPE /) in
    ext4) resize2fs "$device" >/dev/null 2>&1 ;;
    xfs) xfs_growfs / >/dev/null ;;
  esac
  echo "updated: / has $(df -h --output=size / | tail -n 1 | tr -d ' ')"
else
  case $grown in
    NOCHANGE*) echo unchanged ;;
    *)
      echo "wanted the root partition of $(hostname) to fill its disk, found: $grown" >&2
      exit 1
      ;;
  esac
fi
