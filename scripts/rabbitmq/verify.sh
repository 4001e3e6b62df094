# shellcheck shell=bash
# rabbitmq, verify: the node runs in one cluster with a majority of the members, and knows of no partition and no alarm.

verify() {
  local status
  status=$(timeout 20 rabbitmqctl --quiet --formatter json cluster_status 2>/dev/null) || {
    echo "RabbitMQ does not answer on $STEP_HOST"
    return 1
  }
  local problems members
  members=$(jq -c .members "$STEP_DIR/params.json")
  problems=$(jq -r --argjson members "$members" '
    ($members | map("rabbit@" + .)) as $wanted
    | ($wanted - .running_nodes) as $missing
    | [ (if ($missing | length) * 2 >= ($wanted | length) then "not running: " + ($missing | join(", ")) else empty end),
        (if (.partitions | length) > 0 then "partitions are known" else empty end),
        (if (.alarms | length) > 0 then "alarms are raised" else empty end) ]
    | join("; ")' <<<"$status")
  [[ -z $problems ]] || {
    echo "RabbitMQ: $problems"
    return 1
  }
  jq -r --argjson members "$members" \
    '"\(.running_nodes | length) of \($members | length) nodes"' <<<"$status"
}
