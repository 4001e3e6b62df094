# shellcheck shell=bash
# nova, bootstrap: three databases, their schemas and the one cell, once for the whole cluster, on whichever controller
# comes first. Cells are kept as templates: each service fills in the addresses and the passwords from its own file.

DATABASE='{scheme}://{username}:{password}@{hostname}/{path}?{query}'

transport() {
  local i brokers=()
  for ((i = 1; i <= $(param brokers); i++)); do brokers+=("{username$i}:{password$i}@{hostname$i}:{port$i}"); done
  (
    IFS=,
    printf '{scheme}://%s/\n' "${brokers[*]}"
  )
}

cell1() {
  local uuid options=(--name cell1 --database_connection "$DATABASE" --transport-url "$(transport)")
  uuid=$(sql_latest <<<"SELECT uuid FROM nova_api.cell_mappings WHERE name = 'cell1'")
  if [[ -z $uuid ]]; then
    again as nova nova-manage cell_v2 create_cell "${options[@]}"
  else
    again as nova nova-manage cell_v2 update_cell --cell_uuid "$uuid" "${options[@]}"
  fi
}

bootstrap_nova() {
  again as nova nova-manage api_db sync || fail "wanted Nova's API schema, found that nova-manage api_db sync fails; see the log"
  again as nova nova-manage cell_v2 map_cell0 --database_connection "${DATABASE/\{path\}/nova_cell0}" ||
    fail "wanted cell0, found that nova-manage cell_v2 map_cell0 fails; see the log"
  again as nova nova-manage db sync || fail "wanted Nova's schema, found that nova-manage db sync fails; see the log"
  cell1 || fail "wanted the cell cell1, found that nova-manage cell_v2 fails; see the log"
}

database_ready nova nova-db nova nova_api nova_cell0
bootstrapped "$(package_version nova-common) $(transport)" bootstrap_nova nova nova_api nova_cell0
