"""Asks Apache Otava about the histories of bench/series.rs, night by night, as somebody would who runs it after each night.

An alarm of Otava is a change point for the worse that no earlier night had within two nights of it, in any of the four metrics, with
the settings that it has by default. Reads the lines of bench/series.rs from standard input.
"""

import collections
import json
import sys

from otava.analysis import compute_change_points

# The rule of spec.series has minChangePercent 1 in these histories.
MIN_MAGNITUDE = 0.01
# Otava wants some points before it says anything.
FIRST = 5
NEAR = 2


def alarms(values):
    """The nights on which Otava tells something new."""
    known = [[] for _ in values[0]]
    told = []
    for night in range(FIRST, len(values) + 1):
        news = False
        for metric, before in enumerate(known):
            series = [one[metric] for one in values[:night]]
            found, _ = compute_change_points(series, min_magnitude=MIN_MAGNITUDE)
            for point in found:
                worse = point.stats.mean_2 > point.stats.mean_1
                if worse and all(abs(point.index - other) > NEAR for other in before):
                    before.append(point.index)
                    news = True
        if news:
            told.append(night - 1)
    return told


def main():
    groups = collections.defaultdict(list)
    for line in sys.stdin:
        history = json.loads(line)
        groups[history["name"]].append((history, alarms(history["values"])))
        print(".", end="", file=sys.stderr, flush=True)
    print(file=sys.stderr)
    row = "{:38} {:>10} {:>10} {:>10} {:>10} {:>14}"
    print(row.format("histories", "runs", "ours", "Otava", "", "confirmations"))
    for name, all_of_it in groups.items():
        step = all_of_it[0][0]["step"]
        nights = sum(len(history["values"]) for history, _ in all_of_it)
        confirmations = sum(history["confirmations"] for history, _ in all_of_it)
        if step is None:
            years = nights / 365
            ours = sum(len(history["alarms"]) for history, _ in all_of_it) / years
            theirs = sum(len(told) for _, told in all_of_it) / years
            print(row.format(name, nights, f"{ours:.2f}", f"{theirs:.2f}", "a year", confirmations))
            continue
        for label, last in (("at the first look", step), ("within a week", step + 6)):
            count = lambda nights: sum(any(step <= night <= last for night in told) for told in nights)
            ours = count([history["alarms"] for history, _ in all_of_it])
            theirs = count([told for _, told in all_of_it])
            of = f"of {len(all_of_it)}"
            print(row.format(f"{name}, {label}"[:60], nights, ours, theirs, of, confirmations))
        early = lambda nights: sum(any(night < step for night in told) for told in nights)
        ours = early([history["alarms"] for history, _ in all_of_it])
        print(row.format("  alarms before the step", nights, ours, early([told for _, told in all_of_it]), "", ""))


main()
