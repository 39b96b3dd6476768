"""Bringing existing caches over: DiskCache's directories, and joblib's."""

import itertools
import json
import pathlib
import pickle
import re
import sqlite3
import time
import warnings

from drystone import _from_joblib
from drystone._drystone import Error, InvalidInput
from drystone.cache import Cache

# How DiskCache says where a value is.
_RAW, _BINARY, _TEXT, _PICKLE = 1, 2, 3, 4
# Its queues count from here; so far from it they are looked for.
_QUEUE_START, _QUEUE_SPAN = 500_000_000_000_000, 1_000_000
# Files of joblib of this length are mapped.
_MAPPED_FROM = 64 << 20
_TAG_BYTES = 255


class Imported:
    """What was brought over: `imported` entries, `skipped` pairs of a key and the reason."""

    def __init__(self):
        self.imported, self.skipped = 0, []

    def __repr__(self):
        return f"<{self.imported} imported, {len(self.skipped)} skipped>"


def import_diskcache(path, into=None, *, pickle=None):
    """Brings the entries of a DiskCache directory (also a FanoutCache's) over, with their expiry and tags.

    into: a `Cache`, or a directory. Pickled keys and values are read only if the cache was opened with pickle=True (or
    pickle=True is passed): a pickle can execute anything. DiskCache need not be installed, and nothing of it changes.
    Returns what was imported, and what was skipped and why.
    """
    path = pathlib.Path(path).expanduser().absolute()
    shards = sorted(path.glob("[0-9][0-9][0-9]/cache.db")) or [path / "cache.db"]
    if not shards[0].is_file():
        raise InvalidInput(f"{path} is no directory of DiskCache: it has no cache.db")
    cache = into if isinstance(into, Cache) else Cache(into, pickle=bool(pickle))
    allowed = cache._said["pickle"] if pickle is None else pickle
    done = Imported()
    ends, taken = {}, {}
    for shard in shards:
        _import_shard(shard, cache, allowed, done, ends, taken)
    for prefix, numbers in ends.items():
        for number in numbers:
            cache._adopt(prefix, number)
    return done


def _import_shard(database, cache, allowed, done, ends, taken):
    connection = sqlite3.connect(f"{database.as_uri()}?mode=ro", uri=True)
    try:
        rows = connection.execute(
            "SELECT key, raw, expire_time, tag, mode, filename, value FROM Cache ORDER BY rowid"
        )
        for key, raw, expire_time, tag, mode, filename, value in rows:
            name = repr(key)[:80]
            try:
                if expire_time is not None and expire_time <= time.time():
                    done.skipped.append((name, "it has expired"))
                    continue
                if not raw:
                    key = _unpickled(bytes(key), allowed, "its key")
                elif isinstance(key, bytes):
                    key = bytes(key)
                here = cache._encode_key(key)
                if here in taken:
                    done.skipped.append((name, f"here it is the same key as {taken[here]}, which has been brought over"))
                    continue
                value = _diskcache_value(database.parent, mode, filename, value, allowed)
                cache._set(key, value, expire_time, tag)
                done.imported += 1
                taken[here] = name
                _note_queue(key, ends)
            except (Error, OSError, ValueError, TypeError, EOFError, ImportError, AttributeError) as error:
                done.skipped.append((name, str(error)))
            except Exception as error:  # whatever a pickle raises
                done.skipped.append((name, f"{type(error).__name__}: {error}"))
    except sqlite3.DatabaseError as error:
        raise InvalidInput(f"{database} cannot be read: {error}") from error
    finally:
        connection.close()


def _note_queue(key, ends):
    """Widens the ends of the queue that a key is of, if it is of one."""
    prefix, number = None, key
    if type(key) is str and re.fullmatch(r"(?s).*-\d{15}", key):
        prefix, number = key[:-16], int(key[-15:])
    # Whole numbers far from where queues begin are keys of another kind.
    if type(number) is int and abs(number - _QUEUE_START) < _QUEUE_SPAN:
        low, high = ends.get(prefix, (number, number))
        ends[prefix] = min(low, number), max(high, number)


def _diskcache_value(directory, mode, filename, value, allowed):
    if mode == _RAW:
        return bytes(value) if isinstance(value, memoryview) else value
    if filename is not None:
        where = (directory / filename).resolve()
        if directory.resolve() not in where.parents:
            raise ValueError(f"its file {filename} is outside of the directory")
        data = where.read_bytes()
    else:
        data = bytes(value)
    if mode == _BINARY:
        return data
    if mode == _TEXT:
        return data.decode("utf-8")
    if mode == _PICKLE:
        return _unpickled(data, allowed, "its value")
    raise ValueError(f"it is stored in an unknown way ({mode})")


def _unpickled(data, allowed, what):
    if not allowed:
        raise ValueError(f"{what} is a pickle: pass pickle=True if you trust whoever wrote it")
    return pickle.loads(data)


def import_joblib(path, into=None, *, pickle=None):
    """Brings the results of a joblib.Memory directory over: functions that are memoized in this cache find them.

    A miss of a function that has the name and the source (but for decorators) that joblib kept results of, for arguments that
    joblib hashes as it did then, is served from them, and kept as a result of its own from then on: see
    `Cache.memoize`. Until then each stands under ("joblib", function, version, hash of arguments): a pair of the result and
    the time when it was computed, with the function and the arguments' texts as its tags, so that `cache.evict(function)`
    drops what has not been asked for.

    into: a `Cache`, or a directory. joblib is needed for reading, and pickle=True, because joblib's files are pickles.
    Results of functions of which joblib does not say the source are brought over, and not found. Returns what was imported, and
    what was skipped and why.
    """
    path = pathlib.Path(path).expanduser().absolute()
    root = path / "joblib" if (path / "joblib").is_dir() else path
    found = sorted(root.rglob("output.pkl"))
    if not found:
        raise InvalidInput(f"{path} is no directory of joblib.Memory: it holds no output.pkl")
    cache = into if isinstance(into, Cache) else Cache(into, pickle=bool(pickle))
    if not (cache._said["pickle"] if pickle is None else pickle):
        raise InvalidInput("results of joblib are pickles: pass pickle=True if you trust whoever wrote them")
    done = Imported()
    for directory, outputs in itertools.groupby(found, lambda output: output.parent.parent):
        function = _from_joblib.named_in(directory.relative_to(root))
        version, before = _from_joblib.version_in(directory), done.imported
        for output in outputs:
            key = _from_joblib.key(function, version, output.parent.name)
            try:
                _import_result(cache, key, function, output)
                done.imported += 1
            except Exception as error:  # whatever a pickle raises
                done.skipped.append((repr(key), f"{type(error).__name__}: {error}"))
        if version is not None and done.imported > before:
            # Behind them, so that a cache that is full keeps it longer than them.
            cache._set(_from_joblib.mark(function), str(directory), None, _tags(function))
    return done


def _import_result(cache, key, function, output):
    import joblib

    about = _metadata(output.parent)
    stat = output.stat()
    computed = about.get("time")
    if not isinstance(computed, (int, float)):
        computed = stat.st_mtime
    # What does not fit into memory, maybe, is not read into it. What is compressed is.
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        result = joblib.load(output, mmap_mode="r" if stat.st_size >= _MAPPED_FROM else None)
    cache._set(key, (result, float(computed)), None, _tags(function, _arguments(about)))


def _tags(*texts):
    return tuple(text for text in texts if text and len(text.encode("utf-8")) <= _TAG_BYTES)


def _metadata(directory):
    try:
        said = json.loads((directory / "metadata.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return said if isinstance(said, dict) else {}


def _arguments(about):
    said = about.get("input_args", {})
    if not isinstance(said, dict):
        return None
    text = ", ".join(f"{name}={value}" for name, value in said.items())
    return text.encode("utf-8", "replace")[:200].decode("utf-8", "ignore")
