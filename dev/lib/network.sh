# shellcheck shell=bash
# One network namespace for the control plane and one per node, joined by a bridge
# that lives in the former. The host's own namespace is never touched.
#
#   198.18.0.1        control plane          (198.18.0.0/15 is reserved for benchmarks)
#   198.18.0.11 …     nodes
#   198.18.65.0/24 …  pods, one range per node
#   198.19.0.0/20     Services

CP=bakeoff-cp
CP_IP=198.18.0.1
POD_CIDR=198.18.64.0/18
SERVICE_CIDR=198.19.0.0/20
DNS_IP=198.19.0.10

node_ip() { echo "198.18.0.$((10 + $1))"; }
node_pods() { echo "198.18.$((64 + $1)).0/24"; }

in_netns() { nsenter --net="/run/netns/$1" -- "${@:2}"; }

network_up() {
	ip netns add "$CP"
	in_netns "$CP" ip link set lo up
	in_netns "$CP" ip link add br0 type bridge
	in_netns "$CP" ip addr add "$CP_IP/24" dev br0
	in_netns "$CP" ip link set br0 up
}

# node_network_up NODE INDEX: joins it to the control plane and to the nodes that stand in $STATE/nodes.
node_network_up() {
	local node=$1 peer i=0
	ip netns add "bakeoff-$node"
	in_netns "$CP" ip link add "$node" type veth peer name eth0 netns "bakeoff-$node"
	in_netns "$CP" ip link set "$node" master br0 up
	in_netns "bakeoff-$node" ip link set lo up
	in_netns "bakeoff-$node" ip addr add "$(node_ip "$2")/24" dev eth0
	in_netns "bakeoff-$node" ip link set eth0 up
	# /proc/sys/net shows the namespace of whoever opens it.
	in_netns "bakeoff-$node" sh -c 'echo 1 >/proc/sys/net/ipv4/ip_forward'
	# Replaced, since a node of this name may have gone before.
	in_netns "$CP" ip route replace "$(node_pods "$2")" via "$(node_ip "$2")"
	while read -r peer; do
		((i += 1))
		[[ $peer != "$node" && -e /run/netns/bakeoff-$peer ]] || continue
		in_netns "bakeoff-$peer" ip route replace "$(node_pods "$2")" via "$(node_ip "$2")"
		in_netns "bakeoff-$node" ip route replace "$(node_pods $i)" via "$(node_ip $i)"
	done <"$STATE/nodes"
}

# cni_config NODE INDEX. ptp and not bridge: with a route per pod, packets between two
# pods of one node always pass the node's nftables, so Services work without the
# br_netfilter module.
cni_config() {
	mkdir -p "$RUN/$1/cni"
	cat >"$RUN/$1/cni/10-bakeoff.conflist" <<-EOF
		{
		  "cniVersion": "1.0.0",
		  "name": "bakeoff-$1",
		  "plugins": [{
		    "type": "ptp",
		    "ipMasq": false,
		    "ipam": {
		      "type": "host-local",
		      "dataDir": "$STATE/$1/ipam",
		      "ranges": [[{"subnet": "$(node_pods "$2")"}]],
		      "routes": [{"dst": "0.0.0.0/0"}]
		    }
		  }]
		}
	EOF
}

# What a CNI plugin with policies does elsewhere.
policies_up() {
	local node places=()
	while read -r node; do places+=("$node=bakeoff-$node"); done <"$STATE/nodes"
	kill_in bakeoff/daemons/policies
	# Of the machine and not of an environment: it outlives the shell that starts it.
	spawn policies host /usr/bin/python3 -B "$DEV/lib/policies.py" "$("$DEV/tools" path kubectl)" "$KUBECONFIG_FILE" "${places[@]}"
}
