"""The executable of a target, from what cargo says in JSON on standard input. Called by `bench/run generator`.

usage: executable.py TARGET
"""

import json
import sys

target = sys.argv[1]
print([a["executable"] for a in map(json.loads, sys.stdin) if a.get("executable") and a["target"]["name"] == target][0])
