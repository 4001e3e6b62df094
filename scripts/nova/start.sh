# shellcheck shell=bash
# nova, start: runs with its newest configuration, and knows no compute host that the plan does not have.

mapfile -t files < <(param files)
mapfile -t units < <(param units)
ready() { verify; }

units_running "${units[@]}" -- "${files[@]}"
verified 180

compute=$(param compute)
network=$(param network)
# strangers: name, identity, status and state of each compute host that is Nova's and not the plan's.
strangers() {
  api "$compute/os-services?binary=nova-compute" |
    jq -r --argjson planned "$(jq -c .computes "$STEP_DIR/params.json")" '.services[] |
      select(.host as $host | $planned | index($host) | not) | [.host, .id, .status, .state] | @tsv'
}

# remove URL: whatever it stands for.
remove() { curl --silent --fail --max-time 60 --config "$STEP_DIR/token" --request DELETE --output /dev/null "$1"; }

# forget NAME IDENTITY STATUS STATE: with what other services have of it. Not while anything depends on it.
forget() {
  local left provider agents agent
  left=$(api "$compute/servers/detail?all_tenants=1&host=$1" | jq '.servers | length') ||
    fail "wanted to know whether guests are left on $1, found that Nova's API does not answer; run \`pulumi up\` again"
  ((left == 0)) ||
    fail "wanted $1 drained before it leaves the list of hosts, found $left guests on it; put it back with state: drained, run \`pulumi up\`, then take it out"
  [[ $3 == disabled || $4 == down ]] ||
    fail "wanted $1 drained before it leaves the list of hosts, found it in service; put it back with state: drained, run \`pulumi up\`, then take it out"
  # What a move that was not ended left in Placement: it would keep its record of the host, and its name from who comes later.
  provider=$(api "$compute/os-hypervisors/detail?hypervisor_hostname_pattern=$1" | jq -r --arg host "$1" '[.hypervisors[] | select(.service.host == $host) | .id][0] // empty') ||
    provider=
  [[ -z $provider ]] || as nova nova-manage placement audit --delete --resource_provider "$provider" </dev/null || (($? == 4)) ||
    fail "wanted Placement without allocations on $1, found that nova-manage placement audit fails; see the log"
  # Placement's and the cell's record of it go with it.
  remove "$compute/os-services/$2" ||
    fail "wanted Nova to forget $1, found that it does not; see \`openstack compute service delete $2\`"
  # One that was stopped in order has taken itself out.
  ovn-sbctl --timeout 30 --db "$(param southbound)" --if-exists chassis-del "$1" -- --if-exists destroy Chassis_Private "$1" ||
    fail "wanted OVN to forget the chassis $1, found that ovn-sbctl fails; see the log"
  # Neutron's workers remember its agents until they are told.
  agents=$(api "$network/v2.0/agents?host=$1&fields=id" | jq -r '.agents[].id') ||
    fail "wanted to know the agents of $1, found that Neutron's API does not answer; run \`pulumi up\` again"
  for agent in $agents; do
    remove "$network/v2.0/agents/$agent" ||
      fail "wanted Neutron to forget the agent $agent of $1, found that it does not; see \`openstack network agent delete $agent\`"
  done
}

forget_strangers() {
  local name id status state
  # Read under the lock: another controller may have done it a moment ago.
  while IFS=$'\t' read -r name id status state; do
    change "forgot compute host $name" forget "$name" "$id" "$status" "$state"
  done < <(strangers)
}

# The step may have nothing to do but this, and the service be well without it.
if keystone_token "$(param identity)" nova nova service >"$STEP_DIR/said"; then
  printf 'header = "X-OpenStack-Nova-API-Version: 2.53"\n' >>"$STEP_DIR/token"
  if checking; then
    forget_strangers
  elif [[ -n $(strangers) ]]; then
    alone_in_cluster nova-hosts forget_strangers
  fi
elif ! checking; then
  fail "wanted Nova asked for its compute hosts, found: $(<"$STEP_DIR/said")"
fi
