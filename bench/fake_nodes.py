"""Fifty nodes that only kwok keeps alive, each a pool of its own, as a list for kubectl. Called by `bench/run operator`.
"""

import json

facts = {"capacity": {"cpu": "8", "memory": "32Gi", "pods": "110", "ephemeral-storage": "100Gi"},
         "allocatable": {"cpu": "8", "memory": "32Gi", "pods": "110", "ephemeral-storage": "100Gi"}}
nodes = [{"apiVersion": "v1", "kind": "Node",
          "metadata": {"name": f"fake-{n:02}", "labels": {"kubernetes.io/os": "linux", "bakeoff.dev/bench": "fake", "bakeoff.dev/fake-pool": f"{n:02}"}},
          "status": facts} for n in range(50)]
print(json.dumps({"apiVersion": "v1", "kind": "List", "items": nodes}))
