"""The disks that power is cut under: files below a loop device with a file system of their own."""

import contextlib
import pathlib
import subprocess
import sys


@contextlib.contextmanager
def mounted(image, at):
    device = subprocess.run(["losetup", "--find", "--show", "--direct-io=on", image], check=True, capture_output=True, text=True)
    device = device.stdout.strip()
    try:
        subprocess.run(["mount", device, at], check=True)
        try:
            yield
        finally:
            subprocess.run(["umount", "--lazy", at], check=False)
    finally:
        subprocess.run(["losetup", "--detach", device], check=False)


class Plain:
    """A disk without a volatile cache: the copy holds what the file system had submitted, in its order."""

    what = "copied within {seconds} s"

    def __init__(self, folder, size):
        self.image, self.after = folder / "disk", folder / "after"
        with open(self.image, "wb") as disk:
            disk.truncate(size)

    def prepared(self):
        pass

    def cut(self, _seed):
        subprocess.run(["cp", "--sparse=always", self.image, self.after], check=True)

    def close(self):
        pass


class Volatile:
    """A disk with a volatile cache, of which a power cut leaves a random part: `volatile_disk.py`."""

    what = "a seeded part of the cache kept"

    def __init__(self, folder, size):
        self.after, at = folder / "after", folder / "fuse"
        at.mkdir()
        self.at, self.image = at, at / "disk"
        program = pathlib.Path(__file__).with_name("volatile_disk.py")
        command = [sys.executable, "-B", program, self.after, at, "--size", str(size)]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.hear("ready")

    def hear(self, expected):
        said = self.process.stdout.readline()
        if not said.startswith(expected):
            raise SystemExit(f"the volatile disk says {said!r} and not {expected!r}")

    def tell(self, command, expected):
        self.process.stdin.write(f"{command}\n")
        self.process.stdin.flush()
        self.hear(expected)

    def prepared(self):
        pass

    def cut(self, seed):
        self.tell(f"cut {seed}", "kept")

    def close(self):
        subprocess.run(["umount", "--lazy", self.at], check=False)
        self.process.stdin.close()
        self.process.wait()


class Lying(Volatile):
    """The same, which says of every flush after the preparation that it was made and makes none. Nothing holds on it: it shows that
    what holds on the other one does so because it is flushed."""

    what = "the disk lies about flushes"

    def prepared(self):
        self.tell("lie", "lying")


DISKS = {"plain": Plain, "volatile": Volatile, "lying": Lying}
