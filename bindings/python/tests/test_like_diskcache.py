"""The same calls on DiskCache and on Drystone give the same answers."""

import shutil
import tempfile

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
    st.binary(min_size=40_000, max_size=40_001),
)  # fmt: skip
TAGS = st.sampled_from([None, "red", "blue", 7])


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
        self.theirs.evict(tag)
        self.ours.evict(tag)
        self.ours.expire()

    @rule()
    def clear(self):
        self.both(lambda cache: cache.clear())

    @invariant()
    def the_same_keys_in_the_same_order(self):
        # A whole float as a key comes back as the number that equals it.
        self.both(list, exactly=False)
        self.both(len)
        self.both(lambda cache: [key for key in cache.iterkeys() if type(key) is not tuple], exactly=False)


Both.TestCase.settings = settings(max_examples=40, stateful_step_count=25, deadline=None)
TestBoth = Both.TestCase
