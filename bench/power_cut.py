"""Cuts the power of a disk under load and reads back what was acknowledged before.

A file is a disk (loop device, direct I/O) with a real file system. The server writes there; at a random moment it is stopped,
the disk is cut, and the server killed. On what the disk then holds the journal is replayed, the server started, and everything that
was acknowledged before the stop is read and compared. What a disk holds is its own affair (`disks.py`): a plain one all that the file
system had submitted, a volatile one what was flushed and a random part of the rest, out of order and in parts. Needs root and loop
devices, the volatile disk FUSE as well.
"""

import argparse
import atexit
import contextlib
import hashlib
import hmac
import http.client
import json
import os
import pathlib
import random
import shutil
import signal
import socket
import struct
import subprocess
import tempfile
import threading
import time

from disks import DISKS, mounted

KEY, SECRET = "bakeoff-key", "bakeoff-secret-key"
BODY = 4096
# What is not there so long after the server answers again does not come back; where all should come back a slow machine is waited
# for longer.
RECOVERY_SECONDS, LONG_RECOVERY_SECONDS = 20, 120
# For what is to happen soon.
PATIENCE_SECONDS = 120


def body(name):
    """Bytes that are nobody else's."""
    return random.Random(name).randbytes(BODY)


def port():
    """A free port, as is the one 10,000 above it, which SeaweedFS takes for its own protocol; both below those that
    connections are given."""
    while True:
        at = random.SystemRandom().randrange(20_000, 22_700)
        with contextlib.suppress(OSError), socket.socket() as probe, socket.socket() as second:
            probe.bind(("127.0.0.1", at))
            second.bind(("127.0.0.1", at + 10_000))
            return at


def s3(at, method, path, data=b"", timeout=10):
    """One signed request; status and body. AWS Signature Version 4, as the S3 reference describes it."""
    now = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
    scope = f"{now[:8]}/us-east-1/s3/aws4_request"
    host = f"127.0.0.1:{at}"
    digest = hashlib.sha256(data).hexdigest()
    signed = "host;x-amz-content-sha256;x-amz-date"
    canonical = f"{method}\n{path}\n\nhost:{host}\nx-amz-content-sha256:{digest}\nx-amz-date:{now}\n\n{signed}\n{digest}"
    text = f"AWS4-HMAC-SHA256\n{now}\n{scope}\n{hashlib.sha256(canonical.encode()).hexdigest()}"
    key = ("AWS4" + SECRET).encode()
    for part in (now[:8], "us-east-1", "s3", "aws4_request", text):
        key = hmac.new(key, part.encode(), hashlib.sha256).digest()
    headers = {
        "host": host, "x-amz-date": now, "x-amz-content-sha256": digest,
        "authorization": f"AWS4-HMAC-SHA256 Credential={KEY}/{scope}, SignedHeaders={signed}, Signature={key.hex()}",
    }
    connection = http.client.HTTPConnection("127.0.0.1", at, timeout=timeout)
    try:
        connection.request(method, path, data or None, headers)
        answer = connection.getresponse()
        return answer.status, answer.read()
    finally:
        connection.close()


class S3:
    """An S3 server: how it is begun, what it needs before each start, whether what it acknowledged holds (or does not, which
    shows that the cut finds it; or sometimes)."""

    def __init__(self, name, command, env=None, before=None, prepared=None, holds=None):
        self.name, self.command, self.env, self.holds = name, command, env or {}, holds
        self.before, self.prepared = before, prepared

    def start(self, data):
        self.port = port()
        if self.before:
            self.before(data)
        self.log = open(data.parents[1] / "server.log", "ab")
        env = dict(os.environ, HOME="/tmp", **(self.env(data) if callable(self.env) else self.env))
        return subprocess.Popen(self.command(data, self.port), env=env, stdout=self.log, stderr=self.log)

    def ready(self):
        with contextlib.suppress(OSError, http.client.HTTPException):
            return s3(self.port, "GET", "/", timeout=2)[0] == 200
        return False

    def prepare(self):
        if self.prepared:
            self.prepared(self)
        surely(f"{self.name} makes no bucket", lambda: s3(self.port, "PUT", "/cut")[0] in (200, 409))

    def put(self, name):
        return s3(self.port, "PUT", f"/cut/{name}", body(name))[0] == 200

    def get(self, name):
        """What is there: `whole`, `lost`, `torn` or `unreadable`."""
        try:
            status, found = s3(self.port, "GET", f"/cut/{name}", timeout=15)
        except (OSError, http.client.HTTPException):
            return "unreadable"
        if status == 404:
            return "lost"
        if status != 200:
            return "unreadable"
        return "whole" if found == body(name) else "torn"

    def session(self):
        return contextlib.nullcontext(self.put)


class Postgres:
    """A Postgres server, spoken to by its own protocol without a password, on loopback."""

    def __init__(self, name, folder, settings, holds=None):
        self.name, self.bin, self.settings, self.holds = name, folder / "bin", settings, holds

    def start(self, data):
        self.port = port()
        self.log = open(data.parents[1] / "server.log", "ab")
        cluster = data / "pg"
        as_nobody = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"]
        if not cluster.exists():
            os.chown(data, 65534, 65534)
            initdb = [*as_nobody, self.bin / "initdb", "-D", cluster, "-A", "trust", "-U", "cut", "--data-checksums"]
            subprocess.run(initdb, check=True, stdout=self.log, stderr=self.log)
        server = [*as_nobody, self.bin / "postgres", "-D", cluster, "-p", str(self.port), "-c", "unix_socket_directories="]
        for setting, value in self.settings.items():
            server += ["-c", f"{setting}={value}"]
        return subprocess.Popen(server, stdout=self.log, stderr=self.log)

    def connect(self):
        stream = socket.create_connection(("127.0.0.1", self.port), timeout=15)
        stream.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        start = struct.pack("!I", 196608) + b"user\0cut\0database\0postgres\0\0"
        stream.sendall(struct.pack("!I", len(start) + 4) + start)
        self.answer(stream)
        return stream

    def answer(self, stream):
        """Reads until the server waits for the next query; the values of the rows."""
        rows, failed = [], None
        while True:
            kind, size = struct.unpack("!cI", self.exactly(stream, 5))
            said = self.exactly(stream, size - 4)
            if kind == b"E":
                failed = said
            elif kind == b"D":
                rows.append(said[6:])
            elif kind == b"Z":
                if failed:
                    raise OSError(failed)
                return rows

    @staticmethod
    def exactly(stream, size):
        found = b""
        while len(found) < size:
            more = stream.recv(size - len(found))
            if not more:
                raise OSError("the server closed the connection")
            found += more
        return found

    def query(self, stream, text):
        said = text.encode() + b"\0"
        stream.sendall(b"Q" + struct.pack("!I", len(said) + 4) + said)
        return self.answer(stream)

    def ready(self):
        with contextlib.suppress(OSError), contextlib.closing(self.connect()) as stream:
            return self.query(stream, "SELECT 1") is not None
        return False

    def prepare(self):
        with contextlib.closing(self.connect()) as stream:
            self.query(stream, "CREATE TABLE IF NOT EXISTS cut (name text PRIMARY KEY, body bytea)")

    @contextlib.contextmanager
    def session(self):
        with contextlib.closing(self.connect()) as stream:
            yield lambda name: self.query(stream, f"INSERT INTO cut VALUES ('{name}', '\\x{body(name).hex()}')") is not None

    def get(self, name):
        try:
            with contextlib.closing(self.connect()) as stream:
                rows = self.query(stream, f"SELECT md5(body) FROM cut WHERE name = '{name}'")
        except OSError:
            return "unreadable"
        if not rows:
            return "lost"
        return "whole" if rows[0].decode() == hashlib.md5(body(name)).hexdigest() else "torn"


def until(holds, seconds):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        with contextlib.suppress(OSError, http.client.HTTPException):
            if holds():
                return True
        time.sleep(0.1)
    return False


def surely(otherwise, holds):
    """Waits until it holds, or ends in words."""
    if not until(holds, PATIENCE_SECONDS):
        raise SystemExit(otherwise)


def load(subject, clients, seconds, seed):
    """Writes until it is stopped; what was acknowledged, with the instant. The server is stopped when this returns."""
    acknowledged, stop = [], threading.Event()

    def client(number):
        with contextlib.suppress(OSError, http.client.HTTPException), subject.session() as put:
            count = 0
            while not stop.is_set():
                name = f"{seed}-{number}-{count}"
                if put(name):
                    acknowledged.append((name, time.monotonic()))
                count += 1

    threads = [threading.Thread(target=client, args=(number,), daemon=True) for number in range(clients)]
    for thread in threads:
        thread.start()
    time.sleep(seconds)
    return acknowledged, stop


def cut(subject, folder, file_system, clients, chance, disk, holds):
    """One cut; what became of what was acknowledged, by name of the outcome. What should hold is waited for."""
    at = folder / "at"
    at.mkdir(exist_ok=True)
    make = {"ext4": ["mkfs.ext4", "-q", "-F"], "xfs": ["mkfs.xfs", "-q", "-f"]}[file_system]
    subprocess.run([*make, disk.image], check=True)
    seed = chance.randrange(1 << 40)
    with mounted(disk.image, at):
        data = at / "data"
        data.mkdir()
        server = subject.start(data)
        try:
            if not until(subject.ready, PATIENCE_SECONDS):
                said = (folder / "server.log").read_text(errors="replace")[-2000:]
                raise SystemExit(f"{subject.name} does not become ready: {said}")
            subject.prepare()
            with subject.session() as put:
                surely(f"{subject.name} takes no write", lambda: put(f"{seed}-warm-{time.monotonic_ns()}"))
            # What is made once, before anything is measured, is not in question.
            os.sync()
            disk.prepared()
            acknowledged, stop = load(subject, clients, chance.uniform(0.5, 2.0), seed)
            # A process that is stopped submits nothing more; the file system may, until the copy is made.
            children = subprocess.run(["pgrep", "-P", str(server.pid)], capture_output=True, text=True).stdout.split()
            for pid in [server.pid, *map(int, children)]:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGSTOP)
            instant = time.monotonic()
            before = [(name, when) for name, when in list(acknowledged) if when <= instant]
            disk.cut(seed)
            copied = time.monotonic() - instant
            stop.set()
        finally:
            for pid in [server.pid, *map(int, subprocess.run(["pgrep", "-P", str(server.pid)], capture_output=True, text=True).stdout.split())]:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            server.wait()
            time.sleep(0.5)
    found = {"acknowledged": len(before), "copySeconds": round(copied, 2), "oldestLostMillis": 0}
    with mounted(disk.after, at):
        server = subject.start(at / "data")
        try:
            if not until(subject.ready, PATIENCE_SECONDS):
                return {**found, "unreadable": len(before), "recovers": False}
            patience = time.monotonic() + (LONG_RECOVERY_SECONDS if holds else RECOVERY_SECONDS)
            for name, when in reversed(before):
                outcome = subject.get(name)
                # It answers before all of it is back.
                while outcome != "whole" and time.monotonic() < patience:
                    time.sleep(1)
                    outcome = subject.get(name)
                found[outcome] = found.get(outcome, 0) + 1
                if outcome != "whole":
                    found["oldestLostMillis"] = max(found["oldestLostMillis"], round((instant - when) * 1000))
                if found.get("unreadable", 0) > 20:
                    found["unreadable"] += len(before) - sum(found.get(each, 0) for each in ("whole", "lost", "torn", "unreadable"))
                    break
        finally:
            server.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                server.wait(10)
            server.kill()
            server.wait()
            time.sleep(0.5)
    return {**found, "recovers": True}


def subjects(args):
    minio = lambda data, at: [args.minio, "server", str(data), "--address", f"127.0.0.1:{at}", "--config-dir", "/tmp/minio"]
    keys = {"MINIO_ROOT_USER": KEY, "MINIO_ROOT_PASSWORD": SECRET, "MINIO_BROWSER": "off", "MINIO_UPDATE": "off"}

    versitygw = lambda data, at: [args.versitygw, "--port", f"127.0.0.1:{at}", "--health", "/healthz", "posix", str(data)]

    # As the operator sets it: build/profile/garage.rs.
    def garage(flushed):
        def command(data, at):
            file = data.parent / "garage.toml"
            yes = json.dumps(flushed)
            file.write_text(
                f'metadata_dir = "{data}/meta"\ndata_dir = "{data}/blocks"\ndb_engine = "lmdb"\nlmdb_map_size = "512M"\n'
                f'metadata_fsync = {yes}\ndata_fsync = {yes}\ndisable_scrub = true\nreplication_factor = 1\ncompression_level = "none"\n'
                f'rpc_bind_addr = "127.0.0.1:{port()}"\n[s3_api]\napi_bind_addr = "127.0.0.1:{at}"\ns3_region = "us-east-1"\n'
            )
            return [args.garage, "-c", file, "server", "--single-node", "--default-bucket"]

        return command

    def weed(data, at):
        master, volume, filer = port(), port(), port()
        weed.filer = filer
        return [
            args.weed, "server", f"-dir={data}", "-ip=127.0.0.1", "-ip.bind=127.0.0.1", "-master.telemetry=false",
            f"-master.port={master}", f"-volume.port={volume}", f"-filer.port={filer}", "-master.volumeSizeLimitMB=64", "-volume.max=8",
            "-filer", "-s3", f"-s3.port={at}", "-s3.port.iceberg=0", "-s3.port.lance=0", "-s3.iam=false",
        ]

    # As the operator sets it: build/profile/seaweedfs.rs.
    def flushed(data):
        store = f"file:{data}/filer.db?_pragma=journal_mode(WAL)&_pragma=synchronous(FULL)"
        return {**cloud, "WEED_LEVELDB2_ENABLED": "false", "WEED_SQLITE_ENABLED": "true", "WEED_SQLITE_DBFILE": store}

    def mended(data):
        subprocess.run([args.weed, "fix", str(data)], check=False, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def rule(subject):
        text = json.dumps({"version": 1, "locations": [{"locationPrefix": "/buckets/", "fsync": True}]})

        def told():
            connection = http.client.HTTPConnection("127.0.0.1", weed.filer, timeout=5)
            connection.request("PUT", "/etc/seaweedfs/filer.conf", text)
            return connection.getresponse().status in (200, 201)

        surely("the filer takes no rule", told)
        time.sleep(3)

    # A server of Postgres does not run as root, and reads its programs from where anybody may.
    programs = pathlib.Path(tempfile.mkdtemp(prefix="bakeoff-cut-programs-"))
    programs.chmod(0o755)
    shutil.copytree(args.postgres, programs / "postgres", symlinks=True)
    atexit.register(shutil.rmtree, programs, ignore_errors=True)
    postgres = programs / "postgres"
    cloud = {"AWS_ACCESS_KEY_ID": KEY, "AWS_SECRET_ACCESS_KEY": SECRET}
    inside = {
        "GARAGE_RPC_SECRET": "00" * 32, "GARAGE_DEFAULT_BUCKET": "cut",
        "GARAGE_DEFAULT_ACCESS_KEY": KEY, "GARAGE_DEFAULT_SECRET_KEY": SECRET,
    }
    return [
        S3("minio", minio, keys),
        S3("minio, MINIO_FS_OSYNC=on", minio, {**keys, "MINIO_FS_OSYNC": "on"}, holds=True),
        S3("seaweedfs", weed, cloud, holds=False),
        S3("seaweedfs, fsync rule", weed, cloud, prepared=rule, holds=False),
        S3("seaweedfs, fsync rule, SQLite FULL, weed fix", weed, flushed, before=mended, prepared=rule, holds=True),
        S3("versitygw", versitygw, {"ROOT_ACCESS_KEY_ID": KEY, "ROOT_SECRET_ACCESS_KEY": SECRET}, holds=False),
        *(
            [S3("garage", garage(False), inside), S3("garage, data_fsync and metadata_fsync", garage(True), inside)]
            if args.garage else []
        ),
        Postgres("postgres", postgres, {}, holds=True),
        Postgres("postgres, synchronous_commit=off", postgres, {"synchronous_commit": "off"}, holds=False),
        Postgres("postgres, full_page_writes=off", postgres, {"full_page_writes": "off"}),
        Postgres("postgres, fsync=off", postgres, {"fsync": "off"}, holds=False),
    ]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for program in ("minio", "weed", "versitygw", "postgres"):
        parser.add_argument(f"--{program}", required=True)
    parser.add_argument("--garage", help="left out without")
    parser.add_argument("--cuts", type=int, default=5)
    parser.add_argument("--clients", type=int, default=4)
    parser.add_argument("--file-system", choices=["ext4", "xfs"], default="ext4")
    parser.add_argument("--disk", choices=DISKS, default="plain")
    parser.add_argument("--only", action="append", help="the whole name of a server; may be repeated")
    parser.add_argument("--check", action="store_true", help="fail unless what should hold does, and what should not does not")
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()
    wrong = []
    print(f"| server | cuts | acknowledged | lost | torn | unreadable | oldest lost, ms before | {args.file_system}, {args.disk} disk, {args.clients} clients |")
    print("|---|---:|---:|---:|---:|---:|---:|---|")
    for subject in subjects(args):
        if args.only and subject.name not in args.only:
            continue
        chance, total, recovers = random.Random(args.seed), {}, 0
        holds = False if args.disk == "lying" else subject.holds
        for _ in range(args.cuts):
            folder = pathlib.Path(tempfile.mkdtemp(prefix="bakeoff-cut-"))
            folder.chmod(0o755)
            disk = DISKS[args.disk](folder, 1 << 30)
            try:
                found = cut(subject, folder, args.file_system, args.clients, chance, disk, holds)
            finally:
                disk.close()
                shutil.rmtree(folder, ignore_errors=True)
            recovers += found.pop("recovers")
            for name, count in found.items():
                most = name in ("oldestLostMillis", "copySeconds")
                total[name] = max(total.get(name, 0), count) if most else total.get(name, 0) + count
        of = lambda name: total.get(name, 0)
        bound = "" if of("lost") + of("torn") + of("unreadable") else f", below {100 * (1 - 0.05 ** (1 / max(1, of('acknowledged')))):.2f} % with 95 %"
        said = "" if recovers == args.cuts else f", {args.cuts - recovers} times it did not start"
        print(
            f"| {subject.name} | {args.cuts} | {of('acknowledged')} | {of('lost')} | {of('torn')} | {of('unreadable')} "
            f"| {of('oldestLostMillis')} | {DISKS[args.disk].what.format(seconds=of('copySeconds'))}{bound}{said} |",
            flush=True,
        )
        gone = of("lost") + of("torn") + of("unreadable") + args.cuts - recovers
        if not of("acknowledged"):
            wrong.append(f"{subject.name}: nothing was acknowledged")
            continue
        if holds is not None and holds != (gone == 0):
            wrong.append(f"{subject.name}: " + (f"{gone} gone of what should hold" if holds else "nothing is gone: the cut finds nothing"))
    if args.check and wrong:
        raise SystemExit("\n".join(wrong))


if __name__ == "__main__":
    main()
