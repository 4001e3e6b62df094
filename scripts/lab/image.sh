# shellcheck shell=bash
# Images: a base root, and per role one overlay layer on it. Both are named by the hash of all that decides their
# content, built aside and renamed into place, so an image is either whole or absent.
#
#   images/base/<key>/root           mmdebstrap
#   images/<role>/<key>/layer        overlay upper of the role's steps
#   images/<role>/<key>/base         key of the base below it
#   images/<role>/current            -> <key>

# Raise it when this code makes another image from the same spec.
IMAGE_FORMAT=2

ALLOWED_UNITS=(systemd-networkd.service systemd-networkd.socket ssh.service dbus.service dbus.socket)

verb_image() {
  need_root
  read_spec
  local role suite runner vars started base key dir
  vars=$(spec_vars '
    def text($k): .[$k] | if type == "string" and . != "" then . else error("\($k): wanted a text, found \(tojson); give it") end;
    (.base // []) as $base
    | if ($base | type) != "array" or any($base[]; type != "string" or (test("^[a-z0-9][a-z0-9+.-]*$") | not))
      then error("base: wanted a list of package names, found \($base | tojson); fix the list") else . end
    | if any((.steps // [])[]; (.name | type) != "string" or (.stdin | type) != "string")
      then error("steps: wanted {name, stdin} in each; fix the list") else . end
    | @sh "role=\(text("role")) suite=\(text("suite")) runner=\(.runner | text("path"))"')
  eval "$vars"
  [[ $role =~ ^[a-z][a-z0-9-]*$ && $role != base ]] || die "role: wanted a-z, 0-9 and '-' (and not 'base'), found '$role'; rename it"
  [[ $runner == /* ]] || die "runner.path: wanted an absolute path, found '$runner'; fix the spec"
  check_path 'cache folder' "$CACHE" OPENSTACK_HA_CACHE
  mkdir -p "$CACHE"/{images,logs,apt/archives}
  started=$(now_ms)

  base=$(jq -cS --arg f "$IMAGE_FORMAT" --arg arch "$(dpkg --print-architecture)" \
    '{format: $f, arch: $arch, suite, base: (.base // [] | sort)}' <<<"$SPEC" | hash_key)
  # Without the runner: it is how a layer is baked, not what is in it, and a host is given its own.
  key=$(jq -cS --arg base "$base" '. + {base: $base} | del(.runner.install, .timeoutSeconds)' <<<"$SPEC" | hash_key)
  dir=$CACHE/images/$role/$key

  if [[ -e $dir/base && -e $CACHE/images/base/$base/root && $(readlink "$CACHE/images/$role/current") == "$key" ]]; then
    echo unchanged
    return
  fi
  image_base "$base" "$suite"
  lock_dir "$CACHE/images/$role" 2100 "image $role"
  local did=updated
  if [[ ! -e $dir/base ]]; then
    image_role "$role" "$key" "$base" "$runner"
    did=created
  elif [[ $(readlink "$CACHE/images/$role/current") == "$key" ]]; then
    did=unchanged
  fi
  ln -sfn "$key" "$CACHE/images/$role/.current"
  mv -fT "$CACHE/images/$role/.current" "$CACHE/images/$role/current"
  unlock
  if [[ $did == unchanged ]]; then echo unchanged; else echo "$did: image $role $key ($(seconds_since "$started") s)"; fi
}

hash_key() { sha256sum | cut -c1-16; }

# image_sources SUITE: apt lines of the machine's own Debian mirror(s), for SUITE; third-party sources are left out.
image_sources() {
  local site codename suite=$1 main='' found
  if [[ -n ${OPENSTACK_HA_MIRROR:-} ]]; then
    printf 'deb %s %s main\n' "$OPENSTACK_HA_MIRROR" "$suite"
    return
  fi
  found=$(apt-get indextargets --format '$(SITE) $(CODENAME)' 'Created-By: Packages' 'Origin: Debian' | sort -u)
  if [[ -z $found ]]; then
    # A fresh machine has no package lists yet, and without them apt does not know where its sources lead.
    apt-get update -qq >/dev/null 2>&1 || true
    found=$(apt-get indextargets --format '$(SITE) $(CODENAME)' 'Created-By: Packages' 'Origin: Debian' | sort -u)
  fi
  while read -r site codename; do
    case $codename in
      '' | *-backports*) continue ;;
      *-security) codename=$suite-security ;;
      *-updates) codename=$suite-updates ;;
      *) codename=$suite ;;
    esac
    if site_serves "$site" "$codename"; then
      printf 'deb %s %s main\n' "$site" "$codename"
      [[ $codename != "$suite" ]] || main=$site
    fi
  done <<<"$found"
  [[ -n $main ]] ||
    die "apt mirror: wanted one among this machine's apt sources that serves $suite, found none; add it, or set OPENSTACK_HA_MIRROR"
}

site_serves() {
  local to
  to=$(mktemp)
  chmod 666 "$to"
  local rc=0
  timeout 60 /usr/lib/apt/apt-helper download-file "$1/dists/$2/InRelease" "$to" >/dev/null 2>&1 || rc=1
  rm -f "$to"
  return $rc
}

# begin_build FOLDER: removes what a killed build left, and sets BUILD, removed when we end early.
begin_build() {
  rm -rf --one-file-system "$1"/.build.*
  BUILD=$(mktemp -d "$1/.build.XXXXXX")
  chmod 755 "$BUILD"
  CHILD=
  trap end_build EXIT
  trap 'exit 130' INT TERM HUP
}

# finish_build TARGET
finish_build() {
  mv -T "$BUILD" "$1"
  trap - EXIT INT TERM HUP
}

end_build() {
  # Our own child, not waited for yet, so the number is still its own.
  [[ -z $CHILD ]] || { kill -KILL "$CHILD" && wait "$CHILD"; } 2>/dev/null || true
  rm -rf --one-file-system "$BUILD"
}

# logged WHAT LOG SECONDS [OPTION...] -- COMMAND...: runs the command with mounts and a process tree of its own, so
# that whatever it started dies with it, and it with us. Output goes to the log; every 10 s a line says where we are.
logged() {
  local what=$1 log=$2 limit=$3 rc=0 line start next=10
  shift 3
  start=$SECONDS
  unshare --mount --propagation slave --pid --fork --kill-child "$@" >>"$log" 2>&1 </dev/null &
  CHILD=$!
  while kill -0 "$CHILD" 2>/dev/null; do
    sleep 0.2
    if ((SECONDS - start >= next)); then
      next=$((next + 10))
      line=$(tail -c 400 "$log" | tr '\r' '\n' | grep -v '^ *$' | tail -n 1) || line=
      [[ $line != '## '* ]] || line=
      say "$what: $((SECONDS - start)) s, $(heading "$log")${line:+: ${line:0:80}}"
    fi
    if ((SECONDS - start >= limit)); then
      kill -KILL "$CHILD"
      wait "$CHILD" 2>/dev/null || true
      CHILD=
      die "$what: wanted it baked within $limit s, found it still at '$(heading "$log")'; see $log, or raise timeoutSeconds"
    fi
  done
  wait "$CHILD" || rc=$?
  CHILD=
  ((rc != 0)) || return 0
  line=$(grep -E '^(E:|error:|dpkg: error)' "$log" | tail -n 1) || line=$(grep -v '^## ' "$log" | tail -n 1) || true
  die "$what: wanted '$(heading "$log")' to succeed, found exit code $rc: $line; see $log"
}

heading() { sed -n 's/^## //p' "$1" | tail -n 1; }

image_base() {
  local sources key=$1 suite=$2 dir=$CACHE/images/base/$1 log=$CACHE/logs/image-base-$1.log packages arg
  [[ ! -e $dir/root ]] || return 0
  lock_dir "$CACHE/images/base" 1300 'image base'
  if [[ -e $dir/root ]]; then
    unlock
    return
  fi
  sources=$(image_sources "$suite")
  mapfile -t sources <<<"$sources"
  packages=$(jq -r '["systemd", "systemd-sysv", "dbus", "openssh-server", "iproute2", "netbase"] + (.base // []) | unique | join(",")' <<<"$SPEC")
  begin_build "$CACHE/images/base"
  printf '## mmdebstrap\n' >"$log"
  local command=(mmdebstrap --quiet --mode=root --variant=minbase --format=directory "--include=$packages"
    --keyring=/usr/share/keyrings/debian-archive-keyring.gpg
    --aptopt='Acquire::Languages "none"' --aptopt='Acquire::Retries "3"'
    --dpkgopt=force-unsafe-io "--setup-hook=$HERE/base-hook.sh setup \"\$1\"" "--customize-hook=$HERE/base-hook.sh customize \"\$1\"")
  for arg in doc man locale info lintian; do command+=("--dpkgopt=path-exclude=/usr/share/$arg/*"); done
  logged 'image base' "$log" 1200 --mount-proc -- \
    env ALLOWED_UNITS="${ALLOWED_UNITS[*]}" "${command[@]}" "$suite" "$BUILD/root" "${sources[@]}"
  jq -cS . <<<"$SPEC" >"$BUILD/spec.json"
  finish_build "$dir"
  unlock
}

image_role() {
  local role=$1 key=$2 base=$3 runner=$4 log=$CACHE/logs/image-$1-$2.log count
  begin_build "$CACHE/images/$role"
  mkdir -p "$BUILD"/{layer,work,root,archives,lists,steps}
  : >"$log"
  image_sources "$(jq -r .suite <<<"$SPEC")" >"$BUILD/sources.list"
  apt-config dump --format '%F "%v";%n' Acquire::http::Proxy Acquire::https::Proxy >"$BUILD/proxy.conf"
  jq -j '.runner.content // ""' <<<"$SPEC" >"$BUILD/runner"
  jq -j '.runner.install // ""' <<<"$SPEC" >"$BUILD/install"
  count=$(jq '.steps // [] | length' <<<"$SPEC")
  local i
  for ((i = 0; i < count; i++)); do
    jq -j ".steps[$i].stdin" <<<"$SPEC" >"$BUILD/steps/$i"
    jq -r ".steps[$i].name" <<<"$SPEC" >"$BUILD/steps/$i.name"
  done
  # Hard links: each bake has an archive folder of its own (apt locks it), and none downloads a package twice.
  find "$CACHE/apt/archives" -name '*.deb' -exec ln -t "$BUILD/archives" {} +
  logged "image $role" "$log" "$(jq -r '.timeoutSeconds // 1800' <<<"$SPEC")" -- \
    env ALLOWED_UNITS="${ALLOWED_UNITS[*]}" bash "$HERE/bake.sh" "$BUILD" "$CACHE/images/base/$base/root" "$runner" "$count"
  find "$BUILD/archives" -maxdepth 1 -name '*.deb' -links 1 -exec ln -f -t "$CACHE/apt/archives" {} +
  rm -rf "$BUILD"/{work,root,archives,lists,steps,sources.list,proxy.conf,runner}
  jq -cS . <<<"$SPEC" >"$BUILD/spec.json"
  printf '%s\n' "$base" >"$BUILD/base"
  finish_build "$CACHE/images/$role/$key"
}

# prune: layers that are neither a role's current image nor below a host of a lab, and bases without a layer.
verb_prune() {
  need_root
  local dir role base used=() gone=0
  mapfile -t used < <(cat "$STATE"/labs/*/hosts/*/lower 2>/dev/null | tr ':' '\n' | sort -u)
  for dir in "$CACHE"/images/*/*/; do
    dir=${dir%/}
    role=${dir%/*}
    [[ ! -L $dir && -e $dir/base && $(readlink "$role/current") != "${dir##*/}" ]] || continue
    in_list "$dir/layer" "${used[@]}" || prune_one "$dir"
  done
  for dir in "$CACHE"/images/base/*/; do
    dir=${dir%/}
    base=${dir##*/}
    [[ -e $dir/root ]] || continue
    in_list "$dir/root" "${used[@]}" || grep -qsx "$base" "$CACHE"/images/*/*/base || prune_one "$dir"
  done
  if ((gone)); then echo "deleted: $gone image layers"; else echo unchanged; fi
}

in_list() {
  local item=$1 x
  shift
  for x in "$@"; do [[ $x != "$item" ]] || return 0; done
  return 1
}

prune_one() {
  lock_dir "${1%/*}" 60 'prune'
  mv -T "$1" "${1%/*}/.build.prune.$$"
  unlock
  rm -rf --one-file-system "${1%/*}/.build.prune.$$"
  gone=$((gone + 1))
}
