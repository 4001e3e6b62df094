# shellcheck shell=bash
# Shell functions that every step's script may use. The runner (step.py) sources this first, with set -euo pipefail.
#
# One rule makes check mode, drift and idempotence the same code path: a script first looks at what is there, and does
# what is missing only through `change`, which in check mode notes it and does nothing.

# param KEY: a parameter of the step. Lists come one item a line.
param() {
  jq -r --arg key "$1" 'if has($key) then .[$key] | if type == "array" then .[] else . end else error end' \
    "$STEP_DIR/params.json" 2>/dev/null ||
    fail "parameter $1 is missing from the step's document"
}

# secret_file NAME: path of a file that holds the secret, readable by root only and gone with the step.
secret_file() {
  local file=$STEP_DIR/secrets/$1
  [[ -e $file ]] || fail "secret $1 is not declared by this step"
  printf '%s\n' "$file"
}

# secret NAME: its value, for a pipe or a here-document; never for an argument of a command.
secret() { cat "$(secret_file "$1")"; }

# fail MESSAGE: end the step with the one line that the operator sees: what was wanted, what was found, what to do.
fail() {
  printf '%s\n' "$*" >"$STEP_DIR/error"
  exit 1
}

# checking: true in check mode, where nothing may change.
checking() { [[ $STEP_MODE == check ]]; }
# baking: true while an image is built, where no service manager runs.
baking() { [[ $STEP_MODE == bake ]]; }

# changed TEXT: say in the step's one line that something was done.
changed() { printf '%s\n' "$*" >>"$STEP_DIR/changes"; }
# differs TEXT: say what is not as wanted (check mode).
differs() { printf '%s\n' "$*" >>"$STEP_DIR/differences"; }
# unhealthy TEXT: say that the service does not work (check mode). What is to be mended may be another step's.
unhealthy() { printf '%s\n' "$*" >>"$STEP_DIR/health"; }

# answer TEXT: a line for the program, after the step's own.
answer() { printf '%s\n' "$*" >>"$STEP_DIR/facts"; }

# change TEXT COMMAND...: do it and say so; in check mode only say it.
change() {
  local text=$1
  shift
  if checking; then
    differs "$text"
    return 0
  fi
  "$@"
  changed "$text"
}

# wait_for SECONDS WHAT COMMAND...: poll a readiness check, with pauses of 0.2 s, or twice the time that the check takes: on a
# busy host the many that wait must not slow down what they wait for. Fails with what was waited for and the last thing that
# the check printed.
wait_for() {
  local end=$((SECONDS + $1)) what=$2 out begun pause
  local seconds=$1
  shift 2
  while begun=${EPOCHREALTIME/[.,]/} && ! out=$("$@" 2>&1); do
    if ((SECONDS >= end)); then
      fail "wanted ${what} within ${seconds} s, found: ${out:-no answer to $*}"
    fi
    # Microseconds.
    pause=$((2 * (${EPOCHREALTIME/[.,]/} - begun)))
    pause=$((pause < 200000 ? 200000 : pause > 2000000 ? 2000000 : pause))
    sleep "$((pause / 1000000)).$(printf %06d $((pause % 1000000)))"
  done
}

# packages_installed NAME...: Debian packages, without their recommendations and without starting anything, in no older
# version than the one that the last run left here. Says whether any had to be installed.
packages_installed() {
  local missing=() older=() name found note=$STEP_STATE/packages/$STEP_SERVICE
  for name in "$@"; do
    found=$(dpkg-query -W -f '${db:Status-Abbrev}${Version}' "$name" 2>/dev/null) || true
    # Its first letter is what is to become of it: somebody may want it held.
    if [[ $found != ?"i "* ]]; then
      missing+=("$name")
    elif was_newer "$name" "${found:3}"; then
      older+=("$name")
    fi
  done
  ((${#missing[@]} == 0)) ||
    change "installed ${#missing[@]} packages (${missing[*]:0:4}...)" install_packages "${missing[@]}"
  ((${#older[@]} == 0)) || change "newer ${older[*]}" newer_packages "${older[@]}"
  checking || note_packages "$@"
  ((${#missing[@]} + ${#older[@]}))
}

# was_newer NAME VERSION: a newer one was here when the step ran last.
was_newer() {
  local noted
  noted=$(awk -v name="$1" '$1 == name { print $2 }' "$note" 2>/dev/null) || return 1
  [[ -n $noted ]] && dpkg --compare-versions "$2" lt "$noted"
}

newer_packages() {
  local name version
  install_packages "$@"
  for name in "$@"; do
    version=$(package_version "$name")
    ! was_newer "$name" "$version" ||
      fail "wanted $name $(awk -v name="$name" '$1 == name { print $2 }' "$note") or newer, found that this host's package source has no newer one than $version"
  done
}

note_packages() {
  mkdir -p "${note%/*}"
  dpkg-query -W -f '${Package} ${Version}\n' "$@" >"$note.new"
  mv "$note.new" "$note"
}

install_packages() {
  # Debian starts what it installs; here a service starts when its configuration is there, and not before.
  local policy=/usr/sbin/policy-rc.d made=no status=0
  if [[ ! -e $policy ]]; then
    printf '#!/bin/sh\nexit 101\n' >"$policy"
    chmod 755 "$policy"
    made=yes
  fi
  local options=(-qq -y --no-install-recommends -o DPkg::Lock::Timeout=300 -o Dpkg::Use-Pty=0
    -o Dpkg::Options::=--force-confold)
  apt-get "${options[@]}" install "$@" || {
    apt-get -qq -o DPkg::Lock::Timeout=300 update && apt-get "${options[@]}" install "$@"
  } || status=$?
  [[ $made == no ]] || rm -f "$policy"
  ((status == 0)) || fail "wanted the packages $*, found that apt-get cannot install them; can this host reach its package source?"
}

# units_disabled UNIT...: installed units that must not start by themselves (Pacemaker starts them, or a later step).
units_disabled() {
  local unit
  for unit in "$@"; do
    if systemctl is-enabled --quiet "$unit" 2>/dev/null; then
      change "disabled $unit" systemctl disable --quiet "$unit"
    fi
  done
}

# fingerprint FILE...: of everything a unit reads.
fingerprint() {
  local file
  for file in "$@"; do
    if [[ -e $file ]]; then sha256sum "$file"; else printf 'absent  %s\n' "$file"; fi
  done | sha256sum | cut -d' ' -f1
}

# unit_running UNIT FILE...: enabled, active, and started since the last change of the files it reads. A first start
# needs nothing; a restart is done alone in the cluster, whatever the service: so no more than one controller is busy with
# that, and only while `healthy` (a function of the script) says yes.
unit_running() {
  local unit=$1
  shift
  units_running "$unit" -- "$@"
}

# units_running UNIT... -- FILE...: the same for several units that read the same files. They start together, and restart
# together.
units_running() {
  local units=() files=() now old=() unit
  read_units "$@"
  start_down
  for unit in "${units[@]}"; do
    # Whoever is left out of HAProxy did not come back well the last time.
    if systemctl is-active --quiet "$unit" && { [[ -e $(uwsgi_drain "$unit") ]] || started_before "$unit" "$now" "${files[@]}"; }; then
      old+=("$unit")
    fi
  done
  ((${#old[@]} == 0)) || change "restarted ${old[*]}" in_turn restart_units "${old[@]}"
  checking || for unit in "${units[@]}"; do remember_start "$STEP_STATE/started/$unit" "$now"; done
  # One that did not come back well until here is not asked by anybody until this step has run well.
  checking || for unit in "${old[@]}"; do in_haproxy "$unit"; done
}

# units_up UNIT... -- FILE...: enabled and active, and nothing restarts. Before units_running where what restarts waits for
# what else has to start.
units_up() {
  local units=() files=() now
  read_units "$@"
  start_down
}

# read_units UNIT... -- FILE...: into `units`, `files` and their fingerprint `now`, all of the caller's.
read_units() {
  while [[ $1 != -- ]]; do
    units+=("$1")
    shift
  done
  shift
  files=("$@")
  now=$(fingerprint "$@")
}

# start_down: those of the caller's `units` that are not enabled and active.
start_down() {
  local masked=() off=() down=() unit state
  for unit in "${units[@]}"; do
    state=$(systemctl is-enabled "$unit" 2>/dev/null) || {
      off+=("$unit")
      [[ $state != masked* ]] || masked+=("$unit")
    }
    systemctl is-active --quiet "$unit" || down+=("$unit")
  done
  ((${#masked[@]} == 0)) || change "unmasked ${masked[*]}" systemctl unmask --quiet "${masked[@]}"
  ((${#off[@]} == 0)) || change "enabled ${off[*]}" enable_units "${off[@]}"
  ((${#down[@]} == 0)) || change "started ${down[*]}" start_units "${down[@]}"
  checking || for unit in "${down[@]}"; do
    remember_start "$STEP_STATE/started/$unit" "$now"
    remember_uwsgi "$unit"
    in_haproxy "$unit"
  done
}

# started_before UNIT FINGERPRINT FILE...: with other files than there are now.
started_before() {
  local unit=$1 now=$2 record=$STEP_STATE/started/$1
  shift 2
  [[ ! -e $record || $(<"$record") != "$now" ]] || started_otherwise "$unit" "$record" "$@"
}

# enable_units UNIT...: not reloaded for it, which takes half a second of CPU, and a unit's own state if it got another name
# just now. Nor are the links of old init scripts, which these packages have too: nobody reads those where there is a unit,
# and the tool for them reloads twice a unit.
enable_units() { SYSTEMCTL_SKIP_SYSV=1 systemctl enable --quiet --no-reload "$@"; }

# started_otherwise UNIT RECORD FILE...: somebody else started or reloaded it since the record, and a file was written
# after that. What it read then was not what is there now, such as a file that was edited, used, and put right.
started_otherwise() {
  local since record=$2 file
  since=$(systemctl show --timestamp=unix --property StateChangeTimestamp --value "$1")
  since=${since#@}
  [[ -n $since ]] && ((since > $(stat -c %Y "$record"))) || return 1
  shift 2
  for file in "$@"; do
    [[ ! -e $file ]] || (($(stat -c %Y "$file") <= since)) || return 0
  done
  return 1
}

# written_since RECORD FILE...: one of the files is younger than the record of what was started with them.
written_since() {
  local record=$1 file
  shift
  for file in "$@"; do [[ ! $file -nt $record ]] || return 0; done
  return 1
}

remember_start() {
  mkdir -p "${1%/*}"
  printf '%s\n' "$2" >"$1.new"
  mv "$1.new" "$1"
}

start_units() {
  reload_units "$@"
  systemctl reset-failed "$@" 2>/dev/null || true
  # Of several that start at once one may end because another is not there yet; the service manager tries it again.
  systemctl start "$@" || wait_for 60 "$* started" units_started "$@"
}

units_started() {
  local unit
  for unit in "$@"; do
    systemctl is-active --quiet "$unit" || {
      echo "$unit: $(unit_problem "$unit")"
      return 1
    }
  done
}

# reload_units UNIT...: the service manager knows their files, and reads them again only if they have changed.
reload_units() {
  local unit
  for unit in "$@"; do
    [[ $(systemctl show --property NeedDaemonReload --value "$unit") == no ]] || {
      systemctl daemon-reload
      return
    }
  done
}

# restart_units UNIT...: one that can take its new configuration without letting go of its socket (uWSGI) does that, and
# no request is refused.
restart_units() {
  local unit reload=() restart=() anew=()
  if declare -F healthy >/dev/null; then
    wait_for 60 "$STEP_SERVICE healthy on the other hosts before it restarts here" healthy
  fi
  for unit in "$@"; do
    if [[ $(systemctl show --property NeedDaemonReload --value "$unit") == no && -n $(uwsgi_drain "$unit") ]]; then
      reload+=("$unit")
    else
      restart+=("$unit")
    fi
  done
  for unit in "$@"; do
    [[ -z $(uwsgi_drain "$unit") ]] || uwsgi_as_started "$unit" || anew+=("$unit")
  done
  ((${#anew[@]} == 0)) || out_of_haproxy "${anew[@]}"
  reload_units "$@"
  reload_uwsgi "${reload[@]}"
  # Some may be started so many times in half an hour and no more, whoever asks: Ceph's disks three times.
  ((${#restart[@]} == 0)) || systemctl reset-failed "${restart[@]}" 2>/dev/null || true
  ((${#restart[@]} == 0)) || systemctl restart "${restart[@]}" || wait_for 60 "${restart[*]} restarted" units_started "${restart[@]}"
  if declare -F ready >/dev/null; then wait_for 120 "$STEP_SERVICE ready after its restart" ready; fi
}

# out_of_haproxy UNIT...: from now on they answer its checks with 404, and nobody is sent to them any more. It has noticed
# when it has asked once more.
out_of_haproxy() {
  local unit pace longest=0
  for unit in "$@"; do
    touch "$(uwsgi_drain "$unit")"
    pace=$(check_pace "$(started_with "$unit" ExecStart 's/.* --http-socket [^ ]*:\([0-9]*\) .*/\1/p')")
    longest=$((pace > longest ? pace : longest))
  done
  # Its check may come at the end of the pause, and is answered within a second; another host's HAProxy cannot be asked.
  sleep "$((longest / 1000 + 1)).$(printf %03d $((longest % 1000)))"
}

in_haproxy() {
  local drain
  drain=$(uwsgi_drain "$1")
  [[ -z $drain ]] || rm -f "$drain"
}

# check_pace PORT [FILE]: milliseconds between HAProxy's checks of it, by its configuration; 0 if it is not in there.
check_pace() {
  awk -v port=":$1" '
    function pace() { return match($0, /[ ]inter [0-9]+ms/) ? substr($0, RSTART + 7, RLENGTH - 9) : "" }
    $1 == "defaults" { common = 1 }
    $1 == "listen" { common = 0; own = "" }
    $1 == "default-server" && pace() != "" { if (common) usual = pace(); else own = pace() }
    $1 == "server" && substr($3, length($3) - length(port) + 1) == port { found = own != "" ? own : usual }
    END { print found + 0 }' "${2:-/etc/haproxy/haproxy.cfg}"
}

# reload_uwsgi UNIT...: their workers begin anew one after the other, so that there is always one that answers; all at once,
# without letting go of the socket, where uWSGI's own file is another one.
reload_uwsgi() {
  local unit since
  since=$(date +%s)
  for unit in "$@"; do
    if uwsgi_as_started "$unit"; then
      systemctl reload "$unit"
    else
      systemctl kill --kill-whom=main --signal=HUP "$unit"
    fi || fail "wanted $unit reloaded, found: $(unit_problem "$unit")"
  done
  for unit in "$@"; do
    wait_for 120 "the workers of $unit anew" workers_since "$unit" "$since"
    remember_uwsgi "$unit"
  done
}

# uwsgi_as_started UNIT: uWSGI itself was started with the file that is there now.
uwsgi_as_started() {
  local record=$STEP_STATE/started/$1.uwsgi
  [[ -e $record && $(<"$record") == "$(uwsgi_fingerprint "$1")" ]]
}

# uwsgi_drain UNIT: while it is there, HAProxy is told not to send anybody.
uwsgi_drain() { started_with "$1" ExecReload 's/.* \([^ ]*\)\.reload .*/\1.drain/p'; }

# started_with UNIT PROPERTY EXPRESSION: what the expression finds in it.
started_with() { systemctl show --property "$2" --value "$1" | sed -n "$3"; }

uwsgi_fingerprint() {
  local file
  file=$(started_with "$1" ExecStart 's/.* --ini \([^ ;]*\).*/\1/p')
  [[ -z $file ]] || fingerprint "$file"
}

# remember_uwsgi UNIT: what uWSGI itself was started with, if it is one.
remember_uwsgi() {
  local now
  now=$(uwsgi_fingerprint "$1")
  [[ -z $now ]] || remember_start "$STEP_STATE/started/$1.uwsgi" "$now"
}

# workers_since UNIT SECONDS: it has workers, and all of them are younger than that time.
workers_since() {
  local main age now workers=0
  main=$(systemctl show --property MainPID --value "$1")
  now=$(date +%s)
  while read -r age; do
    ((now - age >= $2)) || {
      echo "a worker of $1 is from before"
      return 1
    }
    workers=$((workers + 1))
  done < <(ps -o etimes= --ppid "$main")
  ((workers > 0)) || {
    echo "$1 has no workers: $(unit_problem "$1")"
    return 1
  }
}

# unit_problem UNIT: the last line it wrote, for an error message.
unit_problem() { journalctl -u "$1" -n 1 --no-pager -o cat 2>/dev/null | tail -n 1; }

# in_turn COMMAND...: a restart, of which there is one at a time. A script whose service has hosts outside of the cluster says
# how they take turns.
in_turn() { alone_in_cluster restart "$@"; }

# alone_in_cluster NAME COMMAND...: run it while no other controller runs anything under the same name. The lock is an
# entry in Pacemaker's configuration, which creates it on one node only, whoever asks at the same time. It carries its
# holder and an expiry, so a holder that lost power does not block for long.
alone_in_cluster() {
  # A host outside of the cluster shares nothing that a restart here could take from the others.
  if ! command -v cibadmin >/dev/null; then
    shift
    "$@"
    return
  fi
  if ! cibadmin --query >/dev/null 2>&1; then
    fail "wanted Pacemaker to lend the lock $1, found no cluster on $STEP_HOST; start pacemaker there, then run \`pulumi up\` again"
  fi
  under_lock cluster "$@"
}

# alone_in_store NAME COMMAND...: the same among Ceph's hosts, whether they are controllers or not. The lock is RADOS' own, on
# an object of the oldest pool; without a pool there is nothing that a restart could take from anybody.
alone_in_store() {
  local pool
  wait_for 60 "Ceph's monitors to lend the lock $1" store_pools
  pool=$(store_pools | jq -r '(min_by(.pool_id) // empty).pool_name')
  if [[ -z $pool ]]; then
    shift
    "$@"
    return
  fi
  under_lock store "$@"
}

# under_lock KEEPER NAME COMMAND...: its keeper tells who holds it, lends it to one, and takes it back.
under_lock() {
  local keeper=$1 name=$2 status=0
  shift 2
  lock_take "$name" "$keeper"
  # The lock must be given back whatever the command does, so its failure (also by `fail`) is caught by a subshell.
  set +e
  (
    set -e
    "$@"
  )
  status=$?
  set -e
  lock_drop "$name" "$keeper"
  ((status == 0)) || exit "$status"
}

# Longer than anything done under a lock: a Galera node waits 120 s for the others and has 240 s to restart.
LOCK_SECONDS=420

lock_id() { printf 'openstack-ha-lock-%s' "${1//[^a-zA-Z0-9-]/-}"; }

cluster_holder() { cibadmin --query --xpath "//nvpair[@id='$1-holder']" 2>/dev/null | sed -n 's/.*value="\([^"]*\)".*/\1/p'; }
cluster_lend() {
  cibadmin --create --scope crm_config --xml-text \
    "<cluster_property_set id=\"$1\"><nvpair id=\"$1-holder\" name=\"$1\" value=\"$2\"/></cluster_property_set>"
}
cluster_take_back() { cibadmin --delete --scope crm_config --xml-text "<cluster_property_set id=\"$1\"/>"; }

store_pools() { timeout 20 ceph osd pool ls detail --format json </dev/null; }
# In the `pool` of alone_in_store.
store_lock() { timeout 20 rados --pool "$pool" lock "$@" </dev/null; }
store_lockers() { store_lock info "$1" "$1" 2>/dev/null | jq -r ".lockers[]? | $2"; }
# What expires is not told any more.
store_holder() { store_lockers "$1" .cookie; }
store_lend() { store_lock get "$1" "$1" --lock-cookie "$2" --lock-duration "$LOCK_SECONDS"; }
store_take_back() {
  local name cookie
  while read -r name cookie; do
    store_lock break "$1" "$1" "$name" --lock-cookie "$cookie"
  done < <(store_lockers "$1" '"\(.name) \(.cookie)"')
}

lock_take() {
  local id value now before='' begun=$SECONDS end pause
  local own="$STEP_SERVICE on $STEP_HOST" keeper=${2:-cluster}
  id=$(lock_id "$1")
  end=$((begun + LOCK_SECONDS + 30))
  while ((SECONDS < end)); do
    now=$(date +%s)
    value=$("${keeper}_holder" "$id") || true
    if [[ -z $value ]] && "${keeper}_lend" "$id" "$own $((now + LOCK_SECONDS))" >/dev/null 2>&1; then
      : >"$STEP_DIR/error"
      return 0
    fi
    # Left by an earlier run of this very step (the runner allows one at a time), or by a holder that died.
    if [[ ${value% *} == "$own" ]] || { [[ -n $value ]] && ((now > ${value##* })); }; then
      lock_drop "$1" "$keeper"
      continue
    fi
    # As long as turns are taken, this one's will come.
    if [[ $value != "$before" ]]; then
      before=$value
      end=$((SECONDS + LOCK_SECONDS + 30))
    fi
    # The step's own time may end first: this is then its error.
    lock_problem "$1" "$keeper" "${value% *}" >"$STEP_DIR/error"
    # Asking costs a process; who has waited for long can wait for a second more.
    pause=0.3
    ((SECONDS - begun < 5)) || pause=1
    sleep "$pause"
  done
  fail "$(lock_problem "$1" "$keeper" "${value% *}")"
}

lock_problem() {
  local found="it held by $3; wait for the step there to end"
  [[ -n $3 ]] || found="that nobody holds it and yet it is not lent; mend the $2, then run \`pulumi up\` again"
  printf '%s\n' "wanted the $2 lock $1, found $found"
}

lock_drop() { "${2:-cluster}_take_back" "$(lock_id "$1")" >/dev/null 2>&1 || true; }

# verified SECONDS: end a step with the service's own check (its verify.sh, which the plan puts before the script).
# The same function is asked by status and by drift, which show what it prints when all is well.
verified() {
  local found
  if checking; then
    if found=$(verify 2>&1); then
      [[ -z $found ]] || printf '%s\n' "$found" >>"$STEP_DIR/facts"
    else
      unhealthy "${found:-$STEP_SERVICE is not healthy}"
    fi
  else
    wait_for "$1" "$STEP_SERVICE healthy on $STEP_HOST" verify
  fi
}

# package_version NAME: of an installed package.
package_version() { dpkg-query -W -f '${Version}' "$1" 2>/dev/null || echo none; }

# secret_version NAME: its version in the plan, for what has to be done again when it changes.
secret_version() { jq -r --arg name "$1" '.[$name] // "none"' "$STEP_DIR/secret-versions.json"; }

# sql: run SQL from standard input on this host's Galera node, as its root account (over the socket, no password).
sql() { mariadb --batch --skip-column-names --skip-print-query-on-error --connect-timeout=5 "$@"; }

# again COMMAND...: one that writes to the database and may be run twice. Galera takes back (1213) what collides with a change
# of a schema that comes from another host, and leaves it to the client to make it again. So it is where the connection was
# lost or silent for too long (2006, 2013) and where the wait for what others have written took too long (1205): all of them
# wait while a schema changes, and on a busy machine that takes its time. What asks through the virtual IP may meet a member
# that has not got the new database or account yet (1044, 1045, 1049).
again() {
  local said=$STEP_DIR/again
  for _ in {1..10}; do
    if "$@" >"$said" 2>&1; then
      cat "$said"
      return
    fi
    grep -qE 'ERROR (1205|1213|2006|2013) |\((1044|1045|1049|1205|1213|2006|2013), ' "$said" || break
    sleep "0.$((RANDOM % 9 + 1))"
  done
  cat "$said" >&2
  return 1
}

# sql_again: statements on stdin that may be made twice.
sql_again() {
  local statements
  statements=$(cat)
  again sql_statements
}
sql_statements() { sql <<<"$statements"; }

# sql_latest: a question on stdin whose answer decides something. It waits until this host has all that any member has
# committed: what the last holder of a lock has written may not have arrived here, if the machine is busy.
sql_latest() {
  local statements
  statements="SET SESSION wsrep_sync_wait = 1; $(cat)"
  again sql_statements
}

# database_ready NAME SECRET [DATABASE...]: an account with the password of the plan, and its databases; without any, the
# one of the same name.
database_ready() {
  alone_unless_checking "database-$1" ensure_database "$@"
}

alone_unless_checking() {
  local name=$1
  shift
  if checking; then "$@"; else alone_in_cluster "$name" "$@"; fi
}

ensure_database() {
  local account=$1 secret=$2 name grants=
  shift 2
  (($#)) || set -- "$account"
  ! checking || sql <<<"SELECT 1" >/dev/null 2>&1 ||
    fail "wanted to see the database of $account, found that MariaDB does not answer on $STEP_HOST"
  for name in "$@"; do
    grants+="GRANT ALL ON \`$name\`.* TO '$account'@'%';"
    if [[ $(sql_latest <<<"SELECT COUNT(*) FROM information_schema.schemata WHERE schema_name = '$name'") != 1 ]]; then
      change "database $name" sql_again <<<"CREATE DATABASE IF NOT EXISTS \`$name\` CHARACTER SET utf8mb4"
    fi
  done
  for name in "$@"; do
    database_login "$account" "$secret" "$name" || {
      change "account $account" sql_again <<<"CREATE USER IF NOT EXISTS '$account'@'%'; ALTER USER '$account'@'%' IDENTIFIED BY '$(secret "$secret")'; $grants"
      return
    }
  done
}

database_login() {
  printf '[client]\nuser=%s\npassword=%s\n' "$1" "$(secret "$2")" >"$STEP_DIR/login.cnf"
  mariadb --defaults-file="$STEP_DIR/login.cnf" --socket /run/mysqld/mysqld.sock -e 'SELECT 1' "$3" >/dev/null 2>&1
}

# units_active UNIT...: all run; or says which does not.
units_active() {
  local unit
  for unit in "$@"; do
    systemctl is-active --quiet "$unit" || {
      echo "$unit is $(systemctl is-active "$unit")"
      return 1
    }
  done
}

# answers URL [HEADER]: it says 200 within ten seconds; or says what was found.
answers() {
  local code
  code=$(curl --silent --max-time 10 --output /dev/null --write-out '%{http_code}' ${2:+--header "$2"} "$1") || true
  [[ $code == 200 ]] || {
    echo "$STEP_SERVICE on $STEP_HOST does not answer (HTTP ${code:-none} from $1)"
    return 1
  }
}

# as ACCOUNT COMMAND...: with that account's rights and nothing of root's environment.
as() {
  local account=$1
  shift
  runuser -u "$account" -- env -C / HOME="$(getent passwd "$account" | cut -d: -f6)" "$@"
}

# keystone_token IDENTITY USER SECRET PROJECT: a token for `api`, kept in a file, so that it is in no process list.
keystone_token() {
  local code
  code=$(jq -n --rawfile password "$(secret_file "$3")" --arg user "$2" --arg project "$4" '
    {auth: {identity: {methods: ["password"],
                       password: {user: {name: $user, domain: {id: "default"}, password: $password}}},
            scope: {project: {name: $project, domain: {id: "default"}}}}}' |
    curl --silent --max-time 10 --output /dev/null --dump-header "$STEP_DIR/headers" --write-out '%{http_code}' \
      --header 'Content-Type: application/json' --data @- "$1/auth/tokens") || true
  [[ $code == 201 ]] || {
    echo "Keystone issues no token for $2 (HTTP ${code:-none} from $1)"
    return 1
  }
  sed -n 's/\r$//; s/^[Xx]-[Ss]ubject-[Tt]oken: \(.*\)/header = "X-Auth-Token: \1"/p' "$STEP_DIR/headers" >"$STEP_DIR/token"
}

# api URL: what it answers, with the token of keystone_token.
api() { curl --silent --fail --max-time 20 --config "$STEP_DIR/token" "$1"; }

# seen_lately DATABASE QUERY SECONDS WHAT...: each of WHAT is in the rows `what age` of the query, and no older.
seen_lately() {
  local rows=$1 seconds=$3 what age
  rows=$(sql --database="$1" <<<"$2" 2>/dev/null) || {
    echo "the database does not answer on $STEP_HOST"
    return 1
  }
  shift 3
  for what in "$@"; do
    age=$(awk -v what="$what" '$1 == what { print $2 }' <<<"$rows" | sort -n | head -n 1)
    if [[ ! $age =~ ^-?[0-9]+$ ]]; then
      echo "$what on $STEP_HOST has not been seen yet"
      return 1
    elif ((age > seconds)); then
      echo "$what on $STEP_HOST was last seen $age s ago"
      return 1
    fi
  done
}

# bootstrapped FINGERPRINT FUNCTION DATABASE...: run FUNCTION once for the whole cluster, and again when FINGERPRINT
# changes. What was done last is kept in the same database as its result, so the two cannot part.
bootstrapped() {
  local fingerprint
  fingerprint=$(sha256sum <<<"$1" | cut -d' ' -f1)
  shift
  alone_unless_checking "bootstrap-$STEP_SERVICE" ensure_bootstrapped "$fingerprint" "$@"
}

BEGUN=begun

ensure_bootstrapped() {
  local fingerprint=$1 function=$2 found name
  shift 2
  found=$(sql_latest 2>"$STEP_DIR/asked" <<<"SELECT fingerprint FROM openstack_ha.bootstraps WHERE service = '$STEP_SERVICE'") ||
    # Neither database nor table: nobody has begun. Anything else is no answer, and what follows may empty a database.
    grep -qE '^ERROR (1049|1146) ' "$STEP_DIR/asked" ||
    fail "wanted to know whether $STEP_SERVICE is bootstrapped, found that MariaDB on $STEP_HOST does not say: $(tail -n 1 "$STEP_DIR/asked")"
  [[ $found != "$fingerprint" ]] || return 0
  if ! checking; then
    case $found in
      '') note_bootstrap "$BEGUN" ;;
      # A first one that did not end: MariaDB cannot take back half a change of a schema, and nothing is in it yet.
      "$BEGUN") for name in "$@"; do
        sql_again <<<"DROP DATABASE IF EXISTS \`$name\`; CREATE DATABASE \`$name\` CHARACTER SET utf8mb4"
        changed "emptied $name, whose schema was half made"
      done ;;
    esac
  fi
  change "bootstrapped $STEP_SERVICE" "$function"
  checking || note_bootstrap "$fingerprint"
}

note_bootstrap() {
  sql_again <<<"CREATE DATABASE IF NOT EXISTS openstack_ha;
    CREATE TABLE IF NOT EXISTS openstack_ha.bootstraps (service VARCHAR(64) PRIMARY KEY, fingerprint CHAR(64) NOT NULL);
    REPLACE INTO openstack_ha.bootstraps VALUES ('$STEP_SERVICE', '$1')"
}
