"""Transactions of a cache: one at a time, of all processes, and undone when an exception leaves them.

What a transaction writes is seen by others at once. What each key was before is kept in memory until its end; after an
exception it is put back, in reverse, where nobody else has set another value since. A process that is killed in the middle
leaves what it has written so far, and the next transaction begins at once: the lock is the kernel's.
"""

import contextlib
import functools
import os
import threading
import time

from drystone._drystone import RawCache, Reentered, TimedOut

_KEY = ("drystone", "transaction")
#: The transactions of this process, by the directory and the name of the cache.
_RUNNING = {}


class Journal:
    """A transaction that runs: who runs it, and what its writes have replaced."""

    #: The methods that write, which stand in the cache itself while it runs.
    WRITES = ("_set", "_delete", "_remove_exactly", "_touch", "_incr", "_push", "_clear", "_evict", "_evict_counted")

    def __init__(self, owner):
        self._pid, self._thread, self._owner = os.getpid(), threading.get_ident(), owner
        # By the bytes of the key: the key, what stood there (or None), and the version that stands there now (or None).
        self._changes = {}
        # By the bytes of the key: prefix, number and side of what was pulled.
        self._pulled = {}

    # Who

    def is_of(self, owner):
        return self._pid == os.getpid() and self._owner == owner

    def would_wait_for_itself(self):
        """Whether another task of this thread runs it."""
        return self._pid == os.getpid() and self._thread == threading.get_ident()

    @contextlib.contextmanager
    def written_by(self, cache):
        """While it lasts, what this owner writes through the cache is kept in the journal."""
        if vars(cache).get("_journal") is self:
            yield
            return
        # In the place of a parent's, in a child that was forked in the middle of one.
        vars(cache).update({name: functools.partial(self._write, cache, name) for name in self.WRITES}, _journal=self)
        try:
            yield
        finally:
            for name in (*self.WRITES, "_journal"):
                vars(cache).pop(name, None)

    def _write(self, cache, name, *args, **kwargs):
        from drystone.cache import _owner

        # Other threads may be using the same cache.
        done = getattr(self if self.is_of(_owner()) else type(cache), name)
        return done(cache, *args, **kwargs)

    # Writes: each replaces exactly what it has seen, so that exactly this can be put back

    def _note(self, cache, key, before, version):
        at = cache._encode_key(key)
        known = self._changes.get(at)
        if known is not None and known[2] == (before.version if before is not None else None):
            known[2] = version
        else:
            # The first change, or one of what others have set meanwhile: they have replaced ours for good.
            self._changes.pop(at, None)
            self._changes[at] = [key, before, version]

    def _set(self, cache, key, value, expire_time=None, tag=None, add=False):
        while True:
            before = cache._snapshot(key)
            if add and before is not None:
                return False
            expected = before.version if before is not None else None
            version = cache._replace(key, expected, value, expire_time, tag)
            if version is not None:
                self._note(cache, key, before, version)
                return True

    def _touch(self, cache, key, expire_time=None):
        while True:
            before = cache._snapshot(key)
            if before is None:
                return False
            version = cache._restore(key, before.version, before, touched=True, expire_time=expire_time)
            if version is not None:
                self._note(cache, key, before, version)
                return True

    def _incr(self, cache, key, delta, default):
        while True:
            before = cache._snapshot(key)
            if before is None and default is None:
                raise KeyError(key)
            total = cache._sum(default if before is None else before.told()[0], delta)
            expected = before.version if before is not None else None
            version = cache._replace(key, expected, total, like=before)
            if version is not None:
                self._note(cache, key, before, version)
                return total

    def _remove_exactly(self, cache, key, before, pulled=None):
        if not cache._remove(key, before.version):
            return False
        self._note(cache, key, before, None)
        if pulled is not None:
            self._pulled[cache._encode_key(key)] = pulled
        return True

    def _delete(self, cache, key):
        while True:
            before = cache._snapshot(key)
            if before is None:
                return False
            if self._remove_exactly(cache, key, before):
                return True

    def _clear(self, cache):
        return sum(self._delete(cache, key) for key in cache._keys("any"))

    def _evict(self, cache, tag):
        return sum(self._delete(cache, key) for key in cache._keys_tagged(tag))

    _evict_counted = _evict

    def _push(self, cache, prefix, value, side, expire_time=None, tag=None):
        from drystone.cache import _queue_key

        number, version = RawCache._push(cache, prefix, value, side, expire_time, tag)
        self._note(cache, _queue_key(prefix, number), None, version)
        return number, version

    # The end

    def undo(self, cache, error):
        """Puts back what stood there before; what cannot be is told in a note of the error. A forked child, which leaves
        the block as well, undoes nothing."""
        if self._pid != os.getpid():
            return
        for at, (key, before, version) in reversed(self._changes.items()):
            try:
                self._undo(cache, at, key, before, version)
            except Exception as failed:  # the others are put back all the same
                error.add_note(f"{key!r} could not be put back after the transaction: {failed}")
        self._changes.clear()

    def _undo(self, cache, at, key, before, version):
        if before is None:
            if version is not None:
                RawCache._remove(cache, key, version)
            return
        is_back = RawCache._restore(cache, key, version, before) is not None
        if not is_back and version is not None:
            # What was set here may have expired, or was evicted.
            is_back = RawCache._restore(cache, key, None, before) is not None
        if at not in self._pulled:
            return
        prefix, number, side = self._pulled[at]
        if is_back:
            RawCache._adopt(cache, prefix, number)
        elif version is None:
            # Others have pushed under its number: it goes back to its side under another.
            value, expires, tag = before.told()
            RawCache._push(cache, prefix, value, side, expires, tag)


def _claim(cache, owner):
    end = None if cache.timeout is None else time.monotonic() + cache.timeout
    while True:
        ticket = cache._change_ticket()
        claim = cache._claim(_KEY, owner)
        if claim is not None:
            return claim
        left = 0.05 if end is None else end - time.monotonic()
        if left <= 0:
            raise TimedOut(f"another transaction of the cache has lasted for {cache.timeout} s: wait longer (timeout=)")
        cache._await_change(ticket, min(left, 0.05))


@contextlib.contextmanager
def transaction(cache, retry):
    """What `Cache.transact` does; retry: waits for longer than the cache's timeout."""
    from drystone.cache import _owner

    place, owner = (os.path.realpath(cache.directory), cache._said["name"]), _owner()
    running = _RUNNING.get(place)
    if running is not None and running.is_of(owner):
        with running.written_by(cache):
            yield
        return
    if running is not None and running.would_wait_for_itself():
        raise Reentered("a transaction of another task of this thread is not over: do not await inside of one")
    claim = None
    while claim is None:
        try:
            claim = _claim(cache, owner)
        except TimedOut:
            if not retry:
                raise
    journal = _RUNNING[place] = Journal(owner)
    try:
        with journal.written_by(cache):
            yield
    except BaseException as error:
        journal.undo(cache, error)
        raise
    finally:
        if _RUNNING.get(place) is journal:
            del _RUNNING[place]
        claim.release()
