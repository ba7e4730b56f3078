# shellcheck shell=bash
# Paths, settings and small helpers. Sourced by every script in dev/.

DEV=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.." && pwd)
# shellcheck source=versions.env
source "$DEV/versions.env"

# A runner may start us with next to no environment; cargo and go want these.
export HOME=${HOME:-$(getent passwd "$(id -u)" | cut -d: -f6)}
export PATH=$PATH:$HOME/.cargo/bin:/usr/local/go/bin

CACHE=${BAKEOFF_CACHE:-$HOME/.cache/bakeoff} # built binaries and images: kept
RUN=/run/bakeoff                             # sockets, CNI and daemon config: removed by `down`
STATE=/var/lib/bakeoff                       # etcd, volumes, container layers, logs: removed by `down`
LOCK=/run/lock/bakeoff.lock

# export so that a child script (tools, images) agrees with its caller.
export BAKEOFF_CACHE=$CACHE

if [[ -t 2 ]]; then BOLD=$'\e[1m' RED=$'\e[31m' PLAIN=$'\e[0m'; else BOLD='' RED='' PLAIN=''; fi

say() { printf '%s==>%s %s\n' "$BOLD" "$PLAIN" "$*" >&2; }
warn() { printf '%swarning:%s %s\n' "$RED" "$PLAIN" "$*" >&2; }
# A script that ends at a command which failed without a word says at which.
failed_at() {
	local code=$?
	if [[ $- == *e* && $1 != return* ]]; then warn "$2: line $3: '$1' ended with $code"; fi
	return 0
}
set -E
trap 'failed_at "$BASH_COMMAND" "${BASH_SOURCE[0]}" "$LINENO"' ERR
die() {
	printf '%serror:%s %s\n' "$RED" "$PLAIN" "$*" >&2
	exit 1
}

need_root() { ((EUID == 0)) || die "run this as root: it makes network namespaces and cgroups"; }

# program PLACE NAME: that of the machine for a foreign cluster, the pinned one for the local one.
program() {
	if [[ $1 != local ]] && command -v "$2" >/dev/null; then
		command -v "$2"
	else
		"$DEV/tools" path "$2"
	fi
}

kind_is_up() { kind get clusters 2>/dev/null | grep -x bakeoff >/dev/null; }

# wait_until SECONDS WHAT COMMAND…: poll until COMMAND succeeds.
wait_until() {
	local deadline=$((SECONDS + $1)) what=$2
	shift 2
	until "$@" >/dev/null 2>&1; do
		((SECONDS < deadline)) || die "gave up waiting for $what; logs are in $STATE/log"
		sleep 0.2
	done
}

# ensure_packages PATH=PACKAGE…: install the Debian packages whose file is missing.
# Files and not package names are asked for: a machine with Docker has a containerd
# of its own, which Debian's package would replace.
ensure_packages() {
	local pair missing=()
	for pair; do [[ -e ${pair%%=*} ]] || missing+=("${pair#*=}"); done
	((${#missing[@]})) || return 0
	command -v apt-get >/dev/null || die "please install: ${missing[*]}"
	need_root
	say "installing Debian packages: ${missing[*]}"
	# Installing containerd would start its service. The cluster runs daemons of
	# its own, so forbid that while apt runs (unless the machine already does).
	local policy=/usr/sbin/policy-rc.d ours=
	if [[ ! -e $policy ]]; then
		printf '#!/bin/sh\nexit 101\n' >"$policy"
		chmod +x "$policy"
		ours=yes
	fi
	mkdir -p "$CACHE"
	local ok=yes
	{ apt-get update -q && DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends "${missing[@]}"; } \
		>"$CACHE/apt.log" 2>&1 </dev/null || ok=
	[[ -z $ours ]] || rm -f "$policy"
	[[ $ok ]] || die "apt-get failed, see $CACHE/apt.log"
}

# hash_of PATH…: one short hash over names and contents.
hash_of() {
	find "$@" -type f -print0 | sort -z | xargs -0 sha256sum | sed "s#  $DEV/#  #" | sha256sum | cut -c1-12
}

# Where the operator and the generator lie once compile_release has run.
release_dir() { echo "${CARGO_TARGET_DIR:-$(dirname "$DEV")/target}/release"; }

# The two programs, always both in one go: alone, each would ask for other features of the libraries they share, and
# compile those again.
compile_release() {
	say "compiling the operator and the generator with cargo (release; $(compiled && echo 'what has changed' || echo 'about 8 minutes on two cores, the first time only'))"
	(cd "$(dirname "$DEV")" && cargo build --release --locked -p bakeoff-operator -p bakeoff-loadgen --bin operator --bin loadgen >&2)
}
compiled() { [[ -x $(release_dir)/operator && -x $(release_dir)/loadgen ]]; }

# python_with PACKAGE…: the Python of an environment that has them (as pip is told), made unless it is there. One that was cut off is made anew.
python_with() {
	local folder
	folder=$({ printf '%s ' "$@" && if [[ $1 == -r ]]; then cat "$2"; fi; } | sha256sum) || return
	folder=$CACHE/tools/python-${folder:0:12}
	if [[ ! -f $folder/whole ]]; then
		ensure_packages /usr/share/doc/python3-venv=python3-venv >&2 || return
		rm -rf "$folder"
		{ python3 -m venv "$folder" && "$folder/bin/pip" install -q --disable-pip-version-check "$@" && touch "$folder/whole"; } >&2 || return
	fi
	echo "$folder/bin/python"
}

# Whether tests are to use Garage: where it was built before, or is asked for. It takes as long as all other programs together.
with_garage() { [[ ${BAKEOFF_WITH_GARAGE:-} == 1 ]] || "$DEV/tools" built garage >/dev/null; }
