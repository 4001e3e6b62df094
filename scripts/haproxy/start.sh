# shellcheck shell=bash
# haproxy, start: Pacemaker runs it here, with the newest configuration. A reload hands the listening sockets over, so
# no connection is refused.

now=$(fingerprint /etc/haproxy/haproxy.cfg)
record=$STEP_STATE/started/haproxy.service

active() { systemctl is-active --quiet haproxy.service || {
  echo "the unit is $(systemctl is-active haproxy.service)"
  return 1
}; }

reload_haproxy() {
  systemctl reload haproxy.service || fail "wanted haproxy reloaded, found: $(unit_problem haproxy.service)"
}

checking || wait_for 90 "haproxy started by Pacemaker on $STEP_HOST" active
# Without a record nobody knows what it runs with; a reload costs nothing.
if [[ ! -e $record || $(<"$record") != "$now" ]]; then
  change "reloaded haproxy" reload_haproxy
fi
checking || remember_start "$record" "$now"

verified 30
