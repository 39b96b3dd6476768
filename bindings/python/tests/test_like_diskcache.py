"""The same calls on DiskCache and on Drystone give the same answers."""

import inspect
import io
import pickle
import re
import shutil
import tempfile
import time

import pytest

diskcache = pytest.importorskip("diskcache")
from hypothesis import settings  # noqa: E402
from hypothesis import strategies as st  # noqa: E402
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule  # noqa: E402

import drystone  # noqa: E402

KEYS = st.sampled_from([0, 1, 1.0, 2.5, "a", "b", b"a", ("t", 1)])
VALUES = st.one_of(
    st.integers(-(2**62), 2**62), st.floats(allow_nan=False), st.text(max_size=20), st.binary(max_size=20), st.none(),
    st.tuples(st.integers(), st.text(max_size=5)), st.lists(st.integers(), max_size=3),
    st.integers(0, 255).map(lambda byte: bytes([byte]) * 40_000),
)  # fmt: skip
TAGS = st.sampled_from([None, "red", "blue", 7])


#: What is done in transactions.
WRITES = {
    "set": lambda cache, key, value: cache.set(key, value, tag="red"),
    "set to expire": lambda cache, key, value: cache.set(key, value, expire=1000),
    "add": lambda cache, key, value: cache.add(key, value),
    "delete": lambda cache, key, value: cache.delete(key),
    "pop": lambda cache, key, value: cache.pop(key, default=3, tag=True),
    "touch": lambda cache, key, value: cache.touch(key, expire=None),
    "push": lambda cache, key, value: cache.push(value, prefix="q"),
    "push to the front": lambda cache, key, value: cache.push(value, prefix="q", side="front", tag="blue"),
    "pull": lambda cache, key, value: cache.pull("q"),
    "pull from the back": lambda cache, key, value: cache.pull("q", side="back"),
    "evict": lambda cache, key, value: cache.evict("red"),
    "clear": lambda cache, key, value: cache.clear(),
}


def answer(call):
    """What a call gives: a value, or the kind of its error."""
    try:
        return "gives", call()
    except (KeyError, TypeError) as error:
        return "raises", KeyError if isinstance(error, KeyError) else TypeError


class Both(RuleBasedStateMachine):
    def __init__(self):
        super().__init__()
        self.place = tempfile.mkdtemp()
        self.theirs = diskcache.Cache(self.place + "/theirs", eviction_policy="none")
        self.ours = drystone.Cache(self.place + "/ours", eviction_policy="none", maintenance=None)

    def teardown(self):
        self.theirs.close()
        shutil.rmtree(self.place)

    def both(self, call, exactly=True):
        theirs, ours = answer(lambda: call(self.theirs)), answer(lambda: call(self.ours))
        assert theirs == ours, (theirs, ours)
        assert not exactly or repr(theirs) == repr(ours), (theirs, ours)

    @rule(key=KEYS, value=VALUES, tag=TAGS)
    def set(self, key, value, tag):
        self.both(lambda cache: cache.set(key, value, tag=tag))

    @rule(key=KEYS, value=VALUES)
    def set_with_expiry(self, key, value):
        self.both(lambda cache: cache.set(key, value, expire=1000))
        self.both(lambda cache: cache.get(key, expire_time=True)[1] is not None)

    @rule(key=KEYS, value=VALUES)
    def setitem(self, key, value):
        self.both(lambda cache: cache.__setitem__(key, value))

    @rule(key=KEYS, value=VALUES)
    def add(self, key, value):
        self.both(lambda cache: cache.add(key, value))

    @rule(key=KEYS)
    def get(self, key):
        self.both(lambda cache: cache.get(key, default="none there"))
        self.both(lambda cache: cache.get(key, tag=True))
        self.both(lambda cache: cache[key])
        self.both(lambda cache: key in cache)

    @rule(key=KEYS)
    def pop(self, key):
        self.both(lambda cache: cache.pop(key, default=3, tag=True))

    @rule(key=KEYS)
    def delete(self, key):
        self.both(lambda cache: cache.delete(key))

    @rule(key=KEYS)
    def delitem(self, key):
        self.both(lambda cache: cache.__delitem__(key))

    @rule(key=KEYS)
    def touch(self, key):
        self.both(lambda cache: cache.touch(key, expire=None))

    @rule(key=KEYS, value=st.integers(-5, 5), default=st.sampled_from([0, 7, None]))
    def incr(self, key, value, default):
        both = [answer(lambda cache=cache: cache.get(key)) for cache in (self.theirs, self.ours)]
        if type(both[0][1]) is int or both[0][1] is None and key not in self.theirs:
            self.both(lambda cache: cache.incr(key, value, default=default))

    @rule(value=VALUES, side=st.sampled_from(["back", "front"]), prefix=st.sampled_from([None, "q"]))
    def push(self, value, side, prefix):
        if not any(type(key) in (int, float) and key < 500_000_000_000_000 - 100 for key in self.theirs) or prefix:
            self.both(lambda cache: cache.push(value, side=side, prefix=prefix))

    @rule(side=st.sampled_from(["back", "front"]), prefix=st.sampled_from([None, "q"]))
    def pull(self, side, prefix):
        if not any(type(key) in (int, float) and key < 500_000_000_000_000 - 100 for key in self.theirs) or prefix:
            self.both(lambda cache: cache.peek(side=side, prefix=prefix))
            self.both(lambda cache: cache.pull(side=side, prefix=prefix))

    @rule(last=st.booleans())
    def peekitem(self, last):
        self.both(lambda cache: cache.peekitem(last=last), exactly=False)

    @rule(tag=st.sampled_from(["red", "blue", 7]))
    def evict(self, tag):
        assert self.theirs.evict(tag) == self.ours.evict(tag, count=True)

    @rule()
    def clear(self):
        self.both(lambda cache: cache.clear())

    @rule(writes=st.lists(st.tuples(st.sampled_from(sorted(WRITES)), KEYS, VALUES), max_size=6), fails=st.booleans())
    def transaction(self, writes, fails):
        def transact(cache):
            try:
                with cache.transact():
                    told = [WRITES[name](cache, key, value) for name, key, value in writes]
                    if fails:
                        raise InterruptedError
                    return told
            except InterruptedError:
                return cache.peek("q"), cache.peek("q", side="back")

        self.both(transact)

    @invariant()
    def the_same_keys_in_the_same_order(self):
        # A whole float as a key comes back as the number that equals it.
        self.both(list, exactly=False)
        self.both(len)
        self.both(lambda cache: [key for key in cache.iterkeys() if type(key) is not tuple], exactly=False)


Both.TestCase.settings = settings(max_examples=40, stateful_step_count=25, deadline=None)
TestBoth = Both.TestCase


# Method by method


@pytest.fixture
def both(tmp_path):
    theirs = diskcache.Cache(str(tmp_path / "theirs"), statistics=1)
    yield theirs, drystone.Cache(tmp_path / "ours", maintenance=None)
    theirs.close()


def fill(cache):
    cache["a"] = 1
    cache.set("b", "text", tag="red")
    cache.set("c", 2.5, expire=1000, tag=7)
    cache[(1, "t")] = None
    cache.set("file", io.BytesIO(b"granite" * 10), read=True, tag="red")
    cache.set("gone", 1, expire=0.001)
    time.sleep(0.002)


def memoized(cache, calls, **options):
    @cache.memoize(**options)
    def twice(x, y=0):
        calls.append((x, y))
        return x * 2 + y

    return twice


def computes(cache, calls, *args, **options):
    """What a memoized function gives for arguments, and how often it was computed."""
    count, function = [], memoized(cache, calls, name="twice", **options)
    for arg in args:
        before = len(calls)
        count.append((function(*arg) if isinstance(arg, tuple) else function(arg), len(calls) - before))
    return count


def nothing(cache):
    return None


CALLS = {
    "set": lambda c: (c.set("k", 1), c["k"]),
    "set with all": lambda c: (c.set("k", 1, expire=9, read=False, tag="t", retry=True), c.get("k", tag=True)),
    "setitem": lambda c: (c.__setitem__("k", 1), c["k"]),
    "add": lambda c: (c.add("k", 1), c.add("k", 2), c.add("a", 3), c.add("gone", 4), c["k"], c["gone"]),
    "add a file": lambda c: (c.add("k", io.BytesIO(b"xyz"), read=True), c["k"]),
    "get": lambda c: (c.get("a"), c.get("none"), c.get("none", 5), c.get("gone", 6)),
    "get with tag": lambda c: (c.get("b", tag=True), c.get("a", tag=True), c.get("none", tag=True)),
    "get with expiry": lambda c: (c.get("a", expire_time=True), c.get("none", 3, expire_time=True)),
    "get with both": lambda c: (c.get("a", expire_time=True, tag=True), c.get("none", 3, expire_time=True, tag=True)),
    "an expiry": lambda c: 990 < c.get("c", expire_time=True)[1] - time.time() < 1000,
    "getitem": lambda c: c["none"],
    "getitem of what has expired": lambda c: c["gone"],
    "read": lambda c: c.read("file").read(),
    "read and seek": lambda c: (lambda file: (file.read(3), file.seek(-2, 2), file.read(), file.tell()))(c.read("file")),
    "read none": lambda c: c.read("none"),
    "get as a file": lambda c: (c.get("file", read=True).read(), c.get("none", 4, read=True)),
    "get as a file with tag": lambda c: c.get("file", read=True, tag=True)[1],
    "contains": lambda c: ("a" in c, "none" in c, "gone" in c, (1, "t") in c),
    "touch": lambda c: (c.touch("a", expire=50), c.touch("none"), c.touch("gone"), c.get("a", expire_time=True)[1] > 1),
    "touch to never": lambda c: (c.touch("c"), c.get("c", expire_time=True, tag=True)),
    "pop": lambda c: (c.pop("a"), c.pop("a"), c.pop("a", 4), c.pop("gone", 5), c.pop("file")),
    "pop with flags": lambda c: (c.pop("b", tag=True), c.pop("a", expire_time=True), c.pop("none", 1, True, True)),
    "delete": lambda c: (c.delete("a"), c.delete("a"), c.delete("gone")),
    "del": lambda c: c.__delitem__("a"),
    "del none": lambda c: c.__delitem__("none"),
    "del what has expired": lambda c: c.__delitem__("gone"),
    "incr": lambda c: (c.incr("a"), c.incr("a", 5), c.incr("n", 2), c.incr("m", 2, 10), c.incr("gone")),
    "incr by key": lambda c: c.incr(key="a", delta=3, default=4, retry=True),
    "incr a float": lambda c: (c.incr("c", 0.25), c.incr("a", 0.5), c.incr("f", 1.5), c.get("c", tag=True)),
    "incr none": lambda c: c.incr("none", default=None),
    "incr what has expired": lambda c: c.incr("gone", default=None),
    "incr a text": lambda c: c.incr("b"),
    "decr": lambda c: (c.decr("a"), c.decr("a", 5), c.decr("n", 2), c.decr("m", 2, 10), c.decr("c", 0.5)),
    "decr none": lambda c: c.decr("none", default=None),
    "push and pull": lambda c: ([c.push(it) for it in "abc"], c.pull(), c.pull(side="back"), c.pull(), c.pull()),
    "push to the front": lambda c: ([c.push(it, side="front") for it in "abc"], c.peek(), c.peek(side="back"), c.pull()),
    "push with prefix": lambda c: (c.push(1, "p"), c.push(2, "p", "front"), c.push(3), c.pull("p"), c.pull("q"), c.peek()),
    "push with all": lambda c: (c.push(1, "p", "back", 50, False, "t", True), c.pull("p", tag=True)),
    "push a file": lambda c: (c.push(io.BytesIO(b"xyz"), read=True), c.pull()),
    "pull with flags": lambda c: (c.push(1), c.pull(expire_time=True, tag=True), c.pull(None, 5, expire_time=True, tag=True)),
    "pull with expiry": lambda c: (c.push(1), c.peek(expire_time=True), c.pull(expire_time=True), c.pull(default=8, tag=True)),
    "pull past what has expired": lambda c: (c.push(1, expire=-1), c.push(2), c.peek(), c.pull(), c.pull()),
    "pull past what was deleted": lambda c: ([c.push(i) for i in range(4)], c.delete(500000000000001), c.pull(), c.pull()),
    "push after the last was deleted": lambda c: (c.push(0), c.push(1), c.delete(500000000000001), c.push(2)),
    "peek empty": lambda c: (c.peek(), c.peek(default=3), c.peek("p", (4, 5), "back", True, True)),
    "peekitem": lambda c: (c.delete("gone"), c.peekitem(last=False), c.peekitem(False, tag=True), c.peekitem(False, True, True)),
    "peekitem last": lambda c: (c.peekitem(), c.delete("file"), c.peekitem(), c.peekitem(last=True)),
    "peekitem of none": lambda c: (c.clear(), c.peekitem()),
    "len": lambda c: (len(c), c.expire(), len(c), c.expire()),
    "expire at a time": lambda c: (c.expire(now=time.time() + 2000), "c" in c, "a" in c, len(c)),
    "iter": lambda c: (c.expire(), list(c), list(reversed(c))),
    "iter after changes": lambda c: (c.expire(), c.set("a", 9), c.pop("b"), c.set("b", 9), list(c), list(reversed(c))),
    "iterkeys": lambda c: (c.clear(), [c.set(k, 0) for k in (3, "b", 1.5, b"x", "a", -2)], list(c.iterkeys()), list(c.iterkeys(reverse=True))),
    "bool": lambda c: (bool(c), c.clear(), bool(c)),
    "clear": lambda c: (c.clear(), len(c), c.clear(), list(c)),
    "cull": lambda c: (c.cull(), c.cull()),
    "stats": lambda c: (c.stats(reset=True), c.get("a"), c.get("none"), c.stats(), c.stats(enable=False), c.get("a"), c.stats(), c.get("a"), c.stats()),
    "check": lambda c: (c.check(), c.check(fix=True, retry=True)),
    "volume": lambda c: c.volume() > 0,
    "close": lambda c: (c.close(), c["a"]),
    "with": lambda c: (c.__enter__() is c, c.__exit__(None, None, None), c["a"]),
    "transact": lambda c: with_transaction(c, False),
    "transact and fail": lambda c: with_transaction(c, True),
    "nested transactions": lambda c: with_nested(c),
    "reset": lambda c: (c.reset("size_limit", 10**6), c.size_limit, c.reset("size_limit"), c.reset("count")),
    "reset statistics": lambda c: (c.reset("statistics", True), c.statistics, c.reset("statistics")),
    "reset eviction_policy": lambda c: (c.reset("eviction_policy", "none"), c.eviction_policy),
    "reset cull_limit": lambda c: (c.reset("cull_limit"), c.reset("cull_limit", 0)),
    "reset sqlite": lambda c: (c.reset("sqlite_mmap_size"), c.reset("sqlite_cache_size", 2**12)),
    "reset unknown": lambda c: c.reset("no_such_setting"),
    "tag index": lambda c: (c.create_tag_index(), c.drop_tag_index()),
    "pickle": lambda c: pickle.loads(pickle.dumps(c))["a"],
    "memoize": lambda c: computes(c, [], 1, 1, (1, 2), (1, 2), 2),
    "memoize typed": lambda c: computes(c, [], 1, 1.0, 1, typed=True),
    "memoize with expire": lambda c: computes(c, [], 1, 1, expire=1000),
    "memoize with expire 0": lambda c: (computes(c, [], 1, 1, expire=0), len(c)),
    "memoize with tag": lambda c: (computes(c, [], 1, tag="m"), c.evict("m"), computes(c, [], 1, tag="m"))[::2],
    "memoize with ignore": lambda c: computes(c, [], (1, 2), (1, 3), ignore={1}),
    "memoize with ignored name": lambda c: [memoized(c, [], ignore={"y"})(1, y=y) for y in (5, 6)],
    "memoize without call": lambda c: c.memoize(nothing),
    "memoized": lambda c: (memoized(c, []).__wrapped__(3), memoized(c, []).__name__),
    "its key": lambda c: (lambda f: (f(4), c[f.__cache_key__(4)]))(memoized(c, [])),
}  # fmt: skip


def with_transaction(cache, fails):
    try:
        with cache.transact(retry=True):
            cache["a"] = 10
            cache.incr("n", 5)
            cache.pop("b")
            cache.push("job", prefix="p")
            cache.clear()
            cache["z"] = 1
            if fails:
                raise InterruptedError
    except InterruptedError:
        pass
    return sorted(str(key) for key in cache if key != "gone"), cache.get("a"), cache.get("b", tag=True), cache.peek("p"), cache.get("z")


def with_nested(cache):
    try:
        with cache.transact():
            cache["a"] = 10
            with cache.transact():
                cache["b"] = 11
            raise InterruptedError
    except InterruptedError:
        return cache["a"], cache["b"]


#: Where the answer is another one: see docs/coming-from.md.
DIFFERENT = {
    "evict": lambda c: c.evict("red"),
    "a wrong side": lambda c: c.push(1, side="left"),
    "a number as large as it gets": lambda c: (c.set("a", 2**63 - 1), c.incr("a")),
    "keys that have expired": lambda c: list(c),
    "the policy": lambda c: c.eviction_policy,
    "memoize of equal numbers": lambda c: [count for _, count in computes(c, [], 1, 1.0, 1)],
    "a tuple of tags": lambda c: c.set("k", 1, tag=("a", "b")),
    "a whole float": lambda c: (c.set(1.0, 1), type(c.peekitem()[0])),
}


def full_answer(call):
    try:
        return "gives", call()
    except (KeyError, TypeError, ValueError) as error:
        return "raises", next(kind for kind in (KeyError, TypeError, ValueError) if isinstance(error, kind))


@pytest.mark.parametrize("what", CALLS)
def test_the_same_answer(both, what):
    theirs, ours = both
    fill(theirs)
    fill(ours)
    wanted, found = full_answer(lambda: CALLS[what](theirs)), full_answer(lambda: CALLS[what](ours))
    assert found == wanted
    assert re.sub(r"\bTrue\b", "1", repr(found)) == re.sub(r"\bTrue\b", "1", repr(wanted)), "of the same types, too"


@pytest.mark.parametrize("what", DIFFERENT)
def test_another_answer_where_the_page_says_so(both, what):
    theirs, ours = both
    fill(theirs)
    fill(ours)
    try:
        wanted = full_answer(lambda: DIFFERENT[what](theirs))
    except Exception as error:  # an error of SQLite
        wanted = type(error)
    assert full_answer(lambda: DIFFERENT[what](ours)) != wanted


def test_an_eviction_is_counted_where_that_is_asked_for(both):
    theirs, ours = both
    for cache in both:
        fill(cache)
        cache.set("gone too", 1, expire=0.001, tag="blue")
    time.sleep(0.002)
    assert ours.evict("red", count=True) == theirs.evict("red") == 2
    assert ours.evict("red", count=True) == theirs.evict("red") == 0
    assert ours.evict(7, retry=True, count=True) == theirs.evict(7, retry=True) == 1
    with ours.transact(), theirs.transact():
        assert ours.evict("none") == theirs.evict("none") == 0
    assert ours.evict("a") is None


def test_every_method_and_argument_is_there():
    """DiskCache's own list: what it can do is there, with the same names of arguments in the same order."""
    for name, theirs in vars(diskcache.Cache).items():
        if name.startswith("_") or name == "disk":
            continue
        ours = getattr(drystone.Cache, name)
        if not callable(theirs) or name == "volume":
            continue
        wanted = list(inspect.signature(theirs).parameters)
        assert list(inspect.signature(ours).parameters)[: len(wanted)] == wanted, name
        defaults = {n: p.default for n, p in inspect.signature(theirs).parameters.items()}
        for argument, parameter in inspect.signature(ours).parameters.items():
            if argument in defaults and parameter.default is not diskcache.ENOVAL and name != "reset":
                assert parameter.default == defaults[argument], (name, argument)


def test_settings_are_taken(tmp_path):
    settings = {name: value for name, value in diskcache.DEFAULT_SETTINGS.items() if name != "eviction_policy"}
    for policy in ("least-recently-stored", "least-recently-used", "least-frequently-used", "none"):
        for kind, place in ((diskcache.Cache, "theirs"), (drystone.Cache, "ours")):
            cache = kind(str(tmp_path / place / policy), timeout=1, eviction_policy=policy, **settings)
            assert cache.eviction_policy == policy and cache.size_limit == 2**30 and not cache.statistics
            assert cache.timeout == 1 and cache.directory == str(tmp_path / place / policy)
            cache.close()
    with pytest.raises(ValueError):
        drystone.Cache(tmp_path / "ours", no_such_setting=1)
