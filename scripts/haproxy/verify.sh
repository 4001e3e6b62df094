# shellcheck shell=bash
# haproxy, verify: the unit is active, and the process answers on its socket with the frontends of its configuration.

verify() {
  systemctl is-active --quiet haproxy.service || {
    echo "haproxy.service is $(systemctl is-active haproxy.service)"
    return 1
  }
  local name wanted shown
  shown=$(socat -t 2 - UNIX-CONNECT:/run/haproxy/admin.sock <<<"show stat" 2>&1) || {
    echo "haproxy does not answer on its socket"
    return 1
  }
  wanted=$(sed -n 's/^listen //p' /etc/haproxy/haproxy.cfg)
  for name in $wanted; do
    grep -q "^$name,FRONTEND," <<<"$shown" || {
      echo "haproxy does not serve $name yet"
      return 1
    }
  done
  # Fields 1, 2, 18: frontend, server, status.
  awk -F, '$2 != "FRONTEND" && $2 != "BACKEND" && $1 !~ /^#/ && NF > 18 { all++; if ($18 ~ /^UP/) up++ }
    END { printf "%d of %d servers up\n", up, all }' <<<"$shown"
}
