# shellcheck shell=bash
# nova-compute, verify: its units run, and Nova, asked with its own account, counts the service as up and knows the host. Of a
# host that is to be drained: nothing of it runs, no guest is left on it, and none comes.

compute=$(param compute)

# nova_api: a token for the functions below, whose answers have the form of Nova's release Pike (2.53).
nova_api() {
  keystone_token "$(param identity)" nova nova service || return 1
  printf 'header = "X-OpenStack-Nova-API-Version: 2.53"\n' >>"$STEP_DIR/token"
}

# record: what Nova has of this host's service; nothing where it has none.
record() { api "$compute/os-services?binary=nova-compute&host=$STEP_HOST" | jq -c '.services[0] // empty'; }

# hypervisor: state and identity of this host as Nova knows it; nothing where it does not. Others' names may begin with its own.
hypervisor() {
  api "$compute/os-hypervisors/detail?hypervisor_hostname_pattern=$STEP_HOST" |
    jq -r --arg host "$STEP_HOST" '.hypervisors[] | select(.service.host == $host) | "\(.state) \(.id)"' | head -n 1
}

# guests: identity, status and task of each guest on this host.
guests() {
  api "$compute/servers/detail?all_tenants=1&host=$STEP_HOST" |
    jq -r '.servers[] | [.id, .status, ."OS-EXT-STS:task_state" // "none"] | @tsv'
}

in_service() {
  local units state provider
  mapfile -t units < <(param units)
  units_active "${units[@]}" || return 1
  state=$(record | jq -r .state) || true
  [[ $state == up ]] || {
    echo "Nova counts $STEP_HOST as ${state:-nothing: its API does not answer, or does not know it}"
    return 1
  }
  read -r state provider < <(hypervisor) || true
  [[ $state == up ]] || {
    echo "Nova has not mapped $STEP_HOST to a cell yet"
    return 1
  }
  state=$(api "$(param placement)/resource_providers?uuid=$provider" | jq -r '.resource_providers | length') || true
  [[ $state == 1 ]] || {
    echo "Placement does not know $STEP_HOST as $provider, so that it gets no guests; another of its name may be left: see nova-compute.log"
    return 1
  }
}

drained() {
  local units unit left state
  mapfile -t units < <(param units)
  for unit in "${units[@]}"; do
    ! systemctl is-active --quiet "$unit" || {
      echo "$unit runs on $STEP_HOST, which is to be drained"
      return 1
    }
  done
  { state=$(record) && left=$(guests); } || {
    echo "Nova's API does not answer"
    return 1
  }
  # It may never have been known to Nova.
  [[ -z $state || $(jq -r .status <<<"$state") == disabled ]] || {
    echo "Nova gives guests to $STEP_HOST, which is to be drained"
    return 1
  }
  [[ -z $left ]] || {
    echo "$(wc -l <<<"$left") guests are left on $STEP_HOST, which is to be drained"
    return 1
  }
  echo drained
}

verify() {
  nova_api || return 1
  if [[ $(param state) == drained ]]; then drained; else in_service; fi
}
