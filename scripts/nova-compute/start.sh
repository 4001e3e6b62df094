# shellcheck shell=bash disable=SC2154
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

# A host that began anew is still the same to Nova, which does not start where it has lost its identity.
identity=/var/lib/nova/compute_id
keep_identity() {
  printf '%s\n' "$1" >"$identity.new"
  chown nova:nova "$identity.new"
  mv "$identity.new" "$identity"
}
checking || wait_for 60 "a token to ask Nova with" nova_api
if [[ ! -e $identity ]] && nova_api >/dev/null; then
  read -r _ former < <(hypervisor) || true
  [[ -z $former ]] || change "identity of before" keep_identity "$former"
fi

units_running nova-compute.service -- "${files[@]}"

# What draining has set. What a person has set stays.
back_in_service() {
  curl --silent --fail --max-time 60 --config "$STEP_DIR/token" --request PUT --header 'Content-Type: application/json' \
    --data '{"status": "enabled", "forced_down": false}' --output /dev/null "$compute/os-services/$1" ||
    fail "wanted Nova to give guests to $STEP_HOST again, found that it does not; see \`openstack compute service list\`"
}
known=
! nova_api >/dev/null || known=$(record) || true
if [[ -n $known && $(jq -r .disabled_reason <<<"$known") == "$(param reason)" ]]; then
  change "in service again" back_in_service "$(jq -r .id <<<"$known")"
fi
verified 180
