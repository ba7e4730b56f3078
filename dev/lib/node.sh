# shellcheck shell=bash
# A worker: containerd, kubelet and kube-proxy of its own, in its own namespace.

PAUSE_IMAGE=localhost/bakeoff/pause:$PAUSE_TAG

# node_reserve CPU MEMORY-MiB: what to hold back so that exactly that much remains to
# pods. All nodes share one machine, and each would offer all of it; with a fixed
# offer the bench nodes are equal, and equal from one machine to the next.
EVICTION_MIB=64
node_reserve() {
	local cores memory
	cores=$(nproc)
	memory=$(awk '/^MemTotal/ {print int($2 / 1024)}' /proc/meminfo)
	local cpu=$((cores > $1 ? cores - $1 : 0)) mib=$((memory - $2 - EVICTION_MIB))
	echo "{cpu: \"$cpu\", memory: \"$((mib > 0 ? mib : 0))Mi\"}"
}

containerd_up() { # NODE INDEX
	local node=$1
	mkdir -p "$RUN/$node"
	cni_config "$node" "$2"
	# restrict_oom_score_adj: needed where CAP_SYS_RESOURCE is missing (a container, a small VM).
	# netns_mounts_under_state_dir: so that `down` knows which namespaces are ours.
	cat >"$RUN/$node/containerd.toml" <<-EOF
		version = 2
		root = "$STATE/$node/containerd"
		state = "$RUN/$node/containerd"
		disabled_plugins = ["io.containerd.snapshotter.v1.aufs", "io.containerd.snapshotter.v1.btrfs", "io.containerd.snapshotter.v1.devmapper", "io.containerd.snapshotter.v1.zfs"]
		[grpc]
		  address = "$RUN/$node/containerd.sock"
		[plugins."io.containerd.internal.v1.opt"]
		  path = "$STATE/$node/containerd/opt"
		[plugins."io.containerd.grpc.v1.cri"]
		  sandbox_image = "$PAUSE_IMAGE"
		  restrict_oom_score_adj = true
		  netns_mounts_under_state_dir = true
		  [plugins."io.containerd.grpc.v1.cri".cni]
		    bin_dir = "/usr/lib/cni"
		    conf_dir = "$RUN/$node/cni"
		  [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
		    runtime_type = "io.containerd.runc.v2"
		    # Its default is the machine's, where the state of what \`down\` kills would stay behind.
		    [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
		      Root = "$RUN/$node/runc"
	EOF
	spawn "$node-containerd" "bakeoff-$node" containerd --config "$RUN/$node/containerd.toml" --log-level warn
}

kubelet_up() { # NODE INDEX POOL CPU MEMORY-MiB
	local node=$1 ip bin
	ip=$(node_ip "$2")
	bin=$(dirname "$("$DEV/tools" path kubelet)")
	cgroup_make "bakeoff/$node"
	mkdir -p "$STATE/$node/volumes"
	# No image is ever pulled, so the garbage collector must not remove any.
	cat >"$RUN/$node/kubelet.yaml" <<-EOF
		apiVersion: kubelet.config.k8s.io/v1beta1
		kind: KubeletConfiguration
		address: $ip
		authentication:
		  anonymous: {enabled: false}
		  webhook: {enabled: true}
		  x509: {clientCAFile: $PKI/ca.crt}
		authorization: {mode: Webhook}
		tlsCertFile: $PKI/$node.crt
		tlsPrivateKeyFile: $PKI/$node.key
		containerRuntimeEndpoint: unix://$RUN/$node/containerd.sock
		cgroupDriver: cgroupfs
		cgroupRoot: /bakeoff/$node
		failCgroupV1: false
		failSwapOn: false
		oomScoreAdj: 0
		clusterDomain: cluster.local
		clusterDNS: [$DNS_IP]
		resolvConf: ""
		podLogsDir: $STATE/$node/pod-logs
		volumePluginDir: $STATE/$node/volume-plugins
		kubeReserved: $(node_reserve "$4" "$5")
		enforceNodeAllocatable: [pods]
		evictionHard: {memory.available: ${EVICTION_MIB}Mi, nodefs.available: 1%, imagefs.available: 1%, nodefs.inodesFree: 1%, imagefs.inodesFree: 1%}
		imageGCHighThresholdPercent: 100
		imageGCLowThresholdPercent: 99
	EOF
	cat >"$RUN/$node/kube-proxy.yaml" <<-EOF
		apiVersion: kubeproxy.config.k8s.io/v1alpha1
		kind: KubeProxyConfiguration
		mode: nftables
		clientConnection: {kubeconfig: $STATE/kube-proxy.kubeconfig}
		hostnameOverride: $node
		clusterCIDR: $POD_CIDR
		detectLocalMode: ClusterCIDR
		oomScoreAdj: 0
		# 0: leave the machine's connection tracking as it is.
		conntrack: {maxPerCore: 0, min: 0, tcpEstablishedTimeout: 0s, tcpCloseWaitTimeout: 0s}
	EOF
	# Begun again when it ends, as a service manager would: the kubelets of one machine take the socket for device plugins, whose path is
	# fixed, from each other, and one of two that do so at once ends.
	# --containerd tells the built-in cAdvisor which containerd to ask for names; it has no other setting.
	# shellcheck disable=SC2016 # The inner shell expands it.
	spawn "$node-kubelet" "bakeoff-$node" bash -c 'until "$0" "$@"; do sleep 1; done' "$bin/kubelet" --config="$RUN/$node/kubelet.yaml" \
		--kubeconfig="$STATE/$node/kubeconfig" --root-dir="$STATE/$node/kubelet" \
		--hostname-override="$node" --node-ip="$ip" --node-labels="bakeoff.dev/pool=$3" \
		--containerd="$RUN/$node/containerd.sock"
	spawn "$node-kube-proxy" "bakeoff-$node" "$bin/kube-proxy" --config="$RUN/$node/kube-proxy.yaml"
}

node_ctr() { ctr --address "$RUN/$1/containerd.sock" --namespace k8s.io "${@:2}"; }

# What a power cut leaves of a node: its disk.
node_down() { # NODE
	kill_in "bakeoff/$1" "bakeoff/daemons/$1-containerd" "bakeoff/daemons/$1-kubelet" "bakeoff/daemons/$1-kube-proxy"
	unmount_below "$RUN/$1" "$STATE/$1/kubelet"
	rm -rf --one-file-system "${RUN:?}/$1"
}

# What a node leaves that does not come back: nothing.
node_away() { # NODE
	local daemon
	node_down "$1"
	ip netns delete "bakeoff-$1"
	for daemon in containerd kubelet kube-proxy; do sed -i "/^$1-$daemon$/d" "$STATE/daemons"; done
	sed -i "/^$1$/d" "$STATE/nodes"
	unmount_below "$STATE/$1"
	rm -rf --one-file-system "${STATE:?}/$1"
}
