# shellcheck shell=bash
# haproxy, start: Pacemaker runs it here, with the newest configuration. A reload hands the listening sockets over, so
# no connection is refused.

files=(/etc/haproxy/haproxy.cfg /etc/haproxy/certs/public.pem)
now=$(fingerprint "${files[@]}")
record=$STEP_STATE/started/haproxy.service

active() { systemctl is-active --quiet haproxy.service || {
  echo "the unit is $(systemctl is-active haproxy.service)"
  return 1
}; }

reload_haproxy() {
  systemctl reload haproxy.service || fail "wanted haproxy reloaded, found: $(unit_problem haproxy.service)"
}

checking || wait_for 90 "haproxy started by Pacemaker on $STEP_HOST" active
# Without a record, or with one that is older than a file, nobody knows what it runs with; a reload costs nothing.
if [[ ! -e $record || $(<"$record") != "$now" ]] || written_since "$record" "${files[@]}"; then
  change "reloaded haproxy" reload_haproxy
fi
checking || remember_start "$record" "$now"

admin() { socat -t 2 - UNIX-CONNECT:/run/haproxy/admin.sock <<<"$1"; }

# A worker that a reload has replaced may answer for a moment: that everything is stopped.
asked() {
  admin "show info; show stat" >"$STEP_DIR/stat" 2>/dev/null || true
  grep -q '^Stopping: 0$' "$STEP_DIR/stat"
}

# set_aside: what somebody has taken out of service through the socket, as the command that puts it back. A reload forgets
# that too.
set_aside() {
  awk -F, '
    $2 == "FRONTEND" && $18 != "OPEN" { print "enable frontend " $1 }
    $2 != "FRONTEND" && $2 != "BACKEND" && $18 ~ /^(MAINT|DRAIN)/ { print "set server " $1 "/" $2 " state ready" }' "$STEP_DIR/stat"
}
put_back() { [[ -z $(admin "$1" | tr -d '[:space:]') ]] || fail "wanted haproxy to $1, found that it does not"; }

# Not there at all is what the check below says.
asked || checking || wait_for 20 "an answer of haproxy's newest worker" asked
while read -r back; do change "$back" put_back "$back"; done < <(set_aside)

verified 30
