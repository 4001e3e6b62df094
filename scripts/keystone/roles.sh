# shellcheck shell=bash
# keystone, verify: the ids of Keystone's own roles, which it makes up itself, for accounts to be given them.

roles() {
  local list
  keystone_token "$(param url)/v3" admin keystone-admin admin || return 1
  list=$(api "$(param url)/v3/roles" | jq -r '.roles[] | select(.domain_id == null) | "\(.name) \(.id)"' | sort) || true
  [[ -n $list ]] || {
    echo "Keystone names no roles"
    return 1
  }
  printf '%s\n' "$list"
}

checking || wait_for 60 "the roles of Keystone" roles
while read -r role; do answer "$role"; done < <(roles)
