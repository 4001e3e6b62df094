# shellcheck shell=bash
# ceph-client, verify: the store's monitors and disks answer to this host, with the key that volumes are used with.

verify() {
  local keyring=$STEP_DIR/ceph.keyring
  printf '[client.cinder]\n\tkey = %s\n' "$(secret ceph-cinder)" >"$keyring"
  timeout 20 rbd --id cinder --keyring "$keyring" --pool volumes ls >/dev/null 2>&1 || {
    echo "the store does not answer to $STEP_HOST within 20 s"
    return 1
  }
}
