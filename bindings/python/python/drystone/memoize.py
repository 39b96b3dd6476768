"""Functions whose results are kept: computed once, by one process, whatever it returns."""

import asyncio
import functools
import inspect
import itertools
import os
import threading
import time
import types
import warnings

from drystone import _from_joblib, _settings, by_value
from drystone._drystone import Error, InvalidInput, UnsupportedType
from drystone.cache import ENOVAL, Cache, _owner
from drystone.hashing import _module, canonical, code_digest, hash_buffer

_SAID = "drystone.memoize"
# Whoever computes beside its caller, who may ask again meanwhile: owners that are no thread and no task.
_BESIDE = itertools.count(1 << 63)
#: A longer key is hashed.
_KEY_BYTES = 200
#: So long a computation goes on, or is waited for, before anybody is told.
_TELL_AFTER = 1.0


def memoize(directory=None, /, **options):
    """A decorator that keeps a function's results in the cache of a directory: see `Cache.memoize`.

    >>> @memoize(directory)
    ... def slow(x):
    ...     return x ** 2
    >>> slow(3)
    9
    """
    said = {name: options.pop(name) for name in ("size_limit", "eviction_policy", "pickle") if name in options}
    cache = directory if isinstance(directory, Cache) else Cache(directory, **said)
    return decorator(cache, **options)


def decorator(
    cache,
    name=None,
    *,
    typed=False,
    expire=None,
    tag=None,
    ignore=(),
    version=None,
    wait=None,
    stale_while_revalidate=None,
    progress=None,
):
    """What `Cache.memoize` returns."""
    if callable(name) or isinstance(name, (staticmethod, classmethod)):
        raise TypeError("memoize is called before it decorates: write @cache.memoize()")
    wait = _settings.seconds("wait", wait)
    stale_while_revalidate = _settings.seconds("stale_while_revalidate", stale_while_revalidate, 0, _settings.SPAN_MAX)
    expire = _settings.seconds("expire", expire, -_settings.SPAN_MAX, _settings.SPAN_MAX)
    progress = _settings.progress(progress)
    ignore = {ignore} if isinstance(ignore, str) else set(ignore)

    def decorate(function):
        if isinstance(function, (staticmethod, classmethod)):
            raise TypeError(f"write @{type(function).__name__} above @cache.memoize(), not below it")
        inner, _ = _unbound(function)
        if not callable(inner):
            raise UnsupportedType(f"a {type(inner).__name__} cannot be memoized: it cannot be called")
        if not hasattr(inner, "__qualname__") and (name is None or version is None):
            raise UnsupportedType(
                f"an object of type {type(inner).__name__} that can be called has no name and no code of its own: memoize a "
                "function that calls it, or say name= and version="
            )
        if inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function):
            raise UnsupportedType(f"{inner.__qualname__} yields its results: return a list of them to keep it")
        kind = AsyncMemoized if inspect.iscoroutinefunction(function) else Memoized
        return kind(
            cache, function, name, typed, expire, tag, ignore, version, wait, stale_while_revalidate, progress
        )

    return decorate


def _unbound(function):
    """The function of a partial or of a bound method, and what it is called with besides."""
    held = []
    while True:
        if isinstance(function, functools.partial):
            held += [function.args, function.keywords]
            function = function.func
        elif isinstance(function, types.MethodType):
            held.append(function.__self__)
            function = function.__func__
        else:
            return function, tuple(held)


class Memoized:
    """A function whose results are kept. Called as the function is; `call` computes in any case."""

    __class_getitem__ = classmethod(types.GenericAlias)
    # Of one that is being made from how it was pickled.
    _held = _counts = ()

    def __init__(
        self, cache, function, name, typed, expire, tag, ignore, version, wait, stale, progress
    ):
        inner, self._held = _unbound(function)
        functools.update_wrapper(self, inner)
        self.__wrapped__ = function
        self.cache = cache
        self.function = function
        self._signature = inspect.signature(function)
        self._typed, self._expire, self._tag, self._ignore = typed, expire, tag, ignore
        self._wait, self._stale, self._progress = wait, stale, progress
        parameters = self._signature.parameters
        # Of a bound method its object is a parameter, too, which may be ignored.
        own = next(iter(inspect.signature(inner).parameters), None) if isinstance(function, types.MethodType) else None
        self._counts = () if own in ignore else self._held
        unknown = {it for it in ignore if isinstance(it, str)} - {*parameters, own}
        if unknown and not any(it.kind is it.VAR_KEYWORD for it in parameters.values()):
            raise InvalidInput(f"ignore= names {sorted(unknown)}, which are no parameters of {name or inner.__qualname__}")
        # How to make it again.
        self._said = (cache, function, name, typed, expire, tag, ignore, version, wait, stale, progress)
        # Results are kept with their dates, or keyed without some of the arguments: others do not meet them.
        self._how = (*sorted(map(str, ignore)), *([] if stale is None else [("dated",)]))
        if self._counts:
            self._how = (*self._how, ("bound", len(self._counts)))
        # Versions of a function live side by side: each has keys of its own.
        self._call_it(
            name or f"{_module(inner.__module__)}.{inner.__qualname__}",
            canonical(version) if version is not None else code_digest(inner),
        )
        self._hits = self._misses = 0
        # What was imported from joblib, from the first miss on.
        self._imports = None
        self._plain = all(
            it.kind is it.POSITIONAL_OR_KEYWORD and it.default is it.empty for it in self._signature.parameters.values()
        )

    def _call_it(self, name, version):
        self.name, self.version = name, version
        self._begin = (_SAID, name, version, *([self._how] if self._how else []))

    # Keys

    def key(self, *args, **kwargs):
        """The key in the cache under which the result for these arguments is kept."""
        if self._plain and not kwargs and not self._ignore and len(args) == len(self._signature.parameters):
            said = args
        else:
            said = self._bound(args, kwargs)
        if self._counts:
            said = (*self._counts, *said)
        said = tuple([canonical(it, self._typed) for it in said])
        key = (*self._begin, said)
        encoded = self.cache._encode_key(key)
        if len(encoded) <= _KEY_BYTES:
            return key
        return (*self._begin, hash_buffer(encoded))

    __cache_key__ = key

    def _bound(self, args, kwargs):
        bound = self._signature.bind(*args, **kwargs)
        bound.apply_defaults()
        said = []
        for at, (name, value) in enumerate(bound.arguments.items()):
            if name in self._ignore or at in self._ignore:
                continue
            kind = self._signature.parameters[name].kind
            if kind is inspect.Parameter.VAR_KEYWORD:
                said.append({it: what for it, what in value.items() if it not in self._ignore})
            else:
                said.append(value)
        # Where nothing is left out or defaulted, this is what the fast way makes of the arguments.
        return said

    # Calls

    def __call__(self, *args, **kwargs):
        key = self.key(*args, **kwargs)
        value, is_fresh = self._look(key)
        if value is not ENOVAL:
            if not is_fresh:
                self._revalidate(key, args, kwargs)
            return value
        return self._compute_once(key, args, kwargs)

    def _look(self, key):
        value = self.cache._get(key, ENOVAL)
        if value is ENOVAL:
            return ENOVAL, False
        self._hits += 1
        if self._stale is not None:
            value, fresh_until = value
            return value, fresh_until is None or time.time() < fresh_until
        return value, True

    def _keep(self, key, value, age=0.0):
        """Keeps a result that was computed so many seconds ago; whether it did."""
        expire, kept = self._expire, value
        if expire is not None:
            expire -= age
        if self._stale is not None:
            kept = (value, None if expire is None else time.time() + expire)
            expire = None if expire is None else expire + self._stale
        if expire is not None and expire <= 0:
            return False
        try:
            self.cache.set(key, kept, expire=expire, tag=self._tag)
            return True
        except (Error, OSError) as error:
            # What took hours to compute is not lost to a full disk, or to a type that is not stored.
            warnings.warn(f"the result of {self.name} is not kept: {error}", RuntimeWarning, stacklevel=2)
            return False

    def _imports_of(self, known=None):
        if self._imports is None or known is not None:
            self._imports = _from_joblib.Imports(self.function, self._signature, self._said[2], self._ignore, known)
        return self._imports

    def _imported(self, args, kwargs):
        """Where the result for these arguments is that was imported from joblib, if there is one that has not been asked for;
        what it is, and how old."""
        found = self._imports_of().find(self.cache, args, kwargs)
        if found is None:
            return None
        try:
            kept = self.cache._get(found, None)
        except (Error, OSError) as error:
            what = f"the result of {self.name} that was imported from joblib cannot be read, and is computed: {error}"
            warnings.warn(what, RuntimeWarning, stacklevel=2)
            return None
        if kept is None:
            return None
        value, computed = kept
        age = max(0.0, time.time() - computed)
        return (found, value, age) if self._expire is None or age < self._expire else None

    def _take_over(self, key, args, kwargs):
        """The result that was imported from joblib, which is kept as one of this function from now on; ENOVAL if there is none."""
        imported = self._imported(args, kwargs)
        if imported is None:
            return ENOVAL
        found, value, age = imported
        self._hits += 1
        if self._keep(key, value, age):
            self.cache.delete(found)
        return value

    def _compute_once(self, key, args, kwargs):
        start, told = time.monotonic(), _Told(self._progress, self.name)
        while True:
            ticket = self.cache._change_ticket()
            claim = self.cache._claim(key, _owner())
            if claim is not None:
                break
            waited = time.monotonic() - start
            if self._wait is not None and waited >= self._wait:
                # Whoever computes may be stopped: its right is not waited for any longer.
                break
            told.tell("waiting", waited)
            self.cache._await_change(ticket, 0.05)
            value, _ = self._look(key)
            if value is not ENOVAL:
                told.end()
                return value
        try:
            # Who had the right before may have kept the value since it was looked for.
            value, _ = self._look(key)
            if value is ENOVAL:
                value = self._take_over(key, args, kwargs)
            if value is ENOVAL:
                value = self._compute(key, args, kwargs, told)
            return value
        finally:
            told.end()
            if claim is not None:
                claim.release()

    def _compute(self, key, args, kwargs, told):
        self._misses += 1
        with told.computing():
            value = self.function(*args, **kwargs)
        self._keep(key, value)
        return value

    def _revalidate(self, key, args, kwargs):
        """Computes anew beside the caller, who has the old value, unless somebody does already."""
        claim = self.cache._claim(key, next(_BESIDE))
        if claim is None:
            return

        def compute():
            try:
                self._misses += 1
                self._keep(key, self.function(*args, **kwargs))
            finally:
                claim.release()

        threading.Thread(target=compute, name="drystone-revalidate", daemon=True).start()

    def call(self, *args, **kwargs):
        """Computes, whatever is kept, and keeps nothing."""
        return self.function(*args, **kwargs)

    def refresh(self, *args, **kwargs):
        """Computes, whatever is kept, and keeps the result."""
        # Before the function, which may change them, or take hours for arguments that have no key.
        key = self.key(*args, **kwargs)
        value = self.function(*args, **kwargs)
        self._keep(key, value)
        return value

    def invalidate(self, *args, **kwargs):
        """Forgets the result for these arguments; False if there was none."""
        was_kept = self.cache.delete(self.key(*args, **kwargs))
        imported = self._imported(args, kwargs)
        return was_kept if imported is None else self.cache.delete(imported[0]) or was_kept

    def contains(self, *args, **kwargs):
        """Whether the result for these arguments is kept."""
        return self.key(*args, **kwargs) in self.cache or self._imported(args, kwargs) is not None

    def shelve(self, *args, **kwargs):
        """A reference of a few bytes to the result, which any process of the node can open without a copy."""
        key = self.key(*args, **kwargs)
        if key not in self.cache:
            self(*args, **kwargs)
        return Shelved(self.cache, key, self._stale is not None)

    def cache_info(self):
        """Hits and misses of this process."""
        return {"hits": self._hits, "misses": self._misses, "name": self.name}

    def __get__(self, instance, owner=None):
        if instance is None:
            return self
        return BoundMemoized(self, instance)

    def __reduce__(self):
        return by_value.reduce(self)

    def __copy__(self):
        return self

    def __deepcopy__(self, _):
        return self

    def _canonical(self, typed, depth):
        said = ("memoized", self.name, self.version)
        return (*said, canonical(self._held, typed, depth)) if self._held else said

    def __repr__(self):
        return f"<memoized {self.name} in {self.cache!r}>"


class AsyncMemoized(Memoized):
    """A coroutine function whose results are kept."""

    def __init__(
        self, cache, function, name, typed, expire, tag, ignore, version, wait, stale, progress
    ):
        super().__init__(cache, function, name, typed, expire, tag, ignore, version, wait, stale, progress)
        self._tasks = set()
        if hasattr(inspect, "markcoroutinefunction"):
            inspect.markcoroutinefunction(self)
        else:
            # Python 3.11 asks asyncio for a mark, and inspect for the code of what looks like a function.
            self._is_coroutine = asyncio.coroutines._is_coroutine
            inner, _ = _unbound(function)
            self.__code__, self.__defaults__, self.__kwdefaults__ = inner.__code__, inner.__defaults__, inner.__kwdefaults__

    async def __call__(self, *args, **kwargs):
        key = self.key(*args, **kwargs)
        value, is_fresh = self._look(key)
        if value is not ENOVAL:
            if not is_fresh:
                task = asyncio.get_running_loop().create_task(self._anew(key, args, kwargs))
                # The loop itself does not keep it.
                self._tasks.add(task)
                task.add_done_callback(self._tasks.discard)
            return value
        start, told = time.monotonic(), _Told(self._progress, self.name)
        while True:
            claim = self.cache._claim(key, _owner())
            waited = time.monotonic() - start
            if claim is not None or (self._wait is not None and waited >= self._wait):
                break
            told.tell("waiting", waited)
            await asyncio.sleep(0.005)
            value, _ = self._look(key)
            if value is not ENOVAL:
                told.end()
                return value
        try:
            value, _ = self._look(key)
            if value is ENOVAL:
                value = self._take_over(key, args, kwargs)
            if value is ENOVAL:
                self._misses += 1
                with told.computing():
                    value = await self.function(*args, **kwargs)
                self._keep(key, value)
            return value
        finally:
            told.end()
            if claim is not None:
                claim.release()

    async def _anew(self, key, args, kwargs):
        claim = self.cache._claim(key, next(_BESIDE))
        if claim is not None:
            try:
                self._misses += 1
                self._keep(key, await self.function(*args, **kwargs))
            finally:
                claim.release()

    async def refresh(self, *args, **kwargs):
        key = self.key(*args, **kwargs)
        value = await self.function(*args, **kwargs)
        self._keep(key, value)
        return value

    async def shelve(self, *args, **kwargs):
        key = self.key(*args, **kwargs)
        if key not in self.cache:
            await self(*args, **kwargs)
        return Shelved(self.cache, key, self._stale is not None)


class BoundMemoized:
    """A memoized method of one object: the object is its first argument."""

    __class_getitem__ = classmethod(types.GenericAlias)

    def __init__(self, memoized, instance):
        self._memoized, self._instance = memoized, instance
        functools.update_wrapper(self, memoized.function)

    def __call__(self, *args, **kwargs):
        return self._memoized(self._instance, *args, **kwargs)

    def call(self, *args, **kwargs):
        return self._memoized.call(self._instance, *args, **kwargs)

    def refresh(self, *args, **kwargs):
        return self._memoized.refresh(self._instance, *args, **kwargs)

    def shelve(self, *args, **kwargs):
        return self._memoized.shelve(self._instance, *args, **kwargs)

    def key(self, *args, **kwargs):
        return self._memoized.key(self._instance, *args, **kwargs)

    __cache_key__ = key

    def invalidate(self, *args, **kwargs):
        return self._memoized.invalidate(self._instance, *args, **kwargs)

    def contains(self, *args, **kwargs):
        return self._memoized.contains(self._instance, *args, **kwargs)

    def __reduce__(self):
        held = _held_at(self._memoized, self._instance)
        return (_method, (*held, self._instance)) if held else (BoundMemoized, (self._memoized, self._instance))

    def _canonical(self, typed, depth):
        return ("method", self._memoized._canonical(typed, depth), canonical(self._instance, typed, depth))

    def __eq__(self, other):
        if type(other) is not BoundMemoized:
            return NotImplemented
        return self._memoized is other._memoized and self._instance is other._instance

    def __hash__(self):
        return hash((id(self._memoized), id(self._instance)))

    def __getattr__(self, name):
        if name == "__signature__":
            return inspect.signature(types.MethodType(self._memoized.function, self._instance))
        return getattr(self._memoized, name)


def _held_at(memoized, instance):
    """The class that a memoized method stands in, and by which name: one that is private has another than it says, and whoever
    binds it to a name chooses that."""
    own = instance.__mro__ if isinstance(instance, type) else ()
    for kind in (*own, *type(instance).__mro__):
        for name, value in vars(kind).items():
            if value is memoized or (isinstance(value, classmethod) and value.__func__ is memoized):
                return kind, name
    return None


def _method(kind, name, instance):
    """The method of an object that a class has by this name, whatever classes below it have."""
    method = inspect.getattr_static(kind, name)
    is_of_class = isinstance(method, classmethod)
    return method.__get__(None, instance) if is_of_class else method.__get__(instance, type(instance))


class Shelved:
    """A reference to a value in a cache."""

    __slots__ = ("_dated", "_directory", "_key", "_said")
    __class_getitem__ = classmethod(types.GenericAlias)

    def __init__(self, cache, key, dated=False):
        self._directory, self._said, self._key = cache.directory, dict(cache._said), key
        self._dated = dated

    def get(self, default=ENOVAL):
        """The value: arrays are views of the store. KeyError if it is not kept any more and there is no default."""
        value = _opened(self._directory, self._said)._get(self._key, ENOVAL)
        if value is ENOVAL:
            if default is ENOVAL:
                raise KeyError(self._key)
            return default
        return value[0] if self._dated else value

    def __getstate__(self):
        return (self._directory, self._said, self._key, self._dated)

    def __setstate__(self, state):
        self._directory, self._said, self._key, self._dated = state

    def __repr__(self):
        return f"<drystone.Shelved {self._key!r} in {self._directory!r}>"


@functools.lru_cache(maxsize=64)
def _open(directory, name, pickle, process):
    return Cache(directory, name=name, pickle=pickle, maintenance=None)


def _opened(directory, said):
    return _open(directory, said["name"], said["pickle"], os.getpid())


class _Told:
    """Says, every second, that something takes long."""

    def __init__(self, progress, name):
        self._name, self._bar, self._last = name, None, 0.0
        self._progress = self._tqdm if progress == "tqdm" else progress
        self._ended = None

    def tell(self, what, seconds):
        """`what` is "waiting" or "computing"."""
        if self._progress is None or seconds < _TELL_AFTER or seconds - self._last < _TELL_AFTER:
            return
        self._last = seconds
        self._progress({"function": self._name, "what": what, "seconds": seconds})

    def computing(self):
        return _Computing(self) if self._progress is not None else _NOTHING

    def _tqdm(self, said):
        import tqdm

        if self._bar is None:
            self._bar = tqdm.tqdm(total=None, unit="s", leave=False)
        self._bar.set_description(f"{said['what']} {said['function']}")
        self._bar.update(said["seconds"] - self._bar.n)

    def end(self):
        if self._bar is not None:
            self._bar.close()


class _Nothing:
    def __enter__(self):
        return self

    def __exit__(self, *_):
        return None


_NOTHING = _Nothing()


class _Computing:
    def __init__(self, told):
        self._told, self._ended = told, threading.Event()

    def __enter__(self):
        self._told._last = 0.0
        self._thread = threading.Thread(target=self._run, name="drystone-progress", daemon=True)
        self._thread.start()

    def _run(self):
        start = time.monotonic()
        while not self._ended.wait(_TELL_AFTER):
            self._told.tell("computing", time.monotonic() - start)

    def __exit__(self, *_):
        self._ended.set()
        self._thread.join()
