"""A disk with a volatile cache: a file system of one file, for a loop device to stand on.

What is written is in memory until the disk is told to flush; then it is in the backing file. When the power goes, every sector that
was not flushed keeps what it had, or takes any one of what was written to it since, each by its own throw of a seeded die: so writes
are reordered and torn as a real disk may do, in sectors of 4 KiB. After that every request fails.

It speaks to the kernel at /dev/fuse itself (the protocol is that of linux/fuse.h, version 7.31), and needs root. Commands are lines of
standard input: `cut SEED` answers with `kept K of N` sectors once the backing file is what the disk holds; after `lie` it says of every
flush that it was made, and makes none. It ends with its input.
"""

import argparse
import ctypes
import errno
import os
import random
import select
import stat
import struct
import sys

# The physical sector of the disks of today. With 512 bytes ext4 itself could not be mounted after a cut.
SECTOR = 4096
MOST = 1 << 20
NAME = b"disk"
ROOT, FILE = 1, 2
MS_NOSUID, MS_NODEV = 2, 4
FOR_EVER = 1 << 30
LOOKUP, FORGET, GETATTR, SETATTR, OPEN, READ, WRITE, STATFS, RELEASE = 1, 2, 3, 4, 14, 15, 16, 17, 18
FSYNC, FLUSH, INIT, OPENDIR, RELEASEDIR, FSYNCDIR, ACCESS, INTERRUPT, DESTROY, BATCH_FORGET = 20, 25, 26, 27, 29, 30, 34, 36, 38, 42
BIG_WRITES, MAX_PAGES = 1 << 5, 1 << 22


class Disk:
    """The backing file, and what was written since the last flush: of each sector all that it was told, in order."""

    def __init__(self, path, size):
        self.file = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
        os.ftruncate(self.file, size)
        self.size, self.lies, self.cache, self.dead = size, False, {}, False

    def write(self, offset, data):
        # A loop device writes whole sectors; whoever makes the file system may not.
        first, last = offset // SECTOR, (offset + len(data) - 1) // SECTOR
        start, end = first * SECTOR, (last + 1) * SECTOR
        if (start, end) != (offset, offset + len(data)):
            whole = bytearray(self.read(start, end - start))
            whole[offset - start:offset - start + len(data)] = data
            data = whole
        for sector in range(first, last + 1):
            at = (sector - first) * SECTOR
            self.cache.setdefault(sector, []).append(bytes(data[at:at + SECTOR]))

    def read(self, offset, size):
        size = max(0, min(size, self.size - offset))
        data = bytearray(os.pread(self.file, size, offset).ljust(size, b"\0"))
        for sector in range(offset // SECTOR, (offset + size + SECTOR - 1) // SECTOR):
            if sector in self.cache:
                at = sector * SECTOR - offset
                new = self.cache[sector][-1]
                low, high = max(0, at), min(size, at + SECTOR)
                data[low:high] = new[low - at:high - at]
        return bytes(data)

    def flush(self):
        if not self.lies:
            for sector, versions in self.cache.items():
                os.pwrite(self.file, versions[-1], sector * SECTOR)
            self.cache.clear()

    def cut(self, seed):
        self.dead = True
        die, kept = random.Random(seed), 0
        for sector in sorted(self.cache):
            versions = self.cache[sector]
            which = die.randrange(len(versions) + 1)
            if which:
                os.pwrite(self.file, versions[which - 1], sector * SECTOR)
                kept += 1
        os.fsync(self.file)
        return kept, len(self.cache)


def attributes(node, size):
    mode = stat.S_IFDIR | 0o700 if node == ROOT else stat.S_IFREG | 0o600
    length = 0 if node == ROOT else size
    return struct.pack("<6Q10I", node, length, length // 512, 0, 0, 0, 0, 0, 0, mode, 1, 0, 0, 0, 4096, 0)


class Refused(Exception):
    pass


def answer(disk, code, node, given):
    """What the kernel is told; `None` where it expects nothing."""
    if code in (FORGET, BATCH_FORGET, INTERRUPT):
        return None
    if code == INIT:
        flags = struct.unpack_from("<4I", given)[3] & (BIG_WRITES | MAX_PAGES)
        return struct.pack("<4IHHIIHHI28x", 7, 31, MOST, flags, 16, 12, MOST, 1, MOST // 4096, 0, 0)
    if code == LOOKUP:
        if node != ROOT or given.rstrip(b"\0") != NAME:
            raise Refused(errno.ENOENT)
        return struct.pack("<4Q2I", FILE, 0, FOR_EVER, FOR_EVER, 0, 0) + attributes(FILE, disk.size)
    if code in (GETATTR, SETATTR):
        return struct.pack("<QII", FOR_EVER, 0, 0) + attributes(node, disk.size)
    if code in (OPEN, OPENDIR):
        return struct.pack("<QII", 0, 0, 0)
    if code == STATFS:
        return struct.pack("<5Q4I24x", disk.size // 4096, 0, 0, 2, 0, 4096, 255, 4096, 0)
    if code in (RELEASE, RELEASEDIR, FLUSH, ACCESS, DESTROY, FSYNCDIR):
        # FLUSH is what a close is called; a disk is not flushed by that.
        return b""
    if code in (READ, WRITE, FSYNC) and disk.dead:
        raise Refused(errno.EIO)
    if code == READ:
        _, offset, size = struct.unpack_from("<QQI", given)
        return disk.read(offset, size)
    if code == WRITE:
        _, offset, size = struct.unpack_from("<QQI", given)
        disk.write(offset, given[40:40 + size])
        return struct.pack("<II", size, 0)
    if code == FSYNC:
        disk.flush()
        return b""
    raise Refused(errno.ENOSYS)


def serve(disk, kernel):
    """Until standard input ends, or the file system is unmounted."""
    commands = sys.stdin.buffer
    waiting = select.poll()
    waiting.register(kernel, select.POLLIN)
    waiting.register(commands, select.POLLIN)
    while True:
        for ready, _ in waiting.poll():
            if ready == kernel:
                try:
                    request = os.read(kernel, MOST + 65_536)
                except OSError as error:
                    if error.errno in (errno.ENOENT, errno.EINTR, errno.EAGAIN):
                        continue
                    return
                length, code, unique, node = struct.unpack_from("<IIQQ", request)
                try:
                    said, failed = answer(disk, code, node, request[40:length]), 0
                except Refused as refused:
                    said, failed = b"", -refused.args[0]
                if said is not None:
                    # A request that was interrupted meanwhile is not there any more.
                    try:
                        os.write(kernel, struct.pack("<IiQ", 16 + len(said), failed, unique) + said)
                    except FileNotFoundError:
                        pass
            else:
                words = commands.readline().split()
                if not words:
                    return
                if words[0] == b"lie":
                    disk.lies = True
                    print("lying", flush=True)
                else:
                    kept, of = disk.cut(int(words[1]))
                    print(f"kept {kept} of {of}", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("backing", help="the file that holds what was flushed")
    parser.add_argument("at", help="the folder in which the file `disk` appears")
    parser.add_argument("--size", type=int, default=1 << 30, help="bytes")
    args = parser.parse_args()
    disk = Disk(args.backing, args.size)
    kernel = os.open("/dev/fuse", os.O_RDWR)
    libc = ctypes.CDLL(None, use_errno=True)
    options = f"fd={kernel},rootmode=40000,user_id=0,group_id=0,max_read={MOST}".encode()
    if libc.mount(b"bakeoff-disk", os.fsencode(args.at), b"fuse", MS_NOSUID | MS_NODEV, options) != 0:
        raise SystemExit(f"mount: {os.strerror(ctypes.get_errno())}")
    print("ready", flush=True)
    serve(disk, kernel)


if __name__ == "__main__":
    main()
