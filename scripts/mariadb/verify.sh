# shellcheck shell=bash
# mariadb, verify: what HAProxy asks says 200: this node is synced and takes writes.

verify() {
  local url found
  url=$(param check)
  found=$(curl --silent --max-time 3 --write-out '%{http_code}' "$url") || true
  [[ $found == *200 ]] || {
    echo "Galera on $STEP_HOST: ${found%%[0-9][0-9][0-9]}(HTTP ${found: -3} from $url)"
    return 1
  }
  mariadb --batch --skip-column-names --connect-timeout=3 -e \
    "SELECT CONCAT('synced, ', variable_value, ' members') FROM information_schema.global_status WHERE variable_name = 'wsrep_cluster_size'"
}
