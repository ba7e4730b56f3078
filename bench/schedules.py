"""A thousand schedules, fifty of which are due at one minute, as a list for kubectl; or how late their runs were made.

usage: schedules.py make MINUTE HOUR | schedules.py late < EXPERIMENTS
"""

import datetime
import json
import sys

SCHEDULES, DUE = 1_000, 50


def make(minute, hour):
    def one(number):
        due = f"{minute} {hour} * * *" if number < DUE else "0 0 1 1 *"
        spec = {
            "backends": [{"name": "minio", "minio": {"version": "RELEASE.2025-09-07T16-13-09Z"}}],
            "equipment": {"nodeSelector": {"bakeoff.dev/fake-pool": f"none-{number}"}},
            "workloads": [{"name": "consistency", "consistency": {}}],
        }
        return {"apiVersion": "bakeoff.dev/v1alpha1", "kind": "ExperimentSchedule", "metadata": {"name": f"s-{number:04}"},
                "spec": {"schedule": due, "template": {"spec": spec}}}

    return {"apiVersion": "v1", "kind": "List", "items": [one(number) for number in range(SCHEDULES)]}


def late(experiments):
    seconds = []
    for experiment in experiments["items"]:
        metadata = experiment["metadata"]
        due = metadata.get("annotations", {}).get("bakeoff.dev/scheduled-for")
        if due:
            instant = lambda text: datetime.datetime.fromisoformat(text.replace("Z", "+00:00"))
            seconds.append(int((instant(metadata["creationTimestamp"]) - instant(due)).total_seconds()))
    seconds.sort()
    if not seconds:
        return "no run was made"
    return f"{len(seconds)} runs, made {seconds[len(seconds) // 2]} s after they were due in the median and {seconds[-1]} s at most (whole seconds)"


if sys.argv[1] == "make":
    print(json.dumps(make(int(sys.argv[2]), int(sys.argv[3]))))
else:
    print(late(json.load(sys.stdin)))
