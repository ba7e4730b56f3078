"""How many experiments are in which state, from their list in JSON on standard input. Called by `bench/run operator`.
"""

import collections
import json
import sys

states = collections.Counter()
for e in json.load(sys.stdin)["items"]:
    reasons = [c["reason"] for c in e.get("status", {}).get("conditions", []) if c["type"] == "Succeeded"]
    states[(e["metadata"]["name"].split("-")[0], reasons[0] if reasons else "none")] += 1
print("experiments:", ", ".join(f"{n} {kind} {reason}" for (kind, reason), n in sorted(states.items())))
