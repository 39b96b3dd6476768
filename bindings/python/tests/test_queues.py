"""Queues: against a model, against what happens to values in between, and by several processes."""

import multiprocessing
import os
import pathlib
import shutil
import signal
import tempfile
import threading
import time

import numpy as np
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from drystone import Cache, import_diskcache

START = 500_000_000_000_000
PREFIXES = st.sampled_from([None, "q", "a-b"])
SIDES = st.sampled_from(["front", "back"])


def number_of(key):
    return key if isinstance(key, int) else int(key[-15:])


class Model(RuleBasedStateMachine):
    """Two caches on one directory, as two processes would have them, beside a dict of what is in each queue."""

    def __init__(self):
        super().__init__()
        self.place = tempfile.mkdtemp(dir="/dev/shm" if pathlib.Path("/dev/shm").is_dir() else None)
        self.caches = [Cache(self.place + "/c", eviction_policy="none", maintenance=None) for _ in range(2)]
        self.queues = {None: {}, "q": {}, "a-b": {}}

    def teardown(self):
        shutil.rmtree(self.place)

    def end(self, prefix, side):
        queue = self.queues[prefix]
        return (min if side == "front" else max)(queue, key=number_of) if queue else None

    @rule(cache=st.integers(0, 1), prefix=PREFIXES, side=SIDES, value=st.integers(), count=st.integers(1, 12))
    def push(self, cache, prefix, side, value, count):
        for at in range(count):
            queue = self.queues[prefix]
            numbers = [number_of(key) for key in queue]
            number = START if not queue else max(numbers) + 1 if side == "back" else min(numbers) - 1
            key = number if prefix is None else f"{prefix}-{number}"
            assert self.caches[cache].push(value + at, prefix=prefix, side=side, tag=at % 3) == key
            queue[key] = (value + at, at % 3)

    @rule(cache=st.integers(0, 1), prefix=PREFIXES, side=SIDES, count=st.integers(1, 12))
    def pull(self, cache, prefix, side, count):
        for _ in range(count):
            key = self.end(prefix, side)
            value, tag = self.queues[prefix].pop(key, (None, None))
            wanted = (key, value), tag
            assert self.caches[cache].peek(prefix, side=side, tag=True) == wanted
            assert self.caches[cache].pull(prefix, side=side, tag=True) == wanted

    @rule(cache=st.integers(0, 1), prefix=PREFIXES, data=st.data())
    def delete(self, cache, prefix, data):
        if self.queues[prefix]:
            key = data.draw(st.sampled_from(sorted(self.queues[prefix], key=number_of)))
            del self.queues[prefix][key]
            del self.caches[cache][key]

    @rule(cache=st.integers(0, 1), prefix=PREFIXES, data=st.data())
    def expires(self, cache, prefix, data):
        if self.queues[prefix]:
            key = data.draw(st.sampled_from(sorted(self.queues[prefix], key=number_of)))
            del self.queues[prefix][key]
            assert self.caches[cache].touch(key, expire=-1)

    @rule(cache=st.integers(0, 1), tag=st.integers(0, 2), count=st.booleans())
    def evict(self, cache, tag, count):
        gone = 0
        for queue in self.queues.values():
            for key in [key for key, (_, its) in queue.items() if its == tag]:
                del queue[key]
                gone += 1
        assert self.caches[cache].evict(tag, count=count) == (gone if count else None)

    @rule(cache=st.integers(0, 1))
    def clear(self, cache):
        self.caches[cache].clear()
        for queue in self.queues.values():
            queue.clear()

    @rule(cache=st.integers(0, 1), fails=st.booleans(), prefix=PREFIXES, side=SIDES, counts=st.tuples(*[st.integers(0, 10)] * 2))
    def transaction(self, cache, fails, prefix, side, counts):
        pulls, pushes = counts
        before = dict(self.queues[prefix])
        try:
            with self.caches[cache].transact():
                self.pull(cache, prefix, side, pulls)
                if pushes:
                    self.push(cache, prefix, side, 0, pushes)
                if fails:
                    raise InterruptedError
        except InterruptedError:
            self.queues[prefix] = before

    @invariant()
    def the_same_keys(self):
        wanted = sorted(str(key) for queue in self.queues.values() for key in queue)
        assert sorted(map(str, self.caches[0])) == wanted


Model.TestCase.settings = settings(max_examples=60, stateful_step_count=30, deadline=None)
TestModel = Model.TestCase


def test_arrays_go_through_a_queue_without_a_copy(cache):
    array = np.arange(100_000)
    cache.push(array, prefix="arrays", expire=1000)
    (key, found), expires = cache.pull("arrays", expire_time=True)
    assert key == f"arrays-{START}" and expires > time.time()
    assert (found == array).all() and not found.flags.owndata
    cache.clear()
    cache.store().compact(all=True)
    assert (found == array).all()


def test_it_does_not_go_over_the_keys(cache):
    for at in range(3000):
        cache[f"other {at}"] = at
        cache.push(at)
    begin = time.process_time()
    pulled = [cache.pull()[1] for _ in range(3000)]
    seconds = time.process_time() - begin
    assert pulled == list(range(3000))
    # Going over the keys each time would take 6000 * 3000 looks: more than 3 s on any machine.
    assert seconds < 1.5


def test_numbers_set_by_hand_are_taken_in_where_the_next_would_stand(cache):
    cache[START] = "by hand"
    cache[START + 100] = "far away"
    assert cache.push("pushed") == START + 1
    assert [cache.pull()[1] for _ in range(3)] == ["by hand", "pushed", None]
    assert cache[START + 100] == "far away"


def test_wrong_sides_are_refused(cache):
    for call in (lambda: cache.push(1, side="left"), lambda: cache.pull(side="left"), lambda: cache.peek(side="left")):
        with pytest.raises(ValueError, match="back"):
            call()
    assert len(cache) == 0


def test_queues_are_brought_along_from_diskcache(directory):
    diskcache = pytest.importorskip("diskcache")
    with diskcache.Cache(str(directory / "theirs")) as theirs:
        theirs[-7] = "a number of another kind"
        for at in range(20):
            theirs.push(at)
            theirs.push(-at, prefix="a-b", side="front")
        for _ in range(5):
            theirs.pull()
    ours = Cache(directory / "ours", maintenance=None)
    import_diskcache(directory / "theirs", ours)
    assert [ours.pull()[1] for _ in range(16)] == [*range(5, 20), None]
    assert [ours.pull("a-b", side="back")[1] for _ in range(21)] == [-at for at in range(20)] + [None]
    assert ours[-7] == "a number of another kind"


def _push(directory, seed, count):
    cache = Cache(directory, eviction_policy="none", maintenance=None)
    for at in range(count):
        cache.push((seed, at), prefix="q", side="back" if at % 3 else "front")


def _pull(directory, seed, ended, told):
    cache, pulled = Cache(directory, eviction_policy="none", maintenance=None), []
    while True:
        is_over = ended.is_set()
        key, value = cache.pull("q", side="front" if seed % 2 else "back")
        if key is not None:
            pulled.append(value)
        elif is_over:
            break
    told.put(pulled)


def test_of_four_that_push_and_four_that_pull_none_loses_and_none_has_it_twice(directory):
    context = multiprocessing.get_context("spawn")
    ended, told = context.Event(), context.Queue()
    place = str(directory / "c")
    Cache(place, eviction_policy="none", maintenance=None)
    pushers = [context.Process(target=_push, args=(place, seed, 1500)) for seed in range(4)]
    pullers = [context.Process(target=_pull, args=(place, seed, ended, told)) for seed in range(4)]
    for process in pushers + pullers:
        process.start()
    for process in pushers:
        process.join()
    ended.set()
    pulled = [value for _ in pullers for value in told.get(timeout=120)]
    for process in pullers:
        process.join()
    assert [process.exitcode for process in pushers + pullers] == [0] * 8
    assert len(pulled) == 6000 and sorted(pulled) == [(seed, at) for seed in range(4) for at in range(1500)]


def _push_and_tell(directory, seed, pipe):
    cache = Cache(directory, eviction_policy="none", maintenance=None)
    for at in range(10**6):
        cache.push((seed, at), prefix="q")
        os.write(pipe, b"%d %d\n" % (seed, at))


def test_what_was_pushed_by_who_was_killed_is_pulled_once_in_its_order(directory):
    place = str(directory / "c")
    cache = Cache(place, eviction_policy="none", maintenance=None)
    told, pulled = {}, []
    for round in range(8):
        read, write = os.pipe()
        children = []
        for seed in (round * 2, round * 2 + 1):
            child = os.fork()
            if child == 0:
                try:
                    os.close(read)
                    _push_and_tell(place, seed, write)
                finally:
                    os._exit(1)
            children.append(child)
        os.close(write)
        end = time.monotonic() + 0.1 + 0.03 * round
        while time.monotonic() < end:
            key, value = cache.pull("q")
            if key is not None:
                pulled.append(value)
        for child in children:
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
        with open(read, "rb") as lines:
            for line in lines.read().splitlines(keepends=True):
                if line.endswith(b"\n"):
                    seed, at = map(int, line.split())
                    told[seed] = at
        # The next one pushes on: what a dead one has left in the way is taken in.
        cache.push((-1 - round, 0), prefix="q")
        told[-1 - round] = 0
    while (pair := cache.pull("q"))[0] is not None:
        pulled.append(pair[1])
    assert len(pulled) == len(set(pulled)), "nothing twice"
    assert len(pulled) > 100
    for seed, last in told.items():
        mine = [at for its, at in pulled if its == seed]
        # One that was pushed and not yet told may be there.
        assert mine in (list(range(last + 1)), list(range(last + 2))), "all that was told, in order"


def test_threads_on_one_cache(cache):
    pulled = [[] for _ in range(4)]

    def work(seed):
        for at in range(400):
            cache.push((seed, at), side="front" if at % 2 else "back")
            key, value = cache.pull(side="front" if at % 3 else "back")
            if key is not None:
                pulled[seed].append(value)

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    all_ = sorted(value for some in pulled for value in some)
    # Whoever pulls after having pushed finds something: there are never fewer values than threads that are to pull.
    assert all_ == [(seed, at) for seed in range(4) for at in range(400)] and cache.pull() == (None, None)
