# shellcheck shell=bash
# keystone, verify: this host's Keystone issues a token for the admin account and accepts it again, which exercises its
# database, its keys and its cache.

keystone_call() {
  curl --silent --max-time 10 --output "$STEP_DIR/body" --dump-header "$STEP_DIR/headers" --write-out '%{http_code}' "$@"
}

verify() {
  local code url
  url=$(param url)/v3/auth/tokens
  code=$(jq -n --rawfile password "$(secret_file keystone-admin)" '
    {auth: {identity: {methods: ["password"],
                       password: {user: {name: "admin", domain: {id: "default"}, password: $password}}},
            scope: {project: {name: "admin", domain: {id: "default"}}}}}' |
    keystone_call --header 'Content-Type: application/json' --data @- "$url") || true
  [[ $code == 201 ]] || {
    echo "Keystone on $STEP_HOST issues no token (HTTP ${code:-none} from $url)"
    return 1
  }
  # The token goes by a file, so that it is not in the process list.
  sed -n 's/\r$//; s/^[Xx]-[Ss]ubject-[Tt]oken: \(.*\)/header = "X-Auth-Token: \1"\nheader = "X-Subject-Token: \1"/p' \
    "$STEP_DIR/headers" >"$STEP_DIR/token"
  code=$(keystone_call --config "$STEP_DIR/token" "$url") || true
  [[ $code == 200 ]] || {
    echo "Keystone on $STEP_HOST does not accept its own token (HTTP ${code:-none} from $url)"
    return 1
  }
}
