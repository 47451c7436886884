"""A load package in memory, and the forms in which it can lie on a disk."""
import gzip
import io
import os
import shutil
import tarfile


class Package:
    """Files by name (bytes), and what else is to be done to the directory once it is there."""

    def __init__(self, load_id, files):
        self.load_id = load_id
        self.files = files
        self.directories = {"", "new_jobs"}
        self.after = []  # called with the path of the directory
        self.archive = None  # name and bytes of an archive: then nothing else counts

    @classmethod
    def read(cls, path):
        files = {}
        for root, _, names in os.walk(path):
            for name in names:
                full = os.path.join(root, name)
                with open(full, "rb") as file:
                    files[os.path.relpath(full, path)] = file.read()
        return cls(os.path.basename(path), files)

    def copy(self):
        return Package(self.load_id, dict(self.files))

    def jobs(self):
        return sorted(name for name in self.files if name.startswith("new_jobs/"))

    def data_jobs(self):
        """Jobs of the user's tables, or all if there are none."""
        return [n for n in self.jobs() if "/_dlt_" not in n] or self.jobs()

    def content(self, name):
        """The bytes of a job, unpacked."""
        data = self.files[name]
        return gzip.decompress(data) if data[:2] == b"\x1f\x8b" else data

    def write(self, parent):
        """Put it on disk; returns what loader_run is to be given."""
        if self.archive:
            path = os.path.join(parent, self.archive[0])
            with open(path, "wb") as file:
                file.write(self.archive[1])
            os.chmod(path, 0o644)
            return path
        path = os.path.join(parent, self.load_id)
        for name in sorted(self.directories):
            os.makedirs(os.path.join(path, name), exist_ok=True)
        for name, data in self.files.items():
            full = os.path.join(os.fsencode(path), os.fsencode(name))
            os.makedirs(os.path.dirname(full), exist_ok=True)
            with open(full, "wb") as file:
                file.write(data)
        for action in self.after:
            action(path)
        return path


def remove(path):
    """Remove what write() made, whatever rights it has."""
    if os.path.isdir(path) and not os.path.islink(path):
        for root, names, _ in os.walk(path):
            os.chmod(root, 0o700)
        shutil.rmtree(path)
    elif os.path.lexists(path):
        os.unlink(path)


def pack_gzip(data):
    return gzip.compress(data, 1, mtime=0)


def zstd_frame(blocks, window=0x38):
    """A frame of (type, content) blocks: 0 is raw, 1 repeats a byte (byte, times)."""
    out = b"\x28\xb5\x2f\xfd" + bytes([0, window])
    for i, (kind, content) in enumerate(blocks):
        size = content[1] if kind == 1 else len(content)
        header = (i == len(blocks) - 1) | kind << 1 | size << 3
        out += header.to_bytes(3, "little") + (content[0] if kind == 1 else content)
    return out


def pack_zstd(data):
    """Raw blocks: the readers cannot tell them from packed ones."""
    step = 1 << 16
    return zstd_frame([(0, data[i : i + step]) for i in range(0, len(data), step)] or [(0, b"")])


def zstd_bomb(head, byte, size):
    """head, and then size times the byte, in 4 bytes of file for each 128 kB."""
    step = 1 << 17
    return zstd_frame([(0, head)] + [(1, (byte, step))] * (size // step))


def gzip_bomb(head, byte, size):
    out = io.BytesIO()
    with gzip.GzipFile(fileobj=out, mode="wb", compresslevel=1, mtime=0) as file:
        file.write(head)
        for _ in range(size >> 20):
            file.write(byte * (1 << 20))
    return out.getvalue()


def tar_of(package, change=None, fmt=tarfile.GNU_FORMAT):
    """An archive of the package. change(tar) may add members before the end."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=fmt) as tar:
        for name in sorted(package.files):
            add_member(tar, f"{package.load_id}/{name}", package.files[name])
        if change:
            change(tar)
    return out.getvalue()


def add_member(tar, name, data=b"", **fields):
    info = tarfile.TarInfo(name)
    info.size = len(data)
    for key, value in fields.items():
        setattr(info, key, value)
    tar.addfile(info, io.BytesIO(data))
