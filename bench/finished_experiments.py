"""A thousand suspended experiments, to be marked as finished, as a list for kubectl. Called by `bench/run operator`."""

import json

spec = {"suspend": True, "backends": [{"name": "minio", "minio": {"version": "RELEASE.2025-09-07T16-13-09Z"}}],
        "workloads": [{"name": "consistency", "consistency": {}}]}
items = [{"apiVersion": "bakeoff.dev/v1alpha1", "kind": "Experiment", "metadata": {"name": f"done-{n:04}"}, "spec": spec} for n in range(1000)]
print(json.dumps({"apiVersion": "v1", "kind": "List", "items": items}))
