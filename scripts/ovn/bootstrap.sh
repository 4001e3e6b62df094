# shellcheck shell=bash
# ovn, bootstrap: this host's copies of OVN's two databases. One host founds their clusters, and all others join them; who
# that was is kept in Pacemaker's configuration, so that no second cluster is ever founded.

SCHEMAS=/usr/share/ovn
NOTE=openstack-ha-ovn-founder
declare -A NAME=([nb]=OVN_Northbound [sb]=OVN_Southbound)
mapfile -t others < <(param others)

file() { printf '/var/lib/ovn/ovn%s_db.db\n' "$1"; }
founder() { crm_attribute --type crm_config --name "$NOTE" --query --quiet 2>/dev/null || true; }
missing() { [[ ! -e $(file nb) || ! -e $(file sb) ]]; }

# At once or not at all.
create() {
  local db=$1 new
  new=$(file "$db").new
  rm -f "$new"
  ovsdb-tool create-cluster "$new" "$SCHEMAS/ovn-$db.ovsschema" "tcp:$(param address):$(param "raft_$db")"
  mv "$new" "$(file "$db")"
}

join() {
  local db=$1 new other remotes=()
  new=$(file "$db").new
  rm -f "$new"
  for other in "${others[@]}"; do remotes+=("tcp:$other:$(param "raft_$db")"); done
  ovsdb-tool join-cluster "$new" "${NAME[$db]}" "tcp:$(param address):$(param "raft_$db")" "${remotes[@]}"
  mv "$new" "$(file "$db")"
}

# The founder whose databases are gone joins the others, if there are any.
others_have() {
  local other
  for other in "${others[@]}"; do
    [[ -z $(timeout 5 ovsdb-client list-dbs "tcp:$other:6641" 2>/dev/null) ]] || return 0
  done
  return 1
}

make_databases() {
  local db how=join
  install -d -m 755 /var/lib/ovn
  [[ $(founder) ]] || crm_attribute --type crm_config --name "$NOTE" --update "$STEP_HOST"
  [[ $(founder) != "$STEP_HOST" ]] || others_have || how=create
  for db in nb sb; do
    [[ -e $(file "$db") ]] || "$how" "$db" || fail "wanted OVN's database $db on $STEP_HOST, found that ovsdb-tool cannot $how its cluster; see the log"
  done
}

if missing; then change "databases nb, sb" alone_in_cluster ovn make_databases; fi
