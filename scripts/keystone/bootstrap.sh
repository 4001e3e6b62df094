# shellcheck shell=bash
# keystone, bootstrap: database, schema, the admin account, the region and Keystone's own endpoints, without which no
# client finds the API to register others with. Once for the whole cluster, on whichever controller comes first; the
# others find it done.

bootstrap_keystone() {
  again keystone-manage db_sync || fail "wanted Keystone's schema, found that keystone-manage db_sync fails; see the log"
  # By its environment: an argument would show in the process list.
  OS_BOOTSTRAP_PASSWORD=$(secret keystone-admin) again keystone-manage bootstrap \
    --bootstrap-username admin \
    --bootstrap-project-name admin \
    --bootstrap-admin-url "$(param internal)" \
    --bootstrap-internal-url "$(param internal)" \
    --bootstrap-public-url "$(param public)" \
    --bootstrap-region-id "$(param region)" ||
    fail "wanted the admin account, found that keystone-manage bootstrap fails: $(tail -n 1 "$STEP_DIR/again"); see the log"
  # After a rotation: what is stored is encrypted anew, with the primary key, before the older key goes.
  [[ $(param credentials) == 1 ]] || keystone-manage credential_migrate --keystone-user keystone --keystone-group keystone ||
    fail "wanted stored credentials under the new key, found that keystone-manage credential_migrate fails; see the log"
}

database_ready keystone keystone-db
bootstrapped "$(param internal) $(param public) $(param region) $(package_version keystone) $(secret_version keystone-admin) $(param credentials)" \
  bootstrap_keystone keystone

# Somebody may have edited its endpoints since, or removed a role; what it makes is complete again after another run.
identity() {
  sql --database=keystone <<<"SELECT CONCAT(interface, ' ', url) FROM endpoint JOIN service ON service.id = service_id
      WHERE type = 'identity' AND region_id = '$(param region)' ORDER BY interface;
    SELECT name FROM role WHERE domain_id = '<<null>>' AND name IN ('admin', 'member', 'reader', 'service') ORDER BY name"
}
wanted=$(printf '%s\n' "admin $(param internal)" "internal $(param internal)" "public $(param public)" admin member reader service)
mend_identity() { [[ $(identity) == "$wanted" ]] || bootstrap_keystone; }
[[ $(identity) == "$wanted" ]] || change "endpoints and roles of identity" alone_in_cluster bootstrap-keystone mend_identity
