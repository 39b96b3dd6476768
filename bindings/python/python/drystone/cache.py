"""The cache: what DiskCache's `Cache` offers, on a store that all processes of a node share without copies."""

import io
import math
import os
import pathlib
import sys
import threading
import time
import warnings
from collections.abc import MutableMapping

from drystone import _drystone, _settings
from drystone.store import default_directory

#: Stands for a value that is not there, as in DiskCache.
ENOVAL = type("_NoValue", (), {"__repr__": lambda self: "ENOVAL", "__slots__": ()})()
UNKNOWN = type("_Unknown", (), {"__repr__": lambda self: "UNKNOWN", "__slots__": ()})()

DEFAULT_SIZE_LIMIT = 1 << 30
DEFAULT_POLICY = "s3-fifo"


def _owner():
    """Who would wait for itself: an asyncio task, else a thread."""
    # Where nobody has imported it there is no task.
    asyncio = sys.modules.get("asyncio")
    try:
        task = asyncio.current_task() if asyncio else None
    except RuntimeError:
        task = None
    return (id(task) if task is not None else threading.get_ident()) & 0xFFFF_FFFF_FFFF_FFFF


def _at(expire):
    """Seconds from now as a time; None is never."""
    return None if expire is None else time.time() + _settings.seconds("expire", expire, -math.inf)


class Cache(_drystone.RawCache):
    """Keys with values, bounded, shared by all processes of a node.

    >>> cache = Cache(directory)
    >>> cache["granite"] = {"kind": "igneous", "density": 2.7}
    >>> cache["granite"]["kind"]
    'igneous'

    A `MutableMapping` whose methods are DiskCache's. Arrays of 64 KiB and more, however deep in a value, are read without a
    copy, and stored once however many values hold them; they are read-only.

    directory: made if there is none; without one the cache that all programs of this user on this node share, which lasts:
    in $DRYSTONE_STORE, or below ~/.cache. size_limit: bytes of keys
    and values, 1 GiB unless something else is said or was said before (None for no limit). eviction_policy: "s3-fifo",
    "least-recently-stored", "least-recently-used", "least-frequently-used" or "none". pickle: whether values of other types
    are pickled, which lets whoever writes the directory execute code here. Settings are kept in the store and hold for
    all users of the cache. maintenance: seconds between runs of the thread that expires, culls and compacts, 60 unless
    said, and that compacts earlier when this object has evicted or replaced more than a quarter of the limit (and
    16 MiB). None for no thread: then what is removed leaves the disk only by `store().compact()`.
    """

    def __new__(
        cls,
        directory=None,
        timeout=None,
        disk=None,
        *,
        name="default",
        size_limit=UNKNOWN,
        item_limit=UNKNOWN,
        eviction_policy=None,
        statistics=None,
        pickle=False,
        maintenance=60.0,
        **unknown,
    ):
        if disk is not None:
            raise _drystone.UnsupportedType("values are stored by the typed codec of drystone: there is no `disk`; see pickle=True")
        for setting in unknown:
            if setting not in _IGNORED:
                raise _drystone.InvalidInput(f"there is no setting {setting!r}; expected one of {sorted(_SETTINGS)}")
        for setting, value, kinds in (
            ("directory", directory, (str, os.PathLike)),
            ("name", name, (str,)),
            ("eviction_policy", eviction_policy, (str,)),
            ("statistics", statistics, (bool, int)),
            ("pickle", pickle, (bool,)),
        ):
            _settings.given(setting, value, *kinds)
        timeout = _settings.seconds("timeout", timeout)
        # Without a pause it would do nothing else.
        maintenance = _settings.seconds("maintenance", maintenance, least=0.01)
        directory = default_directory("cache") if directory is None else directory
        # Absolute, also where the environment says it, so that a cache that is pickled is found from another working directory.
        directory = pathlib.Path(directory).expanduser().absolute()
        self = super().__new__(
            cls,
            os.fspath(directory),
            name=name,
            size_limit=... if size_limit is UNKNOWN else _settings.limit("size_limit", size_limit),
            item_limit=... if item_limit is UNKNOWN else _settings.limit("item_limit", item_limit),
            eviction_policy=eviction_policy,
            statistics=None if statistics is None else bool(statistics),
            pickle=pickle,
            maintenance=maintenance,
        )
        self._directory = os.fspath(directory)
        self._said = {"name": name, "pickle": pickle, "maintenance": maintenance, "timeout": timeout}
        self._timeout = timeout
        if self._is_new and size_limit is UNKNOWN and eviction_policy != "none":
            self._change_settings(size_limit=DEFAULT_SIZE_LIMIT)
        return self

    # Opening and closing

    @property
    def directory(self):
        """Where it is."""
        return self._directory

    @property
    def timeout(self):
        """Seconds that a transaction waits for another; None is for ever. Nothing else waits."""
        return self._timeout

    def __reduce__(self):
        return type(self)._reopen, (self._directory, self._said)

    @classmethod
    def _reopen(cls, directory, said):
        return cls(directory, **said)

    def close(self):
        """Does nothing that must be done: what was read stays valid, and the next call works."""

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def __repr__(self):
        return f"drystone.Cache({self._directory!r})"

    # One key

    def set(self, key, value, expire=None, read=False, tag=None, retry=False):
        """Sets the value of a key. expire: seconds until it is absent. read: value is a file, of which the bytes are
        read. tag: a text or number, or a tuple of several. True."""
        if read:
            value = value.read()
        return self._set(key, value, _at(expire), tag)

    def __setitem__(self, key, value):
        self._set(key, value)

    def get(self, key, default=None, read=False, expire_time=False, tag=False, retry=False):
        """The value of a key, or default. read: as a file, which for bytes is read without a copy. expire_time, tag: in a
        tuple with the time (seconds since 1970) at which it expires, and its tag."""
        if not (read or expire_time or tag):
            return self._get(key, default)
        all_ = self._get_all(key, False)
        if all_ is None:
            all_ = (default, None, None)
        elif read:
            all_ = (self.read(key), *all_[1:])
        return _told(*all_, expire_time, tag)

    def __getitem__(self, key):
        value = self._get(key, ENOVAL)
        if value is ENOVAL:
            raise KeyError(key)
        return value

    def read(self, key, retry=False):
        """The bytes of a value as a file; KeyError if it has none."""
        data = self._read(key)
        if data is None:
            raise KeyError(key)
        if not isinstance(data, (bytes, bytearray, _drystone.Blob)):
            raise _drystone.UnsupportedType(f"the value is no bytes but a {type(data).__name__}: get it instead")
        return _Reader(data)

    def add(self, key, value, expire=None, read=False, tag=None, retry=False):
        """Sets a key only if it has no value; whether it was set. Of several that add at a time one does."""
        if read:
            value = value.read()
        return self._set(key, value, _at(expire), tag, True)

    def touch(self, key, expire=None, retry=False):
        """Gives a key another expiry; False if it has no value."""
        return self._touch(key, _at(expire))

    def _remove_exactly(self, key, before, pulled=None):
        """Removes what was seen under a key; whether it stood there still. pulled: prefix, number and side in a queue."""
        return self._remove(key, before.version)

    def _pop(self, key):
        # What cannot be decoded is an error, and stays where it is.
        while True:
            before = self._snapshot(key)
            if before is None:
                return None
            told = before.told()
            if self._remove_exactly(key, before):
                return told

    def pop(self, key, default=None, expire_time=False, tag=False, retry=False):
        """Removes a key; what its value was, or default. A value that cannot be read here, as a pickle without pickle=True,
        is an error and is kept."""
        return _told(*(self._pop(key) or (default, None, None)), expire_time, tag)

    def delete(self, key, retry=False):
        """Removes a key; False if it had no value."""
        return self._delete(key)

    def __delitem__(self, key, retry=True):
        if not self._delete(key):
            raise KeyError(key)
        return True

    def incr(self, key, delta=1, default=0, retry=False):
        """Adds to a number, in one step: to a whole number of 64 bits, or a float; KeyError if it has no value and
        default is None."""
        return self._incr(key, delta, default)

    def decr(self, key, delta=1, default=0, retry=False):
        """Subtracts from a number: see `incr`."""
        return self._incr(key, -delta, default)

    # Many keys

    def get_many(self, keys, default=None):
        """The values of many keys, in order."""
        return [self._get(key, default) for key in keys]

    def set_many(self, pairs, expire=None, tag=None):
        """Sets many keys: a mapping, or pairs. Each is set by itself."""
        at = _at(expire)
        for key, value in pairs.items() if hasattr(pairs, "items") else pairs:
            self._set(key, value, at, tag)

    def delete_many(self, keys):
        """Removes many keys; how many had a value."""
        return sum(self._delete(key) for key in keys)

    def __iter__(self):
        """The keys in the order in which they came."""
        return iter(self._keys("insertion"))

    def __reversed__(self):
        return reversed(self._keys("insertion"))

    def iterkeys(self, reverse=False):
        """The keys sorted: numbers, then texts, then bytes, then the others. One pass over the index, and a sort."""
        return iter(sorted(self._keys("any"), key=_rank, reverse=reverse))

    def peekitem(self, last=True, expire_time=False, tag=False, retry=False):
        """The key that came last (or first) and its value; KeyError if the cache is empty. One pass over the index."""
        while True:
            end = self._end(last)
            if end is None:
                raise KeyError("dictionary is empty")
            all_ = self._get_all(end[0], False)
            if all_ is None:
                continue
            return _told((end[0], all_[0]), *all_[1:], expire_time, tag)

    def keys(self):
        return _mapping_keys(self)

    def items(self):
        return _mapping_items(self)

    def values(self):
        return _mapping_values(self)

    def popitem(self):
        """Removes and returns the pair that came last; KeyError if the cache is empty."""
        while True:
            end = self._end(True)
            if end is None:
                raise KeyError("popitem(): the cache is empty")
            all_ = self._pop(end[0])
            if all_ is not None:
                return end[0], all_[0]

    def setdefault(self, key, default=None):
        """The value of a key, which is set to default if it has none."""
        while True:
            value = self._get(key, ENOVAL)
            if value is not ENOVAL:
                return value
            self.add(key, default)

    def update(self, other=(), /, **pairs):
        """Sets many keys."""
        self.set_many(other)
        self.set_many(pairs)

    def __eq__(self, other):
        return self is other

    def __ne__(self, other):
        return self is not other

    __hash__ = object.__hash__

    # All of it

    def expire(self, now=None, retry=False):
        """Removes what has expired, or was cleared or evicted before; how many. now: as if it were so late already
        (seconds since 1970)."""
        return self._expire(now)

    def evict(self, tag, retry=False, *, count=False):
        """Removes what carries a tag, in constant time, however much it is; None, because that is not counted. count: goes
        over the index to take it out and count it; how many there were. In a transaction it always does.

        Nobody sees it any more, but `len` and `volume` count it until it has been taken out: by the maintenance thread, which is
        called, by `expire` or `cull`, or here with count."""
        return self._evict_counted(tag) if count else self._evict(tag)

    def cull(self, retry=False):
        """Removes what has expired, and evicts what is above the limits; how many."""
        return self._cull()

    def clear(self, retry=False):
        """Removes everything, in constant time; how many there were, as `len` counts them. In a transaction one by one."""
        count = len(self)
        removed = self._clear()
        return count if removed is None else removed

    def stats(self, enable=True, reset=False):
        """Hits and misses. enable: whether they are counted from now on (None: as before). reset: sets them to zero."""
        stats = self._stats()
        if reset:
            self._reset_stats()
        if enable is not None:
            self._change_settings(statistics=bool(enable))
        return stats["hits"], stats["misses"]

    def info(self):
        """All counts: hits, misses, sets, evictions, expirations, bytes, items."""
        return dict(self._stats())

    def check(self, fix=False, retry=False):
        """Checks the whole store beside its users; a list of warnings, empty if all is well."""
        found = self._store().fsck(deep=True)
        return [warnings.WarningMessage(text, UserWarning, self._directory, 0) for text in found["damage"]]

    def reset(self, key, value=ENOVAL, update=True):
        """A setting; with a value, it is changed for all users of the cache. Also count, size, hits and misses, which
        cannot be changed; settings of SQLite are taken and have no effect."""
        if key in _COUNTS and value is ENOVAL:
            return self._stats()[_COUNTS[key]]
        if key in _IGNORED:
            return _IGNORED[key] if value is ENOVAL else value
        if key not in _SETTINGS:
            raise _drystone.InvalidInput(f"there is no setting {key!r}; expected one of {sorted(_SETTINGS)}")
        if value is not ENOVAL:
            if key in ("size_limit", "item_limit"):
                value = _settings.limit(key, value)
            elif key == "statistics":
                value = bool(value)
            self._change_settings(**{key: value})
        return self._settings()[key]

    @property
    def size_limit(self):
        """Bytes of keys and values at most, or None."""
        return self._settings()["size_limit"]

    @property
    def item_limit(self):
        """Entries at most, or None."""
        return self._settings()["item_limit"]

    @property
    def eviction_policy(self):
        """What goes first when it is full."""
        return self._settings()["eviction_policy"]

    @property
    def statistics(self):
        """Whether hits and misses are counted."""
        return self._settings()["statistics"]

    def transact(self, retry=False):
        """A block that excludes other transactions of this cache, by any thread or process; it can be nested.

        >>> with cache.transact():
        ...     total = cache.incr("total", 123.4)
        ...     count = cache.incr("count")

        When an exception leaves it, what was written in it through this cache is undone: each key is what it was before,
        unless others have set it since. Others see writes before the end, and their single operations are not held
        up; a process that is killed leaves what it has written. Not undone are settings, and what `cull`, `expire` and
        a full cache remove. TimedOut after `timeout` seconds of waiting for another transaction, unless retry.
        """
        from drystone.transactions import transaction

        return transaction(self, retry)

    # Queues

    def push(self, value, prefix=None, side="back", expire=None, read=False, tag=None, retry=False):
        """Puts a value at an end of the queue of a prefix; its key: a whole number from 500 trillion on, after a prefix
        PREFIX-NUMBER. Constant time in the long run, whatever is in the queue."""
        if read:
            value = value.read()
        prefix = None if prefix is None else str(prefix)
        return _queue_key(prefix, self._push(prefix, value, side, _at(expire), tag)[0])

    def pull(self, prefix=None, default=(None, None), side="front", expire_time=False, tag=False, retry=False):
        """Removes the key and the value at an end of a queue; default if it is empty. Each value is pulled once. A value that
        cannot be read here, as a pickle without pickle=True, is an error and stays at its end."""
        return self._end_of_queue(prefix, default, side, expire_time, tag, True)

    def peek(self, prefix=None, default=(None, None), side="front", expire_time=False, tag=False, retry=False):
        """The key and the value at an end of a queue; default if it is empty."""
        return self._end_of_queue(prefix, default, side, expire_time, tag, False)

    def _end_of_queue(self, prefix, default, side, expire_time, tag, removes):
        prefix = None if prefix is None else str(prefix)
        while True:
            found = self._peek(prefix, side)
            if found is None:
                return _told(default, None, None, expire_time, tag)
            number, before = found
            key = _queue_key(prefix, number)
            value, *rest = before.told()
            if not removes or self._remove_exactly(key, before, (prefix, number, side)):
                return _told((key, value), *rest, expire_time, tag)

    # Functions

    def memoize(self, name=None, typed=False, expire=None, tag=None, ignore=(), **options):
        """A decorator that keeps a function's results: of all processes one computes, the others wait for it.

        >>> @cache.memoize()
        ... def area(width, height=1):
        ...     return width * height
        >>> area(2) == area(width=2, height=1)
        True

        Functions, coroutine functions, partials and bound methods of them, told apart by what they hold; results by the values of the arguments, with defaults filled in; see
        `drystone.hashing` for what is equal. Who computes gets the function's own result, all others the kept one, of which
        arrays are read-only. name: instead of module and name of the function. typed: 1 and 1.0 differ.
        ignore: names (or places) of parameters that do not matter. version: when the function is another one; its code
        says so otherwise. wait: seconds after which others that compute are not waited for. stale_while_revalidate:
        seconds after expiry in which the old result is returned while one computes anew. progress: called with a dict once a
        second while computing or waiting takes longer than one; or "tqdm".

        A result that cannot be kept, because it is too large, of a type that is not stored, or the disk is full, is returned
        all the same, with a RuntimeWarning, and computed again the next time. What was imported from joblib is found, not
        computed: see `import_joblib`.
        """
        from drystone.memoize import decorator

        return decorator(self, name, typed=typed, expire=expire, tag=tag, ignore=ignore, **options)

    def report(self):
        """A table of what the cache holds and does; a notebook shows it as one."""
        from drystone.report import Report

        return Report(self)

    def create_tag_index(self):
        """Kept for DiskCache's users: evicting a tag takes constant time without one."""

    def drop_tag_index(self):
        """Kept for DiskCache's users."""

    @property
    def tag_index(self):
        return 1

    def _store(self):
        from drystone.store import Store

        return Store(self._directory)

    def store(self):
        """The store that the cache is in."""
        return self._store()


MutableMapping.register(Cache)

_SETTINGS = {"size_limit", "item_limit", "eviction_policy", "statistics"}
_COUNTS = {"count": "items", "size": "bytes", "hits": "hits", "misses": "misses"}
# DiskCache's settings of SQLite and of files, and what it has where nothing is said: they say nothing here.
_IGNORED = {
    "cull_limit": 10, "tag_index": 1, "disk_min_file_size": 2**15, "disk_pickle_protocol": 5, "sqlite_auto_vacuum": 1,
    "sqlite_cache_size": 2**13, "sqlite_journal_mode": "wal", "sqlite_mmap_size": 2**26, "sqlite_synchronous": 1,
    "shards": 1,
}  # fmt: skip


def _mapping_keys(cache):
    from collections.abc import KeysView

    return KeysView(cache)


def _mapping_items(cache):
    from collections.abc import ItemsView

    return ItemsView(cache)


def _mapping_values(cache):
    from collections.abc import ValuesView

    return ValuesView(cache)


def _rank(key):
    """The order of SQLite: numbers, texts, bytes; then the others by their encoding."""
    if isinstance(key, (int, float)):
        return (1, key, "")
    if isinstance(key, str):
        return (2, 0, key)
    if isinstance(key, bytes):
        return (3, 0, key.decode("latin-1"))
    return (4, 0, Cache._encode_key(key).decode("latin-1"))


def _queue_key(prefix, number):
    return number if prefix is None else f"{prefix}-{number:015d}"


def _told(what, expires, tag, with_expiry, with_tag):
    """What is asked for, in a tuple if it is more than one."""
    told = (what,) + ((expires,) if with_expiry else ()) + ((tag,) if with_tag else ())
    return told if len(told) > 1 else what


class _Reader(io.RawIOBase):
    """A file over a buffer, which it does not copy."""

    def __init__(self, data):
        self._view = memoryview(data)
        self._at = 0

    def readable(self):
        return True

    def seekable(self):
        return True

    def readinto(self, buffer):
        part = self._view[self._at : self._at + len(buffer)]
        buffer[: len(part)] = part
        self._at += len(part)
        return len(part)

    def seek(self, offset, whence=0):
        start = (0, self._at, len(self._view))[whence]
        self._at = max(0, start + offset)
        return self._at

    def tell(self):
        return self._at
