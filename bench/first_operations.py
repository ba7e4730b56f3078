"""How long experiments took until they measured, from their list in JSON on standard input. Called by `bench/run operator`.
"""

import json
import sys
from datetime import datetime


def parse(text):
    head = text.rstrip("Z").split(".")
    return datetime.fromisoformat(head[0] + "+00:00").timestamp() + (float("0." + head[1]) if len(head) > 1 else 0)


for e in json.load(sys.stdin)["items"]:
    s = e.get("status", {})
    first = (s.get("progress") or {}).get("firstOperationTime")
    if first:
        wait = parse(first) - parse(e["metadata"]["creationTimestamp"])
        print(e["metadata"]["name"] + f": {wait:.0f} s from apply to the first measured operation")
