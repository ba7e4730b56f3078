"""What loading and observing a Postgres server cost. Called by `bench/run postgres`.

Loading: the COPY of `loadgen` beside `psql \\copy` of the same rows into the same table, interleaved. Observing: the
processor time of the server's process that answers the samples, once a second, as a share of that of all of the server's
processes over the same time, while a load runs at 2,000/s. Processor time is /proc/PID/schedstat.
"""

import argparse
import glob
import json
import os
import shutil
import statistics
import subprocess
import threading
import time

import generator


def processor_time(pid):
    try:
        return int(open(f"/proc/{pid}/schedstat").read().split()[0])
    except (FileNotFoundError, ProcessLookupError):
        return None


class Postgres(generator.Bench):
    def psql(self, sql):
        command = [self.args.psql, "-Atq", "-h", "127.0.0.1", "-p", str(self.real), "-U", "bench", "-d", "postgres"]
        return subprocess.run(command, input=sql, text=True, check=True, capture_output=True).stdout.strip()

    def head(self, load, seconds, rows):
        """One trial; answers its record."""
        out, file = f"{self.dir}/out-head", f"{self.dir}/head.json"
        spec = {"activeRuns": [rows], "fillfactor": [90], "load": load}
        trials = {"blocks": 1, "warmupSeconds": 1, "windowSeconds": seconds, "drainSeconds": 5}
        validity = {"maxSendLagP99Microseconds": 10_000_000, "maxGeneratorCpuPerMille": 1000, "repeatBudget": 0}
        with open(file, "w") as to:
            json.dump({"workloads": [{"name": "head", "headRow": spec}], "trials": trials, "validity": validity}, to)
        shutil.rmtree(out, ignore_errors=True)
        keys = {"AWS_ACCESS_KEY_ID": "bench", "AWS_SECRET_ACCESS_KEY": "bench"}
        subprocess.run([self.args.loadgen, "run", "-f", file, "--endpoint", f"target=postgres://127.0.0.1:{self.real}", "--out", out],
                       env={**os.environ, **keys}, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        return json.load(open(glob.glob(out + "/trials/*/*/trial.json")[0]))

    def loading(self, rows):
        ours = self.head({"closed": {"concurrency": [1]}}, 1, rows)["figures"]["loadRowsPerSecond"]
        file = f"{self.dir}/rows.tsv"
        self.psql(f"\\copy bakeoff.runs TO '{file}'")
        self.psql("CREATE TABLE bakeoff.again (LIKE bakeoff.runs INCLUDING ALL) WITH (fillfactor = 90); "
                  "DROP TABLE bakeoff.runs; ALTER TABLE bakeoff.again RENAME TO runs; CHECKPOINT")
        began = time.monotonic()
        self.psql(f"\\copy bakeoff.runs FROM '{file}'")
        took = time.monotonic() - began
        count = int(self.psql("SELECT count(*) FROM bakeoff.runs"))
        os.remove(file)
        return ours, count / took

    def observing(self, seconds):
        """(observer's share of a core, its share of the server's processor time)."""
        looks, done = [], threading.Event()
        postmaster = next(child.pid for child in self.children if "bin/postgres" in child.args[0])
        find = "SELECT pid FROM pg_stat_activity WHERE application_name = 'bakeoff' AND query LIKE 'SELECT t.table_bytes%' LIMIT 1"

        def look():
            while not done.wait(0.5):
                pid = self.psql(find)
                if not pid:
                    continue
                pids = [int(p) for p in subprocess.run(["pgrep", "-P", str(postmaster)], capture_output=True, text=True).stdout.split()]
                every = {p: processor_time(p) for p in pids}
                looks.append((time.monotonic(), int(pid), processor_time(int(pid)), every))

        watcher = threading.Thread(target=look)
        watcher.start()
        self.head({"open": {"ratePerSecond": [2000], "maxInFlight": 16}}, seconds, 100_000)
        done.set()
        watcher.join()
        if len(looks) < 10:
            raise SystemExit(f"the observer was seen {len(looks)} times only")
        same = [entry for entry in looks if entry[1] == looks[len(looks) // 2][1] and entry[2] is not None]
        first, last = same[1], same[-1]
        took, used = last[0] - first[0], last[2] - first[2]
        # Connections come and go meanwhile: each counts with what it had used when it was seen last.
        seen = {p: time for look in same[1:] for p, time in look[3].items() if time is not None}
        whole = sum(time - (first[3].get(p) or 0) for p, time in seen.items())
        return used / 1e9 / took * 100, used / whole * 100


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    for name in ("loadgen", "postgres", "psql"):
        parser.add_argument(f"--{name}", required=True)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--rows", type=int, default=1_000_000)
    args = parser.parse_args()
    bench = Postgres(args)
    try:
        bench.real = bench.postgres()
        time.sleep(1)
        loads = [bench.loading(args.rows) for _ in range(args.rounds)]
        looks = [bench.observing(20) for _ in range(args.rounds)]
    finally:
        bench.close()
    ours, peers = [a for a, _ in loads], [b for _, b in loads]
    ratios = [a / b for a, b in loads]
    shown = generator.shown
    print(f"loading {args.rows} rows, rows/s: loadgen {shown(ours, 0)}, psql \\copy {shown(peers, 0)}")
    print(f"    ratio {shown(ratios, 2)}   " + generator.goal(">= 0.8", statistics.median(ratios) >= 0.8))
    share = [b for _, b in looks]
    print(f"observing once a second: {shown([a for a, _ in looks], 2)} % of a core, {shown(share, 2)} % of the server's processor time at 2,000/s   "
          + generator.goal("< 1 %", statistics.median(share) < 1))


if __name__ == "__main__":
    main()
