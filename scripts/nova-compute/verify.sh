# shellcheck shell=bash
# nova-compute, verify: its units run, and Nova, asked with its own account, counts the service as up and knows the host.

verify() {
  local units state
  mapfile -t units < <(param units)
  units_active "${units[@]}" || return 1
  keystone_token "$(param identity)" nova nova service || return 1
  state=$(api "$(param compute)/os-services?binary=nova-compute&host=$STEP_HOST" | jq -r '.services[0].state // "unknown to it"') || true
  [[ $state == up ]] || {
    echo "Nova counts $STEP_HOST as ${state:-nothing: its API does not answer}"
    return 1
  }
  state=$(api "$(param compute)/os-hypervisors?hypervisor_hostname_pattern=$STEP_HOST" | jq -r '.hypervisors[0].state // "absent"') || true
  [[ $state == up ]] || {
    echo "Nova has not mapped $STEP_HOST to a cell yet"
    return 1
  }
}
