"""Bringing existing caches over: DiskCache's directories, and joblib's."""

import json
import pathlib
import pickle
import re
import sqlite3
import time

from drystone._drystone import Error, InvalidInput
from drystone.cache import Cache

# How DiskCache says where a value is.
_RAW, _BINARY, _TEXT, _PICKLE = 1, 2, 3, 4
# Its queues count from here; so far from it they are looked for.
_QUEUE_START, _QUEUE_SPAN = 500_000_000_000_000, 1_000_000


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
    ends = {}
    for shard in shards:
        _import_shard(shard, cache, allowed, done, ends)
    for prefix, numbers in ends.items():
        for number in numbers:
            cache._adopt(prefix, number)
    return done


def _import_shard(database, cache, allowed, done, ends):
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
                value = _diskcache_value(database.parent, mode, filename, value, allowed)
                cache._set(key, value, expire_time, tag)
                done.imported += 1
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
    """Brings the results of a joblib.Memory directory over: each under the key ("joblib", function, hash of arguments),
    with the arguments' texts in its tag. joblib is needed for reading, and pickle=True, because joblib's files are
    pickles."""
    path = pathlib.Path(path).expanduser().absolute()
    root = path / "joblib" if (path / "joblib").is_dir() else path
    found = sorted(root.rglob("output.pkl"))
    if not found:
        raise InvalidInput(f"{path} is no directory of joblib.Memory: it holds no output.pkl")
    cache = into if isinstance(into, Cache) else Cache(into, pickle=bool(pickle))
    if not (cache._said["pickle"] if pickle is None else pickle):
        raise InvalidInput("results of joblib are pickles: pass pickle=True if you trust whoever wrote them")
    import joblib

    done = Imported()
    for output in found:
        function = ".".join(output.parent.parent.relative_to(root).parts)
        key = ("joblib", function, output.parent.name)
        try:
            cache._set(key, joblib.load(output), None, _arguments(output.parent))
            done.imported += 1
        except Exception as error:  # whatever a pickle raises
            done.skipped.append((repr(key), f"{type(error).__name__}: {error}"))
    return done


def _arguments(directory):
    try:
        said = json.loads((directory / "metadata.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    text = ", ".join(f"{name}={value}" for name, value in said.get("input_args", {}).items())
    return text.encode("utf-8")[:200].decode("utf-8", "ignore") or None
