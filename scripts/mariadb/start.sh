# shellcheck shell=bash
# mariadb, start: Pacemaker has started it here, it is synced, and it runs with its newest configuration. A node is
# restarted only while all of them are synced, one at a time.

conf=/etc/mysql/mariadb.conf.d/90-openstack-ha.cnf
record=$STEP_STATE/started/mariadb
mapfile -t members < <(param members)
# Who the members are is told by Pacemaker's agent to a node that starts; those that run know each other.
now=$({ grep -v '^wsrep_cluster_address ' "$conf" 2>/dev/null || true; } | sha256sum | cut -d' ' -f1)

# A member that is being copied to or from would lose that copy with a restart.
all_synced() {
  local size url found
  size=$(sql -e "SHOW STATUS LIKE 'wsrep_cluster_size'" | cut -f2)
  [[ $size == "${#members[@]}" ]] || {
    echo "Galera has $size of ${#members[@]} members"
    return 1
  }
  for url in "${members[@]}"; do
    found=$(curl --silent --max-time 3 "$url") || true
    [[ $found == Synced ]] || {
      echo "Galera at $url: ${found:-no answer}"
      return 1
    }
  done
  verify
}

restart_galera() {
  wait_for 120 "all Galera nodes synced before this one restarts" all_synced
  crm_resource --restart --resource galera-clone --node "$STEP_HOST" --timeout 240s >/dev/null ||
    fail "wanted Galera restarted on $STEP_HOST, found that Pacemaker could not do it; see \`pcs status\` there"
}

# The agent waits for a member to be synced, for 300 s even where that has lost the others meanwhile; then it begins anew.
checking || wait_for 400 "Galera started by Pacemaker on $STEP_HOST" verify
if [[ -e $record && $(<"$record") != "$now" ]]; then
  change "restarted mariadb" in_turn restart_galera
fi
checking || remember_start "$record" "$now"

# drifted_options: name, running value and wanted value of each option of the plan's file that the server runs otherwise.
# Galera's own are variables of the server too.
drifted_options() {
  mariadbd --defaults-file="$conf" --help --verbose >"$STEP_DIR/wanted" 2>/dev/null
  sql <<<"SELECT LOWER(variable_name), global_value FROM information_schema.system_variables" >"$STEP_DIR/running"
  python3 -c '
import re, sys
conf, wanted, running = ([line.rstrip("\n") for line in open(path, encoding="utf-8")] for path in sys.argv[1:])
running = dict(line.split("\t", 1) for line in running if "\t" in line)
table = dict(line.split(None, 1) for line in wanted if re.match(r"[a-z-]+ +\S", line))
# Told on the command line by the agent, shown as stars, or the same name twice.
left_out = {"wsrep_cluster_address", "wsrep_sst_auth", "wsrep_provider"}
UNITS = {"D": 86400, "H": 3600, "M": 60, "S": 1}

def plain(value):
    """One form: durations in seconds, sizes in bytes, switches as ON and OFF."""
    value = value.strip().strip("\"")
    if re.fullmatch(r"P(?=.)(\d+D)?(T([\d.]+[HMS])+)?", value):
        return "%g" % sum(float(n) * UNITS[unit] for n, unit in re.findall(r"([\d.]+)([DHMS])", value))
    size = re.fullmatch(r"(\d+)([KMGT])", value)
    if size:
        return str(int(size[1]) << 10 * ("KMGT".index(size[2]) + 1))
    return {"TRUE": "ON", "FALSE": "OFF"}.get(value.upper(), value)

def provider(text):
    pairs = (each.partition("=") for each in text.strip().strip("\"").split(";"))
    return {key.strip(): value for key, _, value in pairs if key.strip()}

for line in conf:
    name, is_option, value = (part.strip() for part in line.partition("="))
    if not is_option or not re.fullmatch(r"[a-z_]+", name) or name in left_out:
        continue
    if name == "wsrep_provider_options":
        have = provider(running.get(name, ""))
        options = {"wsrep_provider_" + key.replace(".", "_"): (have.get(key, "none"), text) for key, text in provider(value).items()}
    else:
        options = {name: (running.get(name, "none"), table.get(name.replace("_", "-"), value))}
    for option, (found, text) in options.items():
        if plain(found).lower() != plain(text).lower():
            print(option, plain(found), plain(text), sep="\t")
' "$conf" "$STEP_DIR/wanted" "$STEP_DIR/running"
}

restart=no
set_option() {
  local value=$2
  [[ $value =~ ^[0-9.]+$ ]] || value="'$value'"
  # Those that cannot be set while it runs come with its restart.
  sql <<<"SET GLOBAL $1 = $value" || restart=yes
}
while IFS=$'\t' read -r name found wanted; do
  change "$name $found to $wanted" set_option "$name" "$wanted"
done < <(drifted_options)
[[ $restart == no ]] || change "restarted mariadb" in_turn restart_galera

verified 120
