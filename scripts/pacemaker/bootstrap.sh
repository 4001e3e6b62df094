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

push_candidate() {
  local out
  out=$(crm_verify --xml-file "$STEP_DIR/candidate.xml" 2>&1) ||
    fail "wanted the plan's cluster configuration, found that Pacemaker refuses it: $(tail -n 1 <<<"$out")"
  crm_diff --original "$STEP_DIR/present.xml" --new "$STEP_DIR/candidate.xml" --no-version >"$STEP_DIR/patch.xml" || true
  out=$(cibadmin --patch --xml-file "$STEP_DIR/patch.xml" 2>&1) ||
    fail "wanted the plan's cluster configuration, found that Pacemaker does not take it: $(tail -n 1 <<<"$out")"
}

configure_cluster() {
  local option name value section wanted differing=()
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
    wanted=$(wanted_section "$section")
    candidate --query --scope "$section" >"$STEP_DIR/section.xml" 2>/dev/null || printf '<%s/>' "$section" >"$STEP_DIR/section.xml"
    if [[ $(canonical "$STEP_DIR/section.xml") != "$(canonical "$wanted")" ]]; then
      differing+=("$section")
      candidate --modify --allow-create --scope configuration --xml-text "<$section/>" 2>/dev/null || true
      candidate --replace --scope "$section" --xml-file "$wanted"
    fi
  done
  ((${#differing[@]})) || return 0
  change "cluster configuration (${differing[*]})" push_candidate
}

if checking; then configure_cluster; else alone_in_cluster pacemaker-bootstrap configure_cluster; fi
verified 90
