"""Fifty experiments, each for a pool of its own, one a line. Called by `bench/run operator`."""

import json

items = [{"apiVersion": "bakeoff.dev/v1alpha1", "kind": "Experiment", "metadata": {"name": f"live-{n:02}"},
          "spec": {"backends": [{"name": "minio", "minio": {"version": "RELEASE.2025-09-07T16-13-09Z"}},
                                {"name": "seaweedfs", "seaweedfs": {"version": "4.48"}}],
                   "equipment": {"nodeSelector": {"bakeoff.dev/fake-pool": f"{n:02}"}},
                   "workloads": [{"name": "consistency", "consistency": {}}]}} for n in range(50)]
print("\n".join(json.dumps(item) for item in items))
