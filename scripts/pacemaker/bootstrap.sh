# shellcheck shell=bash
# pacemaker, bootstrap: the cluster's options, resources and constraints are those of the plan. Pacemaker's own tools
# verify, compare and patch, all of it at once; the cluster then moves to the new state by itself.

# canonical FILE: XML with attributes in order and no space between elements.
canonical() {
  python3 -c 'import sys, xml.etree.ElementTree as e; print(e.canonicalize(from_file=sys.argv[1], strip_text=True))' "$1"
}

# wanted_section SECTION: the plan's text of it, as a file.
wanted_section() {
  param "$1" >"$STEP_DIR/$1.xml"
  printf '%s\n' "$STEP_DIR/$1.xml"
}

candidate() { CIB_file=$STEP_DIR/candidate.xml cibadmin "$@"; }

option_value() {
  candidate --query --xpath "//cluster_property_set[@id='cib-bootstrap-options']/nvpair[@name='$1']" 2>/dev/null |
    sed -n 's/.*value="\([^"]*\)".*/\1/p'
}

set_option() {
  candidate --modify --allow-create --scope crm_config --xml-text \
    "<cluster_property_set id=\"cib-bootstrap-options\"><nvpair id=\"cib-bootstrap-options-$1\" name=\"$1\" value=\"$2\"/></cluster_property_set>"
}

# Those that Pacemaker and the plan's own scripts keep there.
KEPT='^(cluster-infrastructure|cluster-name|dc-version|have-watchdog|last-lrm-refresh|openstack-ha-.*)$'

# unplanned_options: names of those that somebody else has set.
unplanned_options() {
  candidate --query --xpath "//cluster_property_set[@id='cib-bootstrap-options']/nvpair" 2>/dev/null |
    sed -n 's/.* name="\([^"]*\)".*/\1/p' | grep -vE "$KEPT" | grep -vxF -f <(param options | cut -d= -f1) || true
}

unset_option() {
  candidate --delete --xpath "//cluster_property_set[@id='cib-bootstrap-options']/nvpair[@name='$1']"
}

# push ORIGINAL NEW: what differs between two whole configurations, at once.
push() {
  local out
  out=$(crm_verify --xml-file "$2" 2>&1) ||
    fail "wanted the plan's cluster configuration, found that Pacemaker refuses it: $(tail -n 1 <<<"$out")"
  crm_diff --original "$1" --new "$2" --no-version >"$STEP_DIR/patch.xml" || true
  out=$(cibadmin --patch --xml-file "$STEP_DIR/patch.xml" 2>&1) ||
    fail "wanted the plan's cluster configuration, found that Pacemaker does not take it: $(tail -n 1 <<<"$out")"
}

# galera_members FILE: who the agent is told they are, one per line; nothing where there is no Galera yet.
galera_members() {
  CIB_file=$1 cibadmin --query --xpath "//primitive[@id='galera']/instance_attributes/nvpair[@name='cluster_host_map']" 2>/dev/null |
    sed -n 's/.* value="\([^"]*\)".*/\1/p' | tr ';' '\n' | sort || true
}

# Galera runs with its members, and is to have some more.
galera_grows() {
  local before=$STEP_DIR/members.before after=$STEP_DIR/members.after
  galera_members "$STEP_DIR/present.xml" >"$before"
  galera_members "$STEP_DIR/candidate.xml" >"$after"
  # A run that was cut off may have left it unmanaged with the new list.
  [[ -s $before && -z $(comm -23 "$before" "$after") ]] || return 1
  [[ -n $(comm -13 "$before" "$after") ]] || galera_unmanaged || return 1
  [[ $(sql -e "SHOW STATUS LIKE 'wsrep_cluster_status'" 2>/dev/null | cut -f2) == Primary ]]
}

galera_unmanaged() { cibadmin --query --xpath "//clone[@id='galera-clone']//nvpair[@name='is-managed'][@value='false']" >/dev/null 2>&1; }

# Pacemaker restarts what has other parameters, on all hosts at once: the database would be gone for it. Members that run
# know each other, and only those that start need the list. So Galera is left alone while the list changes, and asked anew
# what it does, which then counts as done with the new list.
push_members() {
  local managed=(--resource galera-clone --meta) settled=yes
  cp "$STEP_DIR/candidate.xml" "$STEP_DIR/unmanaged.xml"
  CIB_file=$STEP_DIR/unmanaged.xml crm_resource "${managed[@]}" --set-parameter is-managed --parameter-value false >/dev/null
  push "$STEP_DIR/present.xml" "$STEP_DIR/unmanaged.xml"
  crm_resource --refresh --resource galera-clone >/dev/null || settled=no
  crm_resource --wait --timeout 60s >/dev/null || settled=no
  # Whatever came of it: a database that nobody looks after is worse than one that restarts.
  crm_resource "${managed[@]}" --delete-parameter is-managed >/dev/null
  [[ $settled == yes ]] ||
    fail "wanted Pacemaker to look at Galera again within 60 s, found it still busy; see \`pcs status\`, and run \`pulumi up\` again"
}

push_candidate() {
  if galera_grows; then push_members; else push "$STEP_DIR/present.xml" "$STEP_DIR/candidate.xml"; fi
}

# put_section SECTION FILE
put_section() {
  candidate --modify --allow-create --scope configuration --xml-text "<$1/>" 2>/dev/null || true
  candidate --replace --scope "$1" --xml-file "$2"
}

configure_cluster() {
  local option name value section differing=() sections=()
  # Read under the lock: another controller may have done it all a moment ago.
  cibadmin --query >"$STEP_DIR/present.xml"
  cp "$STEP_DIR/present.xml" "$STEP_DIR/candidate.xml"
  while IFS= read -r option; do
    name=${option%%=*} value=${option#*=}
    [[ $(option_value "$name") == "$value" ]] || {
      differing+=("$option")
      set_option "$name" "$value"
    }
  done < <(param options)
  while IFS= read -r name; do
    differing+=("no $name")
    unset_option "$name"
  done < <(unplanned_options)
  for section in rsc_defaults resources constraints; do
    candidate --query --scope "$section" >"$STEP_DIR/section.xml" 2>/dev/null || printf '<%s/>' "$section" >"$STEP_DIR/section.xml"
    [[ $(canonical "$STEP_DIR/section.xml") == "$(canonical "$(wanted_section "$section")")" ]] || sections+=("$section")
  done
  differing+=("${sections[@]}")
  if [[ " ${sections[*]} " == *" resources "* ]]; then
    # A constraint of a resource that is gone would be refused.
    printf '<constraints/>' >"$STEP_DIR/none.xml"
    put_section constraints "$STEP_DIR/none.xml"
    sections+=(constraints)
  fi
  for section in "${sections[@]}"; do put_section "$section" "$STEP_DIR/$section.xml"; done
  ((${#differing[@]})) || return 0
  change "cluster configuration (${differing[*]})" push_candidate
}

if checking; then configure_cluster; else alone_in_cluster pacemaker-bootstrap configure_cluster; fi
verified 90
