# shellcheck shell=bash
# ovn, start: its databases and northd run with their newest configuration, one member restarting at a time.

mapfile -t files < <(param files)
mapfile -t units < <(param units)
healthy() { verify; }
ready() { verify; }

# A member whose cluster has no leader yet waits for it, and northd for both.
units_running "${units[@]}" ovn-central.service -- "${files[@]}"
verified 180

# strangers DATABASE NAME: members that the plan does not have, and the one of before at this host's own address, whose disk is
# lost: a cluster that counts it needs one more of the others for a majority.
strangers() {
  timeout 10 ovn-appctl -t "/run/ovn/ovn$1_db.ctl" cluster/status "$2" | python3 -c '
import re, sys
own, planned = sys.argv[1], sys.argv[2:]
for server, address, rest in re.findall(r"^ +([0-9a-f]{4}) \([0-9a-f]{4} at \w+:([0-9.]+):[0-9]+\)(.*)$", sys.stdin.read(), re.M):
    if address not in planned or (address == own and "(self)" not in rest):
        print(server)
' "$(param address)" "${members[@]}"
}
no_strangers() { [[ -z $(strangers "$1" "$2") ]] || {
  echo "there is $(strangers "$1" "$2" | paste -sd ' ')"
  return 1
}; }
dismiss() {
  local server
  for server in $(strangers "$1" "$2"); do
    ovn-appctl -t "/run/ovn/ovn$1_db.ctl" cluster/kick "$2" "$server" ||
      fail "wanted the member $server out of OVN's database $1, found that cluster/kick fails; see the log"
  done
  wait_for 60 "no member in OVN's database $1 that is not planned" no_strangers "$1" "$2"
}
mapfile -t members < <(param members)
for database in "nb OVN_Northbound" "sb OVN_Southbound"; do
  read -r short name <<<"$database"
  found=$(strangers "$short" "$name") || found=
  [[ -z $found ]] || change "dismissed members of $short: ${found//$'\n'/ }" alone_in_cluster ovn-members dismiss "$short" "$name"
done
