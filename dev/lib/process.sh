# shellcheck shell=bash
# Daemons, and the cgroups that keep track of them.
#
# Everything that the cluster starts, its pods included, lives below the cgroup
# /bakeoff. So "all processes of ours" is a question to the kernel: pid files
# would miss the pods of a killed run, and could name a stranger after pids wrap.

if [[ -e /sys/fs/cgroup/cgroup.controllers ]]; then # v2: one hierarchy
	HIERARCHIES=(/sys/fs/cgroup)
	TRACK=(/sys/fs/cgroup)
else # v1: one per controller (and an empty v2 one, where runc makes directories too)
	HIERARCHIES=()
	for h in /sys/fs/cgroup/*; do
		[[ ! -d $h || -L $h ]] || HIERARCHIES+=("$h")
	done
	# Daemons leave their starter's memory cgroup too: it may have a limit.
	TRACK=(/sys/fs/cgroup/freezer /sys/fs/cgroup/memory)
fi

# cgroup_make PATH: in every hierarchy; a kubelet does not make its own root.
cgroup_make() {
	local h dir part
	for h in "${HIERARCHIES[@]}"; do
		dir=$h
		for part in ${1//\// }; do
			if [[ -e $dir/cgroup.subtree_control ]]; then
				local controller
				for controller in cpu cpuset memory io pids; do
					echo "+$controller" >"$dir/cgroup.subtree_control" 2>/dev/null || true
				done
			fi
			mkdir -p "$dir/$part"
			if [[ -e $dir/cpuset.mems && ! -e $dir/cgroup.controllers ]]; then # v1 starts empty, which admits no process
				cat "$dir/cpuset.cpus" >"$dir/$part/cpuset.cpus"
				cat "$dir/cpuset.mems" >"$dir/$part/cpuset.mems"
			fi
			dir+=/$part
		done
	done
}

# cgroup_weigh PATH CPUS: beside whatever else the machine does, its processes count as that many.
cgroup_weigh() {
	local h
	for h in "${HIERARCHIES[@]}"; do
		[[ ! -e $h/$1/cpu.shares ]] || echo $((1024 * $2)) >"$h/$1/cpu.shares"
		[[ ! -e $h/$1/cpu.weight ]] || echo $((100 * $2)) >"$h/$1/cpu.weight"
	done
}

# pids_in PATH: processes in that cgroup and below.
pids_in() { find "${TRACK[0]}/$1" -name cgroup.procs -exec cat {} + 2>/dev/null || true; }

# spawn NAME NETNS COMMAND…: start a daemon; its output goes to the log named after it.
# nsenter and not `ip netns exec`: that one remounts /sys, and kubelet then finds no cgroups.
spawn() {
	local name=$1 netns=$2 h
	shift 2
	[[ $netns == host ]] || set -- nsenter --net="/run/netns/$netns" -- "$@"
	for h in "${TRACK[@]}"; do mkdir -p "$h/bakeoff/daemons/$name"; done
	# A node that is started again is there already.
	grep -qsx "$name" "$STATE/daemons" || echo "$name" >>"$STATE/daemons"
	(
		for h in "${TRACK[@]}"; do echo "$BASHPID" >"$h/bakeoff/daemons/$name/cgroup.procs"; done
		cd /
		# 9 is the lock of dev/cluster: a daemon that inherits it would hold it for good.
		exec setsid "$@" >>"$STATE/log/$name.log" 2>&1 </dev/null 9>&-
	) &
}

# daemons_alive: every daemon that was started still runs.
daemons_alive() {
	local name
	[[ -s $STATE/daemons ]] || return 1
	while read -r name; do
		[[ -n $(pids_in "bakeoff/daemons/$name") ]] || { echo "$name does not run" && return 1; }
	done <"$STATE/daemons"
}

# kill_in CGROUP…: end every process in them and below. Nothing is stopped gently: no signal but SIGKILL is certain.
kill_in() {
	local pids pid cgroup tries=0
	while pids=$(for cgroup; do pids_in "$cgroup"; done) && [[ -n $pids ]]; do
		((tries++ < 150)) || die "these processes do not die: $(tr '\n' ' ' <<<"$pids")"
		for pid in $pids; do kill -KILL "$pid" 2>/dev/null || true; done
		sleep 0.1
	done
}

# unmount_below PATH…: deepest first. Lazily: a dead container's mount may still be held for a moment.
unmount_below() {
	local path paths
	paths=$(printf '%s|' "$@")
	awk '{print $5}' /proc/self/mountinfo | { grep -E "^(${paths%|})/" || true; } | sort -r |
		while read -r path; do umount -l "$path" 2>/dev/null || true; done
}

# wipe: remove whatever an earlier run left, in whatever state that is.
wipe() {
	local path h tries
	kill_in bakeoff
	unmount_below "$RUN" "$STATE"

	# Every veth, bridge, route and nftables table of ours is inside one of these.
	for path in /run/netns/bakeoff-*; do
		[[ ! -e $path ]] || ip netns delete "${path##*/}"
	done

	for h in "${HIERARCHIES[@]}"; do
		tries=0
		while [[ -d $h/bakeoff ]]; do
			find "$h/bakeoff" -depth -type d -exec rmdir {} + 2>/dev/null || true
			((tries++ < 100)) || die "cannot remove cgroup $h/bakeoff"
			[[ ! -d $h/bakeoff ]] || sleep 0.1
		done
	done

	# Paths that kubelet and the CNI library do not let one move.
	if [[ -d /var/log/containers ]]; then
		find /var/log/containers -lname "$STATE/*" -delete
		rmdir --ignore-fail-on-non-empty /var/log/containers
	fi
	if [[ -d /var/lib/cni/results ]]; then
		{ grep -lsZ "$RUN/" -r /var/lib/cni/results || true; } | xargs -0 -r rm -f
		rmdir --ignore-fail-on-non-empty /var/lib/cni/results
		rmdir --ignore-fail-on-non-empty /var/lib/cni 2>/dev/null || true
	fi

	sysctls_restore
	rm -rf --one-file-system "$RUN" "$STATE"
}

# Kubelet sets these for the whole machine; `down` puts back what was there.
SYSCTLS=(vm.overcommit_memory vm.panic_on_oom kernel.panic kernel.panic_on_oops kernel.keys.root_maxkeys kernel.keys.root_maxbytes)
sysctls_save() {
	local key
	for key in "${SYSCTLS[@]}"; do
		[[ ! -e /proc/sys/${key//.//} ]] || echo "$key $(cat "/proc/sys/${key//.//}")"
	done >"$STATE/sysctls"
}
sysctls_restore() {
	local key value
	[[ -e $STATE/sysctls ]] || return 0
	while read -r key value; do echo "$value" >"/proc/sys/${key//.//}"; done <"$STATE/sysctls"
}
