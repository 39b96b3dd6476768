"""Memoized functions that another process cannot import: those of a script, and those made inside of a function.

A function is pickled by its name. A worker of joblib, dask or ray has no script as its main module, so these libraries
pickle the functions of one by value, with cloudpickle; and so is a memoized one here, where cloudpickle is in use.
"""

import collections
import functools
import os
import pickle
import sys
import threading
import weakref

from drystone.hashing import hash_buffer

#: Functions that this process has been sent, by the digest of how they were pickled: a task brings its own each time.
_sent = collections.OrderedDict()
_SENT_MAX = 32
#: What holds more is loaded each time, as a plain function is, and not kept.
_SENT_BYTES_MAX = 1 << 20
#: The caches of what was sent, as long as any of it is there.
_caches = weakref.WeakValueDictionary()
_lock = threading.Lock()
# A thread that is not in a forked child may have held it.
os.register_at_fork(after_in_child=lambda: globals().update(_lock=threading.Lock()))
# What is being pickled or loaded in this thread: a function that calls itself names itself.
_under_way = threading.local()


def find(module, qualname):
    """What has this name in a module that is there; None if nothing has."""
    try:
        return functools.reduce(getattr, qualname.split("."), sys.modules[module])
    except (KeyError, AttributeError):
        return None


def place(memoized):
    """By what name its module has a function; None if by none. A private method has another than it says, and whoever binds a
    function to a name chooses that."""
    module, qualname = memoized.__module__, memoized.__qualname__
    if find(module, qualname) is memoized:
        return qualname
    outer, dot, _ = qualname.rpartition(".")
    space = find(module, outer) if dot else sys.modules.get(module)
    for name, value in list(getattr(space, "__dict__", {}).items()):
        if value is memoized or (isinstance(value, staticmethod) and value.__func__ is memoized):
            return outer + dot + name
    return None


def reduce(memoized):
    """What `__reduce__` returns: a name where that will do, else how to make the function again."""
    module, qualname = memoized.__module__, place(memoized)
    is_named = qualname is not None
    qualname = qualname or memoized.__qualname__
    pickler = sys.modules.get("cloudpickle") or sys.modules.get("joblib.externals.cloudpickle")
    if pickler is None or (is_named and module not in ("__main__", "__mp_main__")):
        return qualname
    tokens = _tokens()
    if id(memoized) in tokens:
        return _itself, (id(memoized),)
    tokens[id(memoized)] = memoized
    said, refused = memoized._said, None
    try:
        # Not the cache, which the process that loads it has once for all functions.
        sent = pickler.dumps(said[1:])
    except Exception as error:
        if not is_named:
            raise
        # By its name it may yet be found: a process that was forked has it.
        sent, refused = None, f"{type(error).__name__}: {error}"
    finally:
        del tokens[id(memoized)]
    names = (module, qualname, memoized.name, memoized.version)
    # Where it is made again nobody can read its source.
    imports = memoized._imports_of().known(memoized.cache)
    return _again, (type(memoized), names, _how(memoized), id(memoized), sent, refused, imports)


def _how(memoized):
    """What else tells two memoized functions of one name and code apart."""
    cache, _, _, typed, expire, tag, ignore, _, wait, stale, _ = memoized._said
    return (type(cache), cache._directory, cache._said), (typed, expire, tag, sorted(map(str, ignore)), wait, stale)


def _tokens():
    try:
        return _under_way.tokens
    except AttributeError:
        _under_way.tokens = {}
        return _under_way.tokens


def _itself(token):
    return _tokens()[token]


def _again(kind, names, how, token, sent, refused, imports):
    """The function of that name, if it is there, else the one that was sent."""
    module, qualname, name, version = names
    found = find(module, qualname)
    if type(found) is kind and (found.name, found.version, _how(found)) == (name, version, how):
        return found
    if sent is None:
        raise pickle.PicklingError(f"{qualname} is not here, and could not be sent: {refused}")
    tokens = _tokens()
    # What is a part of another function may name that one, and so is another each time.
    is_kept = not tokens and len(sent) <= _SENT_BYTES_MAX
    digest = hash_buffer(pickle.dumps((names, how, sent, imports))) if is_kept else None
    with _lock:
        if is_kept and digest in _sent:
            _sent.move_to_end(digest)
            return _sent[digest]
    # It is there, and says its name, before what it is made of is loaded, which may name it.
    again = kind.__new__(kind)
    again.name, again.version = name, version
    outer, tokens[token] = tokens.get(token), again
    try:
        function, *rest = pickle.loads(sent)
        made = (_cache(*how[0]), function, *rest)
        # Its version was found where its code stands.
        again.__init__(*made[:7], 0, *made[8:])
    finally:
        if outer is None:
            del tokens[token]
        else:
            tokens[token] = outer
    again._said = made
    # The main module has another name there, and its code another digest; the results are the same.
    again._call_it(name, version)
    again._imports_of(imports)
    if is_kept:
        with _lock:
            again = _sent.setdefault(digest, again)
            while len(_sent) > _SENT_MAX:
                _sent.popitem(last=False)
    return again


def _cache(kind, directory, said):
    key = (kind, directory, tuple(sorted(said.items())), os.getpid())
    with _lock:
        cache = _caches.get(key)
    if cache is None:
        cache = kind._reopen(directory, said)
        with _lock:
            cache = _caches.setdefault(key, cache)
    return cache
