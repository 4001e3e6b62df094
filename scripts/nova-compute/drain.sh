# shellcheck shell=bash disable=SC2154
# nova-compute, start, of a host that is to be drained: no new guest comes, those that are here move to other hosts, and then
# what serves guests stops. Those that run move while they run, one after the other. Those that are off are taken over by
# another host when nova-compute has stopped here: their disks are in the store. What cannot move is told before anything moves.

mapfile -t units < <(param units)
reason=$(param reason)

# send METHOD PATH JSON: fails with Nova's own words.
send() {
  local answer
  answer=$(curl --silent --max-time 60 --config "$STEP_DIR/token" --request "$1" --header 'Content-Type: application/json' \
    --data "$3" --write-out '\n%{http_code}' "$compute/$2") || true
  [[ ${answer##*$'\n'} == 2?? ]] || {
    jq -r 'to_entries[0].value.message // empty' <<<"${answer%$'\n'*}" 2>/dev/null || true
    echo "HTTP ${answer##*$'\n'}"
    return 1
  }
}

# update JSON: of Nova's record of this host.
update() {
  local said
  said=$(send PUT "os-services/$(record | jq -r .id)" "$1") ||
    fail "wanted Nova to take no more guests for $STEP_HOST, found: ${said//$'\n'/ }"
}
out_of_service() { update "$(jq -nc --arg reason "$reason" '{status: "disabled", disabled_reason: $reason}')"; }

# settled GUEST: it is on another host, or gone, and nova-compute here has told all whom that concerns; or Nova has given up moving
# it. One that was off is shortly without a task before it gets its new host.
settled() {
  local here status
  here=$(guests) || {
    echo "Nova's API does not answer"
    return 1
  }
  here=$(grep "^$1" <<<"$here") || true
  [[ -z $here || $here == *$'\t'none ]] || {
    echo "it is ${here#*$'\t'}" | tr '\t' ' '
    return 1
  }
  status=$(api "$compute/os-migrations?instance_uuid=$1" | jq -r '.migrations | sort_by(.id) | last | .status // "unknown"') || true
  case $status in
    cancelled | error | failed) return 0 ;;
    completed | done | unknown) [[ -n $here ]] || return 0 ;;
  esac
  echo "its migration is ${status:-not told by Nova}"
  return 1
}

# move GUEST ACTION: and wait until it is elsewhere.
move() {
  local said
  # A token does not outlive many guests.
  nova_api || fail "wanted a token of Keystone to move guest $1, found none; run \`pulumi up\` again"
  said=$(send POST "servers/$1/action" "$2") ||
    fail "wanted guest $1 on another host, found that Nova does not move it: ${said//$'\n'/ }"
  wait_for "$(param guest_seconds)" "guest $1 on another host" settled "$1"
  ! guests | grep -q "^$1" ||
    fail "wanted guest $1 on another host, found it still on $STEP_HOST; is there room elsewhere? See \`openstack server migration list --server $1\` and nova-compute.log, then run \`pulumi up\` again"
}

of_status() { grep -E "^[^"$'\t'"]*"$'\t'"($1)"$'\t' <<<"$left" | cut -f1 || true; }

stop_units() {
  systemctl disable --quiet --now "$@" || fail "wanted $* stopped, found: $(unit_problem "$1")"
}

# stopped UNIT...: each of them that runs, or would at the host's next start.
stopped() {
  local unit running=()
  for unit in "$@"; do
    if systemctl is-active --quiet "$unit" || systemctl is-enabled --quiet "$unit" 2>/dev/null; then running+=("$unit"); fi
  done
  ((${#running[@]} == 0)) || change "stopped ${running[*]}" stop_units "${running[@]}"
}

nova_api >"$STEP_DIR/said" || fail "wanted Nova asked for the guests of $STEP_HOST, found: $(<"$STEP_DIR/said")"
{ known=$(record) && left=$(guests); } || fail "wanted Nova asked for the guests of $STEP_HOST, found that its API does not answer"

stuck=$(grep -vE $'\t(ACTIVE|PAUSED|SHUTOFF|ERROR)\tnone$' <<<"$left" | head -n 5 | tr '\t' ' ' | paste -sd ',' || true)
[[ -z $stuck ]] || fail "wanted guests of $STEP_HOST that can move, found $stuck; resume, unrescue, confirm or remove them, or wait for what is done to them"

# Somebody else's reason stays where the service is off already.
[[ -z $known || $(jq -r .status <<<"$known") == disabled ]] || change "no new guests" out_of_service
mapfile -t running < <(of_status 'ACTIVE|PAUSED')
if ((${#running[@]})); then
  move_running() {
    local guest
    for guest in "${running[@]}"; do move "$guest" '{"os-migrateLive": {"host": null, "block_migration": "auto"}}'; done
  }
  change "moved ${#running[@]} running guests" move_running
fi

stopped nova-compute.service
mapfile -t off < <(of_status 'SHUTOFF|ERROR')
if ((${#off[@]})); then
  take_over() {
    local guest
    # Nova would notice by itself, later.
    update '{"forced_down": true}'
    for guest in "${off[@]}"; do move "$guest" '{"evacuate": {}}'; done
  }
  change "gave ${#off[@]} guests that are off to other hosts" take_over
fi
# OVN's controller takes its host out of the southbound database when it is stopped like this.
stopped "${units[@]}"
verified 60
