"""What the generator costs, beside pgbench, and whether the two agree. Called by `bench/run generator`.

Every round measures every row once, so that a slow minute of the machine falls on all of them. A row is the median
of the rounds with the smallest and the largest; a ratio is the median of the ratios within the rounds. CPU is that of
the client process, all threads, user and system. `loadgen` runs as users run it: `loadgen run` with all it records and
checks, and its CPU is that of the window; pgbench's is that of its whole life (it has no preparation here).
"""

import argparse
import base64
import contextlib
import ctypes
import glob
import json
import math
import os
import re
import resource
import shutil
import signal
import statistics
import struct
import subprocess
import sys
import tempfile
import time
import zlib

CONNECTIONS = 16
RUNS = 100_000
STATE_BYTES = 100
RATE = 2_000
CLOSED = {"closed": {"concurrency": [CONNECTIONS]}}
POISSON = {"open": {"ratePerSecond": [RATE], "arrivals": "Poisson", "maxInFlight": CONNECTIONS}}
LAG_RATE = 5_000
GET = {"name": "get", "coldRead": {"objectsPerRun": [2000], "modes": ["ListPrefix"], "getConcurrency": CONNECTIONS}}
NULL_S3, WEED = "http://127.0.0.1:19999", "http://127.0.0.1:18333"

# Like the table of the workload headRow, and updated by the same statement.
TABLE = """
CREATE SCHEMA IF NOT EXISTS bakeoff; DROP TABLE IF EXISTS bakeoff.peer;
CREATE TABLE bakeoff.peer (run_id bigint PRIMARY KEY, seq integer NOT NULL, state smallint NOT NULL,
  created_at timestamptz NOT NULL, updated_at timestamptz NOT NULL, payload bytea NOT NULL) WITH (fillfactor = 90);
ALTER TABLE bakeoff.peer ALTER COLUMN payload SET STORAGE PLAIN;
INSERT INTO bakeoff.peer SELECT n, 0, 0, now(), now(), decode(repeat('07', %d), 'hex') FROM generate_series(0, %d) n;
VACUUM (ANALYZE, FREEZE) bakeoff.peer; CHECKPOINT;
""" % (STATE_BYTES, RUNS - 1)

# Each client moves its own rows, in an order that looks random, and knows their seq: every compare-and-swap hits.
EACH = RUNS // CONNECTIONS
SCRIPT = r"""
\set run :client_id + %d * ((:n * 7919) %% %d)
\set seq :n / %d
\set n :n + 1
UPDATE bakeoff.peer SET seq = seq + 1, state = :state, updated_at = now(), payload = :payload WHERE run_id = :run AND seq = :seq;
""" % (CONNECTIONS, EACH, EACH)


def percentile(values, share):
    """The nearest-rank percentile of sorted values."""
    return values[max(0, min(len(values) - 1, int(share * len(values) + 0.5) - 1))] if values else 0


def floor(rate, seconds):
    """How late this machine wakes a thread that does nothing else: what no send lag can be below. Absolute sleeps without slack."""
    libc = ctypes.CDLL(None)
    libc.prctl(29, 1, 0, 0, 0)  # PR_SET_TIMERSLACK, nanoseconds
    at, late = ctypes.create_string_buffer(16), []
    planned = time.monotonic_ns() + 1_000_000
    for _ in range(int(rate * seconds)):
        planned += 1_000_000_000 // rate
        struct.pack_into("qq", at, 0, planned // 1_000_000_000, planned % 1_000_000_000)
        libc.clock_nanosleep(1, 1, at, None)  # CLOCK_MONOTONIC, TIMER_ABSTIME
        late.append((time.monotonic_ns() - planned) / 1_000)
    return sorted(late)


def histogram(encoded):
    """(value, count) of an HDR histogram in V2 deflate form with three digits."""
    raw = base64.b64decode(encoded)
    body = zlib.decompress(raw[8:])
    length, unit = struct.unpack(">i", body[4:8])[0], struct.unpack(">q", body[16:24])[0]
    assert unit == 1, "microseconds"
    at, index, found = 40, 0, []
    while at < 40 + length:
        shift = word = 0
        while True:
            byte = body[at]
            at += 1
            word |= (byte if shift == 56 else byte & 0x7F) << shift
            shift += 7
            if byte < 0x80 or shift > 56:
                break
        count = (word >> 1) ^ -(word & 1)
        if count < 0:
            index += -count
            continue
        if count:
            bucket, sub = (index >> 10) - 1, (index & 1023) + 1024
            found.append((sub << bucket if bucket >= 0 else index, count))
        index += 1
    return found


def quantile(encoded, share):
    if not encoded:
        return 0
    found = histogram(encoded)
    need = share * sum(count for _, count in found)
    for value, count in found:
        need -= count
        if need <= 0:
            return value
    return found[-1][0]


def signal_tree(pid, what):
    """Signals a process and those that it started."""
    for child in subprocess.run(["pgrep", "-P", str(pid)], capture_output=True, text=True).stdout.split():
        signal_tree(int(child), what)
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, what)


class Bench:
    def __init__(self, args):
        self.args = args
        self.dir = tempfile.mkdtemp(prefix="bakeoff-bench-")
        os.chmod(self.dir, 0o755)
        self.children = []
        self.names = {}
        self.number = 0
        # The servers go, too, when the bench is told to end.
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))

    # Servers.

    def spawn(self, name, command, **options):
        log = open(f"{self.dir}/{name}.log", "w")
        child = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, **options)
        self.children.append(child)
        self.names[child] = name
        return child

    @contextlib.contextmanager
    def alone_with(self, name):
        """Stops the other servers meanwhile: idle ones wake up, too, and what they were left with is still to be written."""
        others = [child for child in self.children if self.names[child] != name]
        for child in others:
            signal_tree(child.pid, signal.SIGSTOP)
        try:
            yield
        finally:
            for child in others:
                signal_tree(child.pid, signal.SIGCONT)

    def postgres(self):
        home, data, port = f"{self.dir}/postgres", f"{self.dir}/data", 15432
        # It refuses to run as root, and others may not look into root's home.
        shutil.copytree(self.args.postgres, home, symlinks=True)
        as_nobody = {}
        if os.getuid() == 0:
            as_nobody = {"user": "nobody", "group": "nogroup", "extra_groups": []}
            os.mkdir(data)
            shutil.chown(data, "nobody", "nogroup")
        subprocess.run([f"{home}/bin/initdb", "-D", data, "-U", "bench", "--auth=trust", "--no-sync", "--encoding=UTF8",
                        "--locale=C"], check=True, stdout=subprocess.DEVNULL, env={"TZ": "UTC"}, **as_nobody)
        settings = ["fsync=off", "full_page_writes=off", "autovacuum=off", "shared_buffers=512MB", "max_wal_size=8GB",
                    "checkpoint_timeout=1h", f"port={port}", "listen_addresses=127.0.0.1", f"unix_socket_directories={data}"]
        self.spawn("postgres", [f"{home}/bin/postgres", "-D", data] + [word for s in settings for word in ("-c", s)],
                   env={"TZ": "UTC"}, **as_nobody)
        self.wait_port(port)
        return port

    def wait_port(self, port):
        import socket
        for _ in range(300):
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    return
            time.sleep(0.1)
        sys.exit(f"nothing answers on port {port}; logs were in {self.dir}")

    def servers(self):
        self.real = self.postgres()
        self.spawn("null-postgres", [self.args.loadgen, "null-postgres", "--listen", "127.0.0.1:19998"])
        # Stops as a whole for 100 ms every 10 s.
        self.spawn("stalling", [self.args.loadgen, "null-postgres", "--listen", "127.0.0.1:19997", "--stall-millis", "100"])
        self.spawn("null-s3", [self.args.loadgen, "null-s3", "--listen", "127.0.0.1:19999", "--objects", "2000"])
        weed = f"{self.dir}/weed"
        os.mkdir(weed)
        self.spawn("weed", [self.args.weed, "server", f"-dir={weed}", "-ip=127.0.0.1", "-ip.bind=127.0.0.1", "-master.port=19333",
                            "-volume.port=19080", "-filer", "-filer.port=19888", "-s3", "-s3.port=18333", "-s3.port.iceberg=0",
                            "-s3.port.lance=0", "-s3.iam=false", "-master.telemetry=false", "-master.volumeSizeLimitMB=256",
                            "-volume.max=50"])
        for port in (19997, 19998, 19999, 18333):
            self.wait_port(port)
        time.sleep(3)

    def close(self):
        for child in self.children:
            child.send_signal(signal.SIGINT)
        for child in self.children:
            try:
                child.wait(20)
            except subprocess.TimeoutExpired:
                child.kill()
        shutil.rmtree(self.dir, ignore_errors=True)

    # Clients.

    def loadgen(self, endpoint, workload, kind, unprivileged=False, seconds=None):
        self.number += 1
        out, file = f"{self.dir}/out-{self.number}", f"{self.dir}/work.json"
        trials = {"blocks": 1, "warmupSeconds": 1, "windowSeconds": seconds or self.args.seconds, "drainSeconds": 5}
        # Every trial counts here, also one in which the generator used its whole core, as it shall.
        validity = {"maxGeneratorCpuPerMille": 1000, "maxSendLagP99Microseconds": 1_000_000, "repeatBudget": 0}
        with open(file, "w") as to:
            json.dump({"workloads": [workload], "trials": trials, "validity": validity}, to)
        command = [self.args.loadgen, "run", "-f", file, "--endpoint", f"target={endpoint}", "--create-bucket", "--out", out]
        if unprivileged:
            command = ["setpriv", "--bounding-set=-sys_nice", "--inh-caps=-sys_nice"] + command
        keys = {"AWS_ACCESS_KEY_ID": "bench", "AWS_SECRET_ACCESS_KEY": "benchbench"}
        records = out + "/trials/*/*/trial.json"
        with open(f"{self.dir}/run.log", "w") as log:
            run = subprocess.Popen(command, env={**os.environ, **keys}, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
            # A server that keeps nothing lists the same objects for ever, and to remove them takes until that is given up.
            while run.poll() is None and not (endpoint == NULL_S3 and glob.glob(records)):
                time.sleep(0.1)
            run.kill()
            run.wait()
        found = glob.glob(records)
        if len(found) != 1:
            sys.exit(f"no result of {endpoint}:\n" + open(f"{self.dir}/run.log").read())
        record = json.load(open(found[0]))
        manifest = json.load(open(out + "/manifest.json"))
        operation = record["operations"][kind]
        done = operation["count"]
        if record["load"]["failed"] or not done:
            sys.exit(f"failures on {endpoint}: {json.dumps(record['load'])}\n" + open(f"{self.dir}/run.log").read())
        result = {
            "rate": done / (record["window"]["micros"] / 1e6),
            "cpu": sum(g["cpuMicros"] for g in record["generators"]) / done,
            "p50": quantile(operation["response"], 0.5), "p99": quantile(operation["response"], 0.99),
            "lag50": quantile(operation["sendLag"], 0.5), "lag99": quantile(operation["sendLag"], 0.99),
            "lag999": quantile(operation["sendLag"], 0.999),
            "service99": quantile(operation["service"], 0.99),
            "resident": max(g["residentBytes"] for g in record["generators"]) / 1024 / 1024,
            "operations": done, "realTime": manifest["generator"]["realTimePacer"],
        }
        if kind == "operation":
            result["updates"] = record["operations"]["transition"]["count"] / done
            result["missed"] = sum(check["violations"] for check in record["checks"])
        shutil.rmtree(out)
        return result

    def head_row(self, port, load, seconds=None):
        spec = {"activeRuns": [RUNS], "fillfactor": [90], "stateBytes": STATE_BYTES, "sleeperPercent": 0,
                "minTransitions": 1000, "maxTransitions": 1000, "load": load}
        return self.loadgen(f"postgres://127.0.0.1:{port}", {"name": "update", "headRow": spec}, "operation",
                            seconds=seconds)

    def pgbench(self, port, threads, *options, seconds=None):
        if port == self.real:
            subprocess.run([self.args.psql, "-q", "-h", "127.0.0.1", "-p", str(port), "-U", "bench", "-d", "postgres"],
                           input=TABLE, text=True, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        with open(f"{self.dir}/update.sql", "w") as to:
            to.write(SCRIPT)
        command = [self.args.pgbench, "-n", "-M", "prepared", "-c", str(CONNECTIONS), "-j", str(threads), "-T",
                   str((seconds or self.args.seconds) + 1), "-f", f"{self.dir}/update.sql", "-D", "n=0", "-D", "state=3",
                   "-D", "payload=\\x" + "07" * STATE_BYTES, "-h", "127.0.0.1", "-p", str(port), "-U", "bench", *options, "postgres"]
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        ran = subprocess.run(command, capture_output=True, text=True, stdin=subprocess.DEVNULL, cwd=self.dir)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        done = re.search(r"transactions actually processed: (\d+)", ran.stdout)
        if ran.returncode or not done or int(done[1]) == 0:
            sys.exit("pgbench: " + ran.stdout + ran.stderr)
        done = int(done[1])
        if port == self.real:
            hit = subprocess.run([self.args.psql, "-Atq", "-h", "127.0.0.1", "-p", str(port), "-U", "bench", "-d", "postgres",
                                  "-c", "SELECT sum(seq) FROM bakeoff.peer"], capture_output=True, text=True, check=True).stdout
            if int(hit) != done:
                sys.exit(f"pgbench says {done} updates, and {hit.strip()} rows were hit")
        used = (after.ru_utime + after.ru_stime) - (before.ru_utime + before.ru_stime)
        tps = float(re.search(r"tps = ([\d.]+) \(without", ran.stdout)[1])
        return {"rate": tps, "cpu": used * 1e6 / done}

    def pgbench_open(self, port, seconds=None):
        result = self.pgbench(port, 2, "-R", str(RATE), "-l", "--log-prefix", "log", seconds=seconds)
        rows = []
        for path in glob.glob(f"{self.dir}/log.*"):
            rows += [line.split() for line in open(path)]
            os.remove(path)
        ended = [float(row[4]) + float(row[5]) / 1e6 for row in rows]
        window = [row for row, at in zip(rows, ended) if at >= min(ended) + 1]
        latency, lag = sorted(int(row[2]) for row in window), sorted(int(row[6]) for row in window)
        result.update(p50=percentile(latency, 0.5), p99=percentile(latency, 0.99), lag50=percentile(lag, 0.5),
                      lag99=percentile(lag, 0.99))
        return result

    def opened(self, first, seconds=None):
        """The same rate by both, the one right after the other, with nothing beside them but the server."""
        ours = lambda: self.head_row(self.real, POISSON, seconds)
        theirs = lambda: self.pgbench_open(self.real, seconds)
        with self.alone_with("postgres"):
            if first == "loadgen":
                return {"open loadgen": ours(), "open pgbench": theirs()}
            return {"open pgbench": theirs(), "open loadgen": ours()}

    def recording(self):
        said = subprocess.run(self.args.record, capture_output=True, text=True, check=True, stdin=subprocess.DEVNULL).stdout
        found = {line.rsplit(None, 2)[0].strip(): float(line.rsplit(None, 2)[1]) for line in said.splitlines() if line.endswith(" ns")}
        return {"closed": found["one operation, closed load"], "open": found["one operation, open load, with service and lags"]}

    def stall(self):
        """Twenty seconds with two stalls; it takes long and hardly varies, so it is measured once for each call."""
        return self.head_row(19997, POISSON, seconds=20)

    def lags(self, endpoint, put):
        """How late operations are sent, and how late this machine is by itself, with nothing beside it but the target."""
        with self.alone_with("null-s3"):
            late = floor(LAG_RATE, 2)
            return {
                "floor": {"lag50": percentile(late, 0.5), "lag99": percentile(late, 0.99)},
                "lag": self.loadgen(endpoint, put, "put", unprivileged=True),
                "lag real-time": self.loadgen(endpoint, put, "put"),
            }

    # A round.

    def requests(self):
        """What a PUT and a GET cost, and in the same minute what an UPDATE costs pgbench."""
        return {
            "update pgbench": self.pgbench(self.real, 2),
            "null put": self.loadgen(NULL_S3, put(CLOSED), "put"),
            "null get": self.loadgen(NULL_S3, GET, "get"),
            "weed put": self.loadgen(WEED, put(CLOSED), "put"),
            "weed get": self.loadgen(WEED, GET, "get"),
        }

    def beside(self, number):
        """The same with this program and with another one, in turns: which comes first changes from round to round."""
        at = {"open": {"ratePerSecond": [LAG_RATE], "arrivals": "Poisson", "maxInFlight": 64}}
        both = [("this", self.args.loadgen), ("other", self.args.beside)]
        found = {}
        for name, program in both if number % 2 else both[::-1]:
            self.args.loadgen = program
            found[name] = {
                "PUT": self.loadgen(NULL_S3, put(CLOSED), "put"),
                "GET": self.loadgen(NULL_S3, GET, "get"),
                "UPDATE": self.head_row(19998, CLOSED),
                "PUT at a rate": self.loadgen(NULL_S3, put(at), "put"),
            }
        self.args.loadgen = both[0][1]
        return found

    def round(self):
        at = lambda rate: {"open": {"ratePerSecond": [rate], "arrivals": "Poisson", "maxInFlight": 64}}
        return {
            "update loadgen": self.head_row(self.real, CLOSED),
            **self.requests(),
            "update pgbench 1": self.pgbench(self.real, 1),
            "null update loadgen": self.head_row(19998, CLOSED),
            "null update pgbench": self.pgbench(19998, 2),
            "null update pgbench 1": self.pgbench(19998, 1),
            **self.opened(first="loadgen"),
            **self.lags(NULL_S3, put(at(LAG_RATE))),
            "memory": self.loadgen(NULL_S3, put(at(4_000)), "put"),
            "memory 4": self.loadgen(NULL_S3, put(at(16_000)), "put"),
            "record": self.recording(),
        }


def put(load):
    return {"name": "put", "smallObjectPut": {"objectSize": ["4Ki"], "load": load}}


def shown(found, digits=1):
    return f"{statistics.median(found):.{digits}f} ({min(found):.{digits}f}-{max(found):.{digits}f})"


def goal(what, met):
    return f"goal {what}: {'met' if met else 'MISSED'}"


def interval(values):
    """Two of the values that enclose their true median in at least 95 of 100 cases, whatever they are distributed like
    (the sign test turned round); nothing for fewer than six."""
    n, found = len(values), None
    for k in range(n // 2):
        outside = 2 * sum(math.comb(n, i) for i in range(k + 1)) / 2**n
        if outside <= 0.05:
            found = sorted(values)[k], sorted(values)[n - 1 - k]
    return found


def shown_within(ratios):
    """Ratios with the interval of their median, where there is one."""
    within = interval(ratios)
    return shown(ratios, 2) + (f", 95 % {within[0]:.2f}-{within[1]:.2f}" if within else "")


def agreement(rounds):
    """Whether both clients see the same latency at the same rate."""
    def values(row, figure):
        return [one[row][figure] for one in rounds]

    print(f"\nlatency from the plan at {RATE}/s, us:")
    for row in ("loadgen", "pgbench"):
        found = [f"{figure} {shown(values('open ' + row, key), 0)}" for figure, key in
                 [("p50", "p50"), ("p99", "p99"), ("send lag p50", "lag50"), ("send lag p99", "lag99")]]
        print(f"    {row:8} " + "   ".join(found))
    for figure in ("p50", "p99"):
        found = [one["open loadgen"][figure] / one["open pgbench"][figure] for one in rounds]
        later = statistics.median(values("open pgbench", "lag" + figure[1:])) - statistics.median(values("open loadgen", "lag" + figure[1:]))
        within = interval(found)
        if not within:
            verdict = "no verdict: an interval takes six rounds"
        elif within[0] >= 1 / 1.15 and within[1] <= 1.15:
            verdict = "goal within 15 %: met"
        elif within[1] <= 1.15:
            verdict = goal(f"within 15 %, or lower with the send lag to explain it (pgbench sends {later:.0f} us later)", later > 0)
        elif within[0] > 1.15:
            verdict = "goal within 15 %: MISSED"
        else:
            verdict = "no verdict: the interval reaches beyond 15 %"
        print(f"{'    ' + figure + ', loadgen to pgbench':52} {shown_within(found):>24}   {verdict}")


ROWS = [
    ("update loadgen", "UPDATE, 16 connections, Postgres: loadgen"),
    ("update pgbench", "UPDATE, 16 connections, Postgres: pgbench -j 2"),
    ("update pgbench 1", "    pgbench -j 1"),
    ("null update loadgen", "UPDATE, 16 connections, null Postgres: loadgen"),
    ("null update pgbench", "    pgbench -j 2"),
    ("null update pgbench 1", "    pgbench -j 1"),
    ("open loadgen", f"UPDATE, {RATE}/s Poisson, Postgres: loadgen"),
    ("open pgbench", f"    pgbench -j 2 -R {RATE}"),
    ("null put", "PUT 4 KiB, 16 connections, null S3: loadgen"),
    ("null get", "GET 4 KiB, 16 connections, null S3: loadgen"),
    ("weed put", "PUT 4 KiB, 16 connections, SeaweedFS: loadgen"),
    ("weed get", "GET 4 KiB, 16 connections, SeaweedFS: loadgen"),
]
RATIOS = [
    ("UPDATE, Postgres, to pgbench -j 2", "update loadgen", "update pgbench", 1.05, "<= 1.0 (noise 5 %; stretch 0.9)"),
    ("UPDATE, Postgres, to pgbench -j 1", "update loadgen", "update pgbench 1", None, ""),
    ("UPDATE, null Postgres, to pgbench -j 2", "null update loadgen", "null update pgbench", None, ""),
    ("UPDATE, null Postgres, to pgbench -j 1", "null update loadgen", "null update pgbench 1", None, ""),
    (f"UPDATE at {RATE}/s, to pgbench -R", "open loadgen", "open pgbench", 1.15, "<= 1.15"),
    ("PUT, null S3, to pgbench's UPDATE", "null put", "update pgbench", 1.5, "<= 1.5"),
    ("GET, null S3, to pgbench's UPDATE", "null get", "update pgbench", 1.5, "<= 1.5"),
    ("PUT, SeaweedFS, to pgbench's UPDATE", "weed put", "update pgbench", 4, "<= 4"),
    ("GET, SeaweedFS, to pgbench's UPDATE", "weed get", "update pgbench", 4, "<= 4"),
]


def costs(rounds):
    """What an operation costs the client, of what was measured in these rounds."""
    has = lambda row: all(row in one for one in rounds)
    print(f"{len(rounds)} rounds; median (smallest-largest); CPU of the client in us an operation\n")
    print(f"{'':52} {'operations/s':>24} {'client CPU us':>18}")
    for row, words in ROWS:
        if has(row):
            print(f"{words:52} {shown([one[row]['rate'] for one in rounds], 0):>24} {shown([one[row]['cpu'] for one in rounds], 2):>18}")
    print()
    for words, row, other, bound, text in RATIOS:
        if not has(row) or not has(other):
            continue
        found = [one[row]["cpu"] / one[other]["cpu"] for one in rounds]
        verdict = goal(text, statistics.median(found) <= bound) if bound else ""
        print(f"{'CPU, ' + words:52} {shown_within(found):>24}   {verdict}")


def beside(rounds):
    """How this program is to the other one; within a round, so that a slow minute falls on both."""
    print(f"{len(rounds)} rounds; this program to the other one: median of the ratios within rounds (smallest-largest)\n")
    for row in rounds[0]["this"]:
        for figure, words in [("cpu", "CPU an operation"), ("rate", "operations a second"), ("lag99", "send lag p99")]:
            # At a rate all are as fast, and without one nothing is late.
            if figure == ("rate" if row == "PUT at a rate" else "lag99"):
                continue
            ratios = [one["this"][row][figure] / one["other"][row][figure] for one in rounds]
            print(f"{row + ', ' + words:52} {shown_within(ratios):>40}")


def report(rounds, stall):
    def values(row, figure):
        return [one[row][figure] for one in rounds]

    costs(rounds)
    share, missed = min(values("update loadgen", "updates")), sum(values("update loadgen", "missed"))
    print(f"\nupdates among loadgen's operations: at least {100 * share:.2f} %; statements that missed their row: {missed}")
    agreement(rounds)
    if stall:
        print(f"\na server that stops for 100 ms every 10 s, at {RATE}/s: p99 of the response from the plan {stall['p99']} us, "
              f"of the service from the send {stall['service99']} us   "
              # A hundredth of the time is the very edge of a p99, so how much of the stall it shows is chance.
              + goal("five times the service's", stall["p99"] >= 5 * stall["service99"]))
    print(f"\nsend lag at {LAG_RATE}/s, us:")
    print(f"    this machine's own  p50 {shown(values('floor', 'lag50'), 0)}   p99 {shown(values('floor', 'lag99'), 0)}   (a thread that only sleeps)")
    for row, words, p50, p99 in [("lag", "an ordinary thread", 50, 250), ("lag real-time", "one in real time", None, 100)]:
        if row == "lag real-time" and not all(values(row, "realTime")):
            print("    one in real time: not allowed here (CAP_SYS_NICE)")
            continue
        if row == "lag" and any(values(row, "realTime")):
            print("    an ordinary thread: not measured, the privilege could not be dropped")
            continue
        a, b = values(row, "lag50"), values(row, "lag99")
        met = statistics.median(b) <= p99 and (p50 is None or statistics.median(a) <= p50)
        text = f"p50 <= {p50}, p99 <= {p99}" if p50 else f"p99 <= {p99}"
        print(f"    {words:22} p50 {shown(a, 0)}   p99 {shown(b, 0)}   p99.9 {shown(values(row, 'lag999'), 0)}   {goal(text, met)}")
    a, b = values("record", "closed"), values("record", "open")
    print(f"\nrecording one operation, ns: closed load {shown(a)}, open load {shown(b)}   {goal('< 100', max(statistics.median(a), statistics.median(b)) < 100)}")
    a, b = values("memory", "resident"), values("memory 4", "resident")
    n, m = statistics.median(values("memory", "operations")), statistics.median(values("memory 4", "operations"))
    print(f"largest resident memory, MiB: {shown(a)} after {n:.0f} operations, {shown(b)} after {m:.0f} in the same time   "
          + goal("at most a tenth more", statistics.median(b) <= 1.1 * statistics.median(a)))


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    for name in ("loadgen", "postgres", "pgbench", "psql", "weed"):
        parser.add_argument(f"--{name}", required=True, help="the program" if name != "postgres" else "a folder with bin, lib and share")
    parser.add_argument("--record", nargs="+", help="the command that measures recording; not with --agreement or --requests")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=int, default=3, help="length of each window")
    parser.add_argument("--agreement", action="store_true", help="only whether loadgen and pgbench see the same latency")
    parser.add_argument("--requests", action="store_true", help="only what a PUT and a GET cost beside an UPDATE")
    parser.add_argument("--beside", help="only this program beside another one")
    parser.add_argument("--stall", action="store_true", help="first show what a planted stall does (25 s)")
    parser.add_argument("--keep", help="a file that collects rounds over several calls")
    args = parser.parse_args()
    rounds, stall = [], None
    if args.keep and os.path.exists(args.keep):
        rounds = json.load(open(args.keep))
    bench = Bench(args)
    try:
        bench.servers()
        if args.stall and not args.agreement:
            stall = bench.stall()
        for number in range(args.rounds):
            print(f"round {number + 1} of {args.rounds}", file=sys.stderr)
            if args.beside:
                rounds.append(bench.beside(number))
            elif args.agreement:
                rounds.append(bench.opened(first="pgbench" if number % 2 else "loadgen", seconds=args.seconds))
            elif args.requests:
                rounds.append(bench.requests())
            else:
                rounds.append(bench.round())
            if args.keep:
                json.dump(rounds, open(args.keep, "w"))
    finally:
        bench.close()
    if args.beside:
        beside(rounds)
    elif args.agreement:
        agreement(rounds)
    elif args.requests:
        costs(rounds)
    else:
        report(rounds, stall)


if __name__ == "__main__":
    main()
