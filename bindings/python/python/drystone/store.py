"""The store, with arrays."""

import os
import pathlib

from drystone import _drystone
from drystone._types import array_in, array_parts

# File systems on which memory cannot be shared between hosts, or not at all.
_REMOTE = {"nfs", "nfs4", "cifs", "smb3", "smbfs", "lustre", "gpfs", "beegfs", "ceph", "9p", "virtiofs", "afs", "fuse"}


def _file_system(path):
    """The type of the file system that a path is on, as Linux tells it."""
    path = os.path.realpath(path)
    best, kind = "", ""
    try:
        with open("/proc/self/mounts", encoding="utf-8", errors="replace") as mounts:
            for line in mounts:
                _, point, found, *_ = line.split(" ")
                point = point.replace("\\040", " ")
                inside = path == point or path.startswith(point.rstrip("/") + "/")
                if inside and len(point) >= len(best):
                    best, kind = point, found
    except OSError:
        pass
    return kind


def default_directory(name="store"):
    """A directory of this user on a file system of this node: $DRYSTONE_STORE, or below $XDG_CACHE_HOME (~/.cache),
    or, where that is on a network file system, below $TMPDIR, /tmp or /dev/shm."""
    said = os.environ.get("DRYSTONE_STORE")
    if said:
        return pathlib.Path(said)
    cache = pathlib.Path(os.environ.get("XDG_CACHE_HOME") or pathlib.Path.home() / ".cache")
    user = f"drystone-{os.getuid()}"
    places = [cache / "drystone"]
    places += [pathlib.Path(place) / user for place in (os.environ.get("TMPDIR"), "/tmp", "/dev/shm") if place]
    for place in places:
        if _file_system(place).partition(".")[0] not in _REMOTE:
            return place / name
    return places[0] / name


class Store(_drystone.Store):
    """A store of immutable blobs, shared by any number of processes on a node.

    >>> store = Store(directory)
    >>> id = store.put(b"granite")
    >>> bytes(store.get(id))
    b'granite'

    directory: made if there is none (read_only: not). Without one, `default_directory()`.
    hash: "xxh3" or "blake3", decided when it is made. size_limit: bytes that may be appended before puts are refused.
    durability: "buffered" survives the death of processes, "synced" power loss. verify: hold what is got against its id.
    """

    def __new__(cls, directory=None, **options):
        directory = default_directory() if directory is None else directory
        # Absolute, so that a store that is pickled is found from another working directory.
        return super().__new__(cls, os.path.abspath(os.fspath(directory)), **options)

    def put_array(self, array, *, synced=None):
        """Stores an array as a `.npy` file, byte for byte as `numpy.save` would; the id."""
        import numpy

        header, data = array_parts(numpy.asarray(array))
        return self._put_headed(header, data, synced)

    def get_array(self, id):
        """The array of a `.npy` blob, read-only and without a copy, or None. It keeps its memory itself: also after
        the store is closed, the blob removed, or the store compacted."""
        blob = self.get(id)
        return None if blob is None else array_in(blob)

    def empty(self, shape, dtype="f8", order="C"):
        """An array to be filled in place: its memory is that of the store, and `commit` copies nothing.

        >>> field = store.empty((100, 100))
        >>> field[:] = 1.5
        >>> id = field.commit()
        """
        from drystone.drafts import empty

        return empty(self, shape, dtype, order)

    def __reduce__(self):
        return type(self)._reopen, (self.path, self.read_only)

    @classmethod
    def _reopen(cls, path, read_only):
        return cls(path, read_only=read_only)
