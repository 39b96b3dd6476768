"""Memoized functions that another process cannot import: those of a script, and those made inside of a function.

A function is pickled by its name. A worker of joblib, dask or ray has no script as its main module, so these libraries
pickle the functions of one by value, with cloudpickle; and so is a memoized one here, where cloudpickle is in use.
"""

import collections
import functools
import pickle
import sys
import threading

from drystone.hashing import hash_buffer

#: Functions that this process has been sent, by the digest of how they were pickled: a task brings its own each time.
_sent = collections.OrderedDict()
_SENT_MAX = 256
_lock = threading.Lock()
# What is being pickled or loaded in this thread: a function that calls itself names itself.
_under_way = threading.local()


def find(module, qualname):
    """What has this name in a module that is there; None if nothing has."""
    try:
        return functools.reduce(getattr, qualname.split("."), sys.modules[module])
    except (KeyError, AttributeError):
        return None


def reduce(memoized):
    """What `__reduce__` returns: a name where that will do, else how to make the function again."""
    module, qualname = memoized.__module__, memoized.__qualname__
    is_named = find(module, qualname) is memoized
    pickler = sys.modules.get("cloudpickle") or sys.modules.get("joblib.externals.cloudpickle")
    if pickler is None or (is_named and module not in ("__main__", "__mp_main__")):
        return qualname
    tokens = _tokens()
    if id(memoized) in tokens:
        return _itself, (id(memoized),)
    tokens[id(memoized)] = memoized
    try:
        sent = pickler.dumps(memoized._said)
    except Exception:
        # Something that it uses cannot be pickled; by its name it may yet be found.
        return qualname
    finally:
        del tokens[id(memoized)]
    return _again, (type(memoized), module, qualname, memoized.name, memoized.version, id(memoized), sent)


def _tokens():
    try:
        return _under_way.tokens
    except AttributeError:
        _under_way.tokens = {}
        return _under_way.tokens


def _itself(token):
    return _tokens()[token]


def _again(kind, module, qualname, name, version, token, sent):
    """The function of that name, if it is there, else the one that was sent."""
    found = find(module, qualname)
    if isinstance(found, kind) and (found.name, found.version) == (name, version):
        return found
    digest = hash_buffer(sent)
    with _lock:
        if digest in _sent:
            _sent.move_to_end(digest)
            return _sent[digest]
    # It is there before what it is made of is loaded, which may name it.
    again, tokens = kind.__new__(kind), _tokens()
    outer, tokens[token] = tokens.get(token), again
    try:
        again.__init__(*pickle.loads(sent))
    finally:
        if outer is None:
            del tokens[token]
        else:
            tokens[token] = outer
    # The main module has another name there, and its code another digest; the results are the same.
    again._call_it(name, version)
    with _lock:
        again = _sent.setdefault(digest, again)
        while len(_sent) > _SENT_MAX:
            _sent.popitem(last=False)
    return again
