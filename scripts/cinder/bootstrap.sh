# shellcheck shell=bash
# cinder, bootstrap: database and schema, once for the whole cluster, on whichever controller comes first.

bootstrap_cinder() {
  again as cinder cinder-manage db sync ||
    fail "wanted Cinder's schema, found that cinder-manage fails; see the log"
}

database_ready cinder cinder-db
bootstrapped "$(package_version cinder-common)" bootstrap_cinder cinder
