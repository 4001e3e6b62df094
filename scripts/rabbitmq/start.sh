# shellcheck shell=bash
# rabbitmq, start: the node runs with its newest configuration in one cluster with all others, and OpenStack's account
# has its password.

healthy() { verify; }
ready() { verify; }

# On a host that began anew. The others still know the node of before; they would not let one of its name join that knows
# nothing of them, and it would found a cluster of its own.
data=/var/lib/rabbitmq/mnesia
me=rabbit@$STEP_HOST
began_anew() { [[ -z $(find "$data" -mindepth 1 -print -quit 2>/dev/null) ]]; }
others() { param members | grep -vxF "$STEP_HOST"; }
accepts() { timeout 2 bash -c ">/dev/tcp/$1/5672" 2>/dev/null; }
# former_known HOST: it knows this host's node, and as one that does not run.
former_known() {
  timeout 30 rabbitmqctl --quiet --node "rabbit@$1" --formatter json cluster_status 2>/dev/null </dev/null |
    jq -e --arg me "$me" '(.disk_nodes | index($me)) and (.running_nodes | index($me) | not)' >/dev/null
}
# Queues are without their copy here from now on, too.
forget_former() {
  timeout 120 rabbitmqctl --quiet --node "rabbit@$1" forget_cluster_node "$me" </dev/null >/dev/null ||
    fail "wanted $1 to forget the former node of $STEP_HOST, found that rabbitmqctl forget_cluster_node fails; see the log"
}
# RabbitMQ's tools start a port mapper of their own where none runs, and then the one of the service cannot.
port_mapper() { systemctl is-active --quiet epmd.socket || { ! checking && systemctl start epmd.socket; }; }
if began_anew && port_mapper; then
  while IFS= read -r other; do
    if accepts "$other" && former_known "$other"; then
      change "$other forgot the node of before" forget_former "$other"
      break
    fi
  done < <(others)
fi

# With a majority: one of them may be down while another is changed.
unit_running rabbitmq-server.service /etc/rabbitmq/rabbitmq.conf /etc/rabbitmq/rabbitmq-env.conf /var/lib/rabbitmq/.erlang.cookie
verified 120

# What the broker keeps is a salted hash: of SHA-256, behind the four bytes of its salt, all in base64.
password_tool() {
  python3 -c '
import base64, hashlib, json, os, sys
mode, path = sys.argv[1:]
password = open(path, "rb").read()
permission = {"user": "openstack", "vhost": "/", "configure": ".*", "write": ".*", "read": ".*"}
def hashed(salt):
    return base64.b64encode(salt + hashlib.sha256(salt + password).digest()).decode()
if mode == "matches":
    present = json.load(sys.stdin)
    user = {each["name"]: each for each in present["users"]}.get("openstack", {})
    known = user.get("password_hash", "")
    may = "administrator" in user.get("tags", "") and permission in present["permissions"]
    sys.exit(0 if may and known and hashed(base64.b64decode(known)[:4]) == known else 1)
user = {"name": "openstack", "password_hash": hashed(os.urandom(4)), "tags": ["administrator"],
        "hashing_algorithm": "rabbit_password_hashing_sha256"}
json.dump({"users": [user], "permissions": [permission]}, sys.stdout)
' "$1" "$(secret_file rabbitmq-openstack)"
}

definitions=$STEP_DIR/definitions.json
rabbitmqctl --quiet export_definitions - </dev/null >"$definitions" 2>/dev/null || true
account_works() { password_tool matches <"$definitions"; }

# By a file that only the broker can read: authenticate_user and change_password take a password from a terminal or
# from their arguments, which everyone can see.
set_password() {
  local file=/var/lib/rabbitmq/openstack-ha-account.json status=0
  install -o rabbitmq -g rabbitmq -m 600 /dev/null "$file"
  password_tool definitions >"$file"
  rabbitmqctl --quiet import_definitions "$file" </dev/null >/dev/null || status=$?
  rm -f "$file"
  ((status == 0)) || fail "wanted the account openstack on the message bus, found that rabbitmqctl import_definitions fails; see the log"
}

account_works || change "account openstack" set_password

# The plan has none: queues are what the configuration says.
policies() { jq -r '.policies[] | [.vhost, .name] | @tsv' "$definitions" 2>/dev/null || true; }
# The other hosts' steps do the same at the same time: what one of them has taken away is gone too.
clear_policy() {
  rabbitmqctl --quiet clear_policy -p "$1" "$2" </dev/null && return
  local left
  left=$(rabbitmqctl --quiet --formatter json list_policies -p "$1" </dev/null | jq -r '.[].name') ||
    fail "wanted the policies of the message bus, found that rabbitmqctl list_policies fails; see the log"
  ! grep -qxF "$2" <<<"$left" || fail "wanted no policy $2 on the message bus, found that rabbitmqctl clear_policy fails; see the log"
}
while IFS=$'\t' read -r vhost policy; do
  change "no policy $policy" clear_policy "$vhost" "$policy"
done < <(policies)

# Queues that were made, or went on, while this node was not in the cluster have no copy here.
# lacking: type and name of each.
lacking() {
  timeout 60 rabbitmqctl --quiet --formatter json list_queues name type members </dev/null 2>/dev/null |
    jq -r --arg me "$me" '.[] | select(.type | tostring | test("quorum|stream")) | select(.members | index($me) | not) |
      [(.type | tostring), .name] | @tsv'
}
all_here() {
  local found
  found=$(lacking) || {
    echo "RabbitMQ does not name its queues"
    return 1
  }
  [[ -z $found ]] || {
    echo "$(wc -l <<<"$found") queues have no copy on $STEP_HOST"
    return 1
  }
}
copy_queues() {
  local kind name
  # It fails for queues that are removed meanwhile, as the other does.
  timeout 300 rabbitmq-queues grow "$me" all </dev/null >/dev/null || true
  while IFS=$'\t' read -r kind name; do
    # Debian has no wrapper for this one.
    [[ $kind != *stream* ]] || as rabbitmq timeout 60 /usr/lib/rabbitmq/bin/rabbitmq-streams --quiet add_replica "$name" "$me" </dev/null >/dev/null || true
  done < <(lacking)
  wait_for 60 "a copy of every queue on $STEP_HOST" all_here
}
if [[ $(jq '.queues | length' "$definitions" 2>/dev/null) != 0 ]]; then
  missing=$(lacking) || missing=
  [[ -z $missing ]] || change "copies of $(wc -l <<<"$missing") queues" copy_queues
fi
