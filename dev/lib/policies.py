#!/usr/bin/env python3
"""Enforces the NetworkPolicies of a cluster, by nftables in the network namespaces of its nodes.

    policies.py KUBECTL KUBECONFIG NODE=NETNS...

Pods, namespaces and policies are watched; whenever they change, each node gets a table with a chain for each of its pods that a policy
selects. What comes in is looked at where it arrives, what goes out where it leaves, both behind kube-proxy: by the addresses of pods and not
of Services. Answers pass. What kubelet asks of a pod never is forwarded, and so never is looked at. IPv4; a new pod is open for as long as it
takes to see it, some hundred milliseconds.
"""

import ipaddress
import json
import subprocess
import sys
import threading
import time

KUBECTL, KUBECONFIG = sys.argv[1:3]
NODES = dict(entry.split("=", 1) for entry in sys.argv[3:])
TABLE = "bakeoff_policies"
KINDS = {
    "pods": "/api/v1/pods",
    "namespaces": "/api/v1/namespaces",
    "policies": "/apis/networking.k8s.io/v1/networkpolicies",
}
world = {kind: {} for kind in KINDS}
lock, changed = threading.Lock(), threading.Event()


def watch(kind, path):
    """Keeps what there is of a kind, for ever."""
    query = "watch=true&allowWatchBookmarks=true&sendInitialEvents=true&resourceVersionMatch=NotOlderThan"
    while True:
        command = [KUBECTL, "--kubeconfig", KUBECONFIG, "get", "--raw", f"{path}?{query}"]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
            # What was there stays in force until all that is there is known again.
            fresh = {}
            for line in process.stdout:
                event = json.loads(line)
                thing, what = event["object"], event["type"]
                meta = thing.get("metadata", {})
                if what == "BOOKMARK":
                    if "k8s.io/initial-events-end" in meta.get("annotations", {}):
                        with lock:
                            world[kind], fresh = fresh, None
                        changed.set()
                    continue
                if what == "ERROR":
                    break
                key = (meta.get("namespace"), meta["name"])
                with lock:
                    of = world[kind] if fresh is None else fresh
                    if what == "DELETED":
                        of.pop(key, None)
                    else:
                        of[key] = thing
                if fresh is None:
                    changed.set()
            process.kill()
        time.sleep(0.5)


def matches(selector, labels):
    """Whether labels are those of a selector; an empty one selects all."""
    if any(labels.get(key) != value for key, value in selector.get("matchLabels", {}).items()):
        return False
    for need in selector.get("matchExpressions", []):
        key, values = need["key"], need.get("values", [])
        holds = {
            "In": labels.get(key) in values,
            "NotIn": labels.get(key) not in values,
            "Exists": key in labels,
            "DoesNotExist": key not in labels,
        }[need["operator"]]
        if not holds:
            return False
    return True


def labels(thing):
    return thing["metadata"].get("labels", {})


class Pod:
    def __init__(self, thing):
        spec, status = thing["spec"], thing.get("status", {})
        self.namespace, self.labels = thing["metadata"]["namespace"], labels(thing)
        self.node, self.address = spec.get("nodeName"), status.get("podIP")
        ended = status.get("phase") in ("Succeeded", "Failed")
        self.counts = bool(self.address) and not spec.get("hostNetwork") and not ended and "." in self.address
        containers = spec.get("containers", []) + spec.get("initContainers", [])
        self.ports = {
            (port["name"], port.get("protocol", "TCP")): port["containerPort"]
            for container in containers for port in container.get("ports", []) if "name" in port
        }


def peer_pods(peer, namespace, pods, namespaces):
    if "namespaceSelector" in peer:
        where = {name for name, thing in namespaces.items() if matches(peer["namespaceSelector"], labels(thing))}
    else:
        where = {namespace}
    return [pod for pod in pods if pod.namespace in where and matches(peer.get("podSelector", {}), pod.labels)]


def port_match(ports, target):
    """The parts of rules that hold a port: one for each, `['']` for all. Names are those of the pod that is asked."""
    if not ports:
        return [""]
    found = []
    for port in ports:
        protocol = port.get("protocol", "TCP").lower()
        number = port.get("port")
        if isinstance(number, str):
            number = target.ports.get((number, port.get("protocol", "TCP"))) if target else None
            if number is None:
                continue
        if number is None:
            found.append(f"meta l4proto {protocol}")
        else:
            last = f"-{port['endPort']}" if "endPort" in port else ""
            found.append(f"{protocol} dport {number}{last}")
    return found


def lines_of(rule, pod, inward, namespace, pods, namespaces):
    """What a rule lets in or out of a pod, as rules of nftables that return."""
    side = "saddr" if inward else "daddr"
    peers = rule.get("from" if inward else "to")
    ports = rule.get("ports")
    if not peers:
        return [f"{match} return".strip() for match in port_match(ports, pod if inward else None)]
    lines = []
    for peer in peers:
        if "ipBlock" in peer:
            block = peer["ipBlock"]
            if ipaddress.ip_network(block["cidr"], strict=False).version != 4:
                continue
            but = ", ".join(block.get("except", []))
            where = f"ip {side} {block['cidr']}" + (f" ip {side} != {{ {but} }}" if but else "")
            lines += [f"{where} {match} return" for match in port_match(ports, pod if inward else None)]
            continue
        for other in peer_pods(peer, namespace, pods, namespaces):
            target = pod if inward else other
            lines += [f"ip {side} {other.address} {match} return" for match in port_match(ports, target)]
    return lines


def tables():
    """The table of each node."""
    with lock:
        pods = [Pod(thing) for thing in world["pods"].values()]
        namespaces = {name: thing for (_, name), thing in world["namespaces"].items()}
        policies = list(world["policies"].values())
    pods = [pod for pod in pods if pod.counts]
    heads, chains = {node: [] for node in NODES}, {node: [] for node in NODES}
    for pod in sorted(pods, key=lambda pod: pod.address):
        if pod.node not in NODES:
            continue
        for inward, kind in ((True, "Ingress"), (False, "Egress")):
            lines, isolated = [], False
            for policy in policies:
                spec, namespace = policy["spec"], policy["metadata"]["namespace"]
                kinds = spec.get("policyTypes", ["Ingress"])
                if namespace != pod.namespace or kind not in kinds or not matches(spec.get("podSelector", {}), pod.labels):
                    continue
                isolated = True
                for rule in spec.get(kind.lower(), []):
                    lines += lines_of(rule, pod, inward, namespace, pods, namespaces)
            if isolated:
                name = f"{kind.lower()}_{pod.address.replace('.', '_')}"
                heads[pod.node].append(f"ip {'daddr' if inward else 'saddr'} {pod.address} jump {name}")
                body = "\n    ".join([*dict.fromkeys(lines), "counter drop"])
                chains[pod.node].append(f"  chain {name} {{\n    {body}\n  }}")
    for node in NODES:
        head = "\n    ".join(["type filter hook forward priority 0; policy accept;", "ct state established,related accept", *heads[node]])
        rules = "\n".join([*chains[node], f"  chain forward {{\n    {head}\n  }}"])
        yield node, f"table inet {TABLE}\ndelete table inet {TABLE}\ntable inet {TABLE} {{\n{rules}\n}}\n"


def main():
    for kind, path in KINDS.items():
        threading.Thread(target=watch, args=(kind, path), daemon=True).start()
    in_force = {}
    while True:
        changed.wait()
        # What comes together is done together.
        time.sleep(0.05)
        changed.clear()
        for node, table in tables():
            if in_force.get(node) == table:
                continue
            command = ["nsenter", f"--net=/run/netns/{NODES[node]}", "nft", "-f", "-"]
            ended = subprocess.run(command, input=table, text=True, capture_output=True)
            if ended.returncode == 0:
                in_force[node] = table
            else:
                # A node that is off has no namespace; it gets its rules when something changes after it is back.
                print(f"{node}: {ended.stderr.strip()}\n{table}", flush=True)
                in_force.pop(node, None)


main()
