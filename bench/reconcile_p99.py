"""The 99th percentile of the operator's reconciles since the metrics in a file were taken. Called by `bench/run operator`.

usage: reconcile_p99.py FILE < METRICS
"""

import re
import sys


def rows(text):
    return [(float(b.replace("+Inf", "inf")), float(n)) for b, n in re.findall(r"bakeoff_reconcile_duration_seconds_bucket\{le=\"([^\"]+)\"\} (\S+)", text)]


before = dict(rows(open(sys.argv[1]).read()))
rows = [(b, n - before.get(b, 0)) for b, n in rows(sys.stdin.read())]
total = rows[-1][1] if rows else 0
print(next((f"at most {b * 1000:g} ms of {total:g} reconciles" for b, n in rows if total and n >= 0.99 * total), "none yet"))
