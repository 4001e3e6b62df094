# shellcheck shell=bash
# glance, bootstrap: database and schema, once for the whole cluster, on whichever controller comes first.

bootstrap_glance() {
  again as glance glance-manage db_sync ||
    fail "wanted Glance's schema, found that glance-manage fails; see the log"
}

database_ready glance glance-db
bootstrapped "$(package_version glance-common)" bootstrap_glance glance
