# shellcheck shell=bash
# placement, bootstrap: database and schema, once for the whole cluster, on whichever controller comes first.

bootstrap_placement() {
  again as placement placement-manage db sync ||
    fail "wanted Placement's schema, found that placement-manage fails; see the log"
}

database_ready placement placement-db
bootstrapped "$(package_version placement-common)" bootstrap_placement placement
