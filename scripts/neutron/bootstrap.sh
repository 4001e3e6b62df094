# shellcheck shell=bash
# neutron, bootstrap: database and schema, once for the whole cluster, on whichever controller comes first.

bootstrap_neutron() {
  local file options=()
  while read -r file; do options+=(--config-file "$file"); done < <(param config)
  again as neutron neutron-db-manage "${options[@]}" upgrade heads ||
    fail "wanted Neutron's schema, found that neutron-db-manage fails; see the log"
}

database_ready neutron neutron-db
bootstrapped "$(package_version neutron-common)" bootstrap_neutron neutron
