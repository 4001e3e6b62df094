# shellcheck shell=bash
# nova-compute, start: libvirt has the key of the volumes' store, and nova-compute runs with its newest configuration.

mapfile -t files < <(param files)
mapfile -t units < <(param units)
ready() { verify; }

libvirt=()
for unit in "${units[@]}"; do [[ $unit == nova-compute.service ]] || libvirt+=("$unit"); done
units_running "${libvirt[@]}" -- /etc/libvirt/qemu.conf

uuid=$(param secret)
key_known() { [[ $(virsh --quiet secret-get-value "$uuid" 2>/dev/null) == "$(secret ceph-cinder)" ]]; }
give_key() {
  printf '<secret ephemeral="no" private="no"><uuid>%s</uuid><usage type="ceph"><name>client.cinder</name></usage></secret>\n' "$uuid" >"$STEP_DIR/secret.xml"
  virsh --quiet secret-define "$STEP_DIR/secret.xml"
  # By a file: an argument would show in the process list.
  virsh --quiet secret-set-value "$uuid" --file "$(secret_file ceph-cinder)"
}
key_known || change "libvirt's key of the store" give_key

units_running nova-compute.service -- "${files[@]}"
verified 180
