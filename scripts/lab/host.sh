# shellcheck shell=bash
# One host: its disk, its configuration on it, its BMC, its power.

verb_host() {
  need_root
  read_spec
  local vars lab name role id gateway authorized_key hosts nameservers devices bmc_address bmc_port bmc_user
  local -A ADDRESS
  vars=$(spec_vars '
    def bad($what; $wanted): error("\($what): wanted \($wanted), found \(tojson); fix it");
    def text($what): if type == "string" and . != "" then . else bad($what; "a text") end;
    def ip4($what): if type == "string" and test("^[0-9]{1,3}(\\.[0-9]{1,3}){3}$") then . else bad($what; "an IPv4 address") end;
    def between($what; $min; $max): if type == "number" and . >= $min and . <= $max then . else bad($what; "a number from \($min) to \($max)") end;
    def names: if type == "array" and length > 0 and all(.[]; type == "string" and test("^[A-Za-z0-9.-]+$")) then join(" ") else bad("hosts[].names"; "a list of names") end;
    . as $s
    | {lab: .lab | text("lab"), name: .name | text("name"), role: .role | text("role"), id: .id | between("id"; 1; 65534),
       gateway: (.gateway // ""), authorized_key: (.authorizedKey // ""), devices: (.devices // ["/dev/net/tun"] | join(" ")),
       hosts: ([.hosts // [] | .[] | "\(.address | ip4("hosts[].address")) \(.names | names)"] | join("\n")),
       nameservers: ([.nameservers // [] | .[] | "nameserver \(ip4("nameservers[]"))"] | join("\n")),
       bmc_address: .bmc.address | ip4("bmc.address"), bmc_port: (.bmc.port // 623 | between("bmc.port"; 1; 65535)),
       bmc_user: .bmc.user | text("bmc.user")}
    + (["management", "tunnel", "storage", "external"] | map({key: "ADDRESS[\(.)]", value: (. as $n | $s.addresses[$n] | ip4("addresses.\($n)"))}) | from_entries)
    | to_entries[] | "\(.key)=\(.value | @sh)"')
  eval "$vars"
  check_host_name "$name"
  [[ $bmc_user =~ ^[A-Za-z0-9_.-]{1,16}$ ]] || die "bmc.user: wanted 1 to 16 letters, digits or _.-, found '$bmc_user'; fix it"
  use_lab "$lab"
  use_cgroup2
  if [[ ${1:-} == --delete ]]; then
    host_delete "$name"
    return
  fi
  want_lab "$lab"
  netns_exists || die "lab $LAB: wanted its network up, found it down (was the machine restarted?); bring it back with: lab resume $LAB"
  local secrets host_key='' bmc_password=''
  secrets=$(jq -r '{host_key: .hostKey, bmc_password: .bmcPassword} | to_entries[] | select(.value | type == "string") | "\(.key)=\(.value | @sh)"' 2>/dev/null) ||
    die "host $name: wanted secrets as JSON on stdin, found something else; give {\"hostKey\": ..., \"bmcPassword\": ...}"
  eval "$secrets"
  [[ $host_key == *'PRIVATE KEY'* ]] || die "host $name: wanted hostKey, an OpenSSH private key, in the JSON on stdin, found none; give it"
  [[ $bmc_password =~ ^[A-Za-z0-9_.+/=-]{1,20}$ ]] ||
    die "host $name: wanted bmcPassword, 1 to 20 letters, digits or _.+/=- (the most that IPMI takes), in the JSON on stdin, found another or none; give it"

  local started dir=$LABDIR/hosts/$name did=unchanged lower restart text was
  started=$(now_ms)
  umask 077
  host_lock "$name"
  install_scripts
  was=$(host_var "$name" HOST_ROLE)
  [[ -z $was || $was == "$role" ]] ||
    die "host $name: wanted role $role, found a disk made for role $was; delete the host and create it again"
  if [[ ! -e $dir/lower ]]; then
    did=created
    lower=$(image_lower "$role")
    mkdir -p "$dir"/{upper,work,root,bmc}
    chmod 755 "$dir/upper"
    # Recorded, so that a newer image never changes the ground under an existing disk.
    write_file "$dir/lower" 600 <<<"$lower"
  fi
  # CHANGED collects over all of them, `restart` only what a running host can't take up.
  CHANGED=0
  text=$(host_conf)
  put "$dir/host.conf" 600 "$text"
  restart=$CHANGED
  host_files
  bmc_files
  text=$(jq -S . <<<"$SPEC")
  put "$dir/host.json" 600 "$text"
  [[ $did == created || $CHANGED == 0 ]] || did=updated

  if cg_dead "$(cg_bmc "$name")"; then
    bmc_on "$name"
    [[ $did != unchanged ]] || did=repaired
  fi
  if cg_alive "$(cg_host "$name")"; then
    host_apply "$name" || restart=1
    if ((restart)); then power_off "$name" 'restart with a new configuration'; fi
  fi
  if cg_dead "$(cg_host "$name")"; then
    power_on "$name"
    [[ $did != unchanged ]] || did=repaired
  fi
  unlock
  wait_ssh "$name" "${ADDRESS[management]}" 60
  if [[ $did == unchanged ]]; then
    echo unchanged
  else
    echo "$did: host $name of lab $LAB at ${ADDRESS[management]} ($(seconds_since "$started") s)"
  fi
}

# put PATH MODE TEXT: CHANGED=1 if that changes the file.
put() {
  [[ ! -e $1 || $3 != "$(<"$1")" ]] || return 0
  write_file "$1" "$2" <<<"$3"
  CHANGED=1
}

# A name without route or with a dropping firewall would hold up bash's own connect for minutes, hence timeout.
ssh_answers() {
  timeout 2 bash -c 'exec 3<>"/dev/tcp/$0/22" && read -r banner <&3 && [[ $banner == SSH-* ]]' "$1" 2>/dev/null
}

# wait_ssh HOST ADDRESS SECONDS: ends early if the host went off.
wait_ssh() {
  local cg found='powered on'
  cg=$(cg_host "$1")
  if wait_for "$3" ssh_answers_or_off "$2" "$cg"; then
    if cg_alive "$cg"; then return; fi
    found=$(cat "$LABDIR/hosts/$1/power" 2>/dev/null || echo 'powered off')
  fi
  die "host $1: wanted sshd on $2 within $3 s, found no answer ($found); see $LABDIR/hosts/$1/console.log"
}

ssh_answers_or_off() { cg_dead "$2" || ssh_answers "$1"; }

# image_lower ROLE: the overlay's lower folders of the role's current image, top first.
image_lower() {
  local dir
  dir=$(readlink -e "$CACHE/images/$1/current") || die "image $1: wanted it in $CACHE/images, found none; bake it first (lab image)"
  printf '%s:%s\n' "$dir/layer" "$CACHE/images/base/$(<"$dir/base")/root"
}

# The functions below see the variables of verb_host.

# host_conf: what runner.sh needs to know, as shell assignments.
host_conf() {
  local network mtu offload nics=''
  while read -r network _ mtu offload _; do
    nics+="${NIC[$network]} $(nic_peer "$TAG" "$id" "$network") ${BRIDGE[$network]} $(mac "$name" "$network") $mtu $offload"$'\n'
    [[ $network != external ]] ||
      nics+="${NIC[provider]} $(nic_peer "$TAG" "$id" provider) ${BRIDGE[$network]} $(mac "$name" provider) $mtu $offload"$'\n'
  done <<<"$PLAN"
  printf '%s=%q\n' HOST_NAME "$name" HOST_ROLE "$role" HOST_MACHINE "$LAB-$name" HOST_CGROUP "osha-$LAB/$name" \
    HOST_ADDRESS "${ADDRESS[management]}" HOST_LOWER "$(<"$dir/lower")" HOST_NICS "${nics%$'\n'}" HOST_DEVICES "$devices"
}

# host_files: lays the files of the spec out in seed/, and what is new against the last time in pending/, for the disk.
# So a file that the host has changed itself is left alone.
host_files() {
  local seed=$dir/seed.new network cidr file
  rm -rf "$seed"
  mkdir -p "$seed"/etc/{ssh/sshd_config.d,systemd/{network,journald.conf.d}} "$seed/root/.ssh"
  printf '%s\n' "$name" >"$seed/etc/hostname"
  sha256sum <<<"$LAB/$name" | cut -c1-32 >"$seed/etc/machine-id"
  printf '127.0.0.1 localhost\n%s\n' "$hosts" >"$seed/etc/hosts"
  # Without a name server every look-up fails at once instead of timing out.
  printf 'options timeout:1 attempts:1\n%s\n' "$nameservers" >"$seed/etc/resolv.conf"
  while read -r network cidr _; do
    {
      printf '[Match]\nName=%s\n\n[Network]\nAddress=%s/%s\n' "${NIC[$network]}" "${ADDRESS[$network]}" "${cidr#*/}"
      [[ -z $gateway ]] || ! in_cidr "$gateway" "$cidr" || echo "Gateway=$gateway"
      # Addresses of Pacemaker or Open vSwitch are not networkd's to remove, and a cable that is pulled and
      # plugged leaves a server's own addresses alone.
      printf 'LinkLocalAddressing=no\nIPv6AcceptRA=no\nLLDP=no\nKeepConfiguration=static\nConfigureWithoutCarrier=yes\nIgnoreCarrierLoss=yes\n'
    } >"$seed/etc/systemd/network/50-${NIC[$network]}.network"
  done <<<"$PLAN"
  printf '%s\n' "$authorized_key" >"$seed/root/.ssh/authorized_keys"
  printf '%s\n' "$host_key" >"$seed/etc/ssh/ssh_host_ed25519_key"
  ssh-keygen -y -P '' -f "$seed/etc/ssh/ssh_host_ed25519_key" </dev/null >"$seed/etc/ssh/ssh_host_ed25519_key.pub" 2>/dev/null ||
    die "host $name: wanted hostKey to be an OpenSSH private key without passphrase, found what ssh-keygen can't read; fix the secret"
  # A deployment opens many connections at once, all from one address.
  printf '%s\n' 'HostKey /etc/ssh/ssh_host_ed25519_key' 'PermitRootLogin prohibit-password' 'PasswordAuthentication no' \
    'KbdInteractiveAuthentication no' 'UseDNS no' 'MaxStartups 200:30:400' 'MaxSessions 200' \
    "PerSourcePenaltyExemptList $MANAGEMENT" >"$seed/etc/ssh/sshd_config.d/10-openstack-ha.conf"
  printf '[Journal]\nStorage=persistent\nSystemMaxUse=32M\nRuntimeMaxUse=16M\nRateLimitIntervalSec=0\n' \
    >"$seed/etc/systemd/journald.conf.d/10-openstack-ha.conf"
  find "$seed" -type f -exec chmod 644 {} +
  chmod 444 "$seed/etc/machine-id"
  chmod 600 "$seed/etc/ssh/ssh_host_ed25519_key" "$seed/root/.ssh/authorized_keys"
  while IFS= read -r -d '' file; do
    ! cmp -s "$seed/$file" "$dir/seed/$file" || continue
    mkdir -p "$dir/pending/${file%/*}"
    cp -a "$seed/$file" "$dir/pending/$file"
    CHANGED=1
  done < <(cd "$seed" && find . -type f -printf '%P\0')
  rm -rf "$dir/seed"
  mv -T "$seed" "$dir/seed"
}

# host_apply NAME: pending files onto a running host; false if only a restart makes them count.
host_apply() {
  local pid at=$LABDIR/hosts/$1
  [[ -d $at/pending ]] || return 0
  [[ ! -d $at/pending/etc/systemd && ! -e $at/pending/etc/hostname && ! -e $at/pending/etc/machine-id ]] || return 1
  read -r pid <"$(cg_host "$1")/vm/payload/init.scope/cgroup.procs" || return 1
  # Below a mounted overlay nothing may be written; through the guest's own root it may.
  lay_pending "$at" "/proc/$pid/root" || return 1
  nsenter --all --target "$pid" -- systemctl reload ssh </dev/null >/dev/null 2>&1
}

# bmc_files: the BMC is switched off when its settings changed.
bmc_files() {
  local at=$dir/bmc before=$CHANGED old=
  mkdir -p "$at"
  [[ ! -e $at/address ]] || old=$(<"$at/address")
  CHANGED=0
  put "$at/lan.conf" 600 "name \"$name\"
set_working_mc 0x20
  startlan 1
    addr $bmc_address $bmc_port
    priv_limit admin
    allowed_auths_callback md5
    allowed_auths_user md5
    allowed_auths_operator md5
    allowed_auths_admin md5
    guid $(sha256sum <<<"bmc/$LAB/$name" | cut -c1-32)
  endlan
  chassis_control \"$LABDIR/bin/lab chassis $LAB $name\"
user 2 true \"$bmc_user\" \"$bmc_password\" admin 10 md5"
  put "$at/bmc.emu" 600 'mc_setbmc 0x20
mc_add 0x20 0 no-device-sdrs 0x23 9 8 0x9f 0x1291 0xf02 persist_sdr
sel_enable 0x20 1000 0x0a
mc_enable 0x20'
  if ((CHANGED)); then bmc_off "$name"; fi
  put "$at/address" 600 "$bmc_address $bmc_port"
  CHANGED=$((CHANGED | before))
}

host_delete() {
  local at=$LABDIR/hosts/$1
  if [[ ! -d $at ]] && cg_dead "$(cg_host "$1")" && cg_dead "$(cg_bmc "$1")"; then
    echo unchanged
    return
  fi
  host_lock "$1"
  power_off "$1" 'host deleted'
  cpu_end "$1"
  bmc_off "$1"
  rm -rf --one-file-system "$at"
  unlock
  echo "deleted: host $1 of lab $LAB"
}
