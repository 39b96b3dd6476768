"""Arrays that are filled in place."""

import io
import multiprocessing
import os

import numpy as np
import pytest

import drystone
from drystone import Store


@pytest.fixture
def store(directory):
    return Store(directory / "store")


@pytest.mark.parametrize("shape", [(3,), (), (0, 4), (100, 200), (700, 300)])
@pytest.mark.parametrize("order", ["C", "F"])
def test_what_was_filled_is_what_is_stored(store, shape, order):
    wanted = np.random.default_rng(5).random(shape)
    array = store.empty(shape, order=order)
    array[...] = wanted
    id = array.commit()
    np.testing.assert_array_equal(store.get_array(id), wanted)
    saved = io.BytesIO()
    np.save(saved, np.asarray(wanted, order=order))
    assert bytes(store.get(id)) == saved.getvalue()
    assert store.put_array(np.asarray(wanted, order=order)) == id
    assert not array.flags.writeable
    with pytest.raises(ValueError):
        array[...] = 1


def test_views_that_are_left_change_no_blob(store):
    array = store.empty((300, 400), "i8")
    array[:] = 7
    row = array[5]
    other = np.asarray(array)
    id = array.commit()
    row[:] = 8
    other[6, 0] = 9
    assert (store.get_array(id) == 7).all()
    assert row[0] == 8 and array[6, 0] == 9, "they have memory of their own"
    assert Store(store.path).fsck(deep=True)["clean"]
    del array, row
    assert other[6, 0] == 9 and other[0, 0] == 7, "which lasts as long as one of them"


def test_a_draft_that_is_dropped_leaves_nothing(store):
    before = store.stats()["segment_bytes"]
    array = store.empty((1000, 1000))
    array[:] = 1
    del array
    assert store.stats()["segment_bytes"] == before and store.blobs() == []


def test_it_is_named_instead_of_pinned(store):
    refs = store.refs("steps")
    array = store.empty(100_000, "f4")
    array[:] = 2
    id = array.commit_as(refs, "0001")
    assert refs.get("0001")["value"] == id and not store.stat(id)["pinned"]
    store.compact(all=True)
    assert store.get_array(id)[99_999] == 2


def test_only_the_array_itself_is_committed(store):
    array = store.empty((50, 50))
    with pytest.raises(ValueError) as caught:
        array[1:].commit()
    assert isinstance(caught.value, drystone.InvalidInput)
    with pytest.raises(TypeError):
        store.empty(3, object)
    with pytest.raises(ValueError):
        store.empty((-1,))
    with pytest.raises(ValueError):
        store.empty(3, order="K")
    for endless in (1 << 61, (1 << 64, 2), (1 << 40, 1 << 40), (0, 1 << 63)):
        with pytest.raises(ValueError, match="more bytes than can be addressed"):
            store.empty(endless)


def test_it_is_committed_again_where_that_failed(store, directory):
    array = store.empty(30_000)
    array[:] = 3
    other = Store(directory / "other")
    with pytest.raises(ValueError):
        array.commit_as(other.refs("steps"), "1")
    id = array.commit()
    assert (store.get_array(id) == 3).all() and array.commit() == id


@pytest.mark.parametrize("count", [10, 30_000])
def test_a_child_does_not_commit_what_it_has_no_memory_of(store, count):
    array = store.empty(count)
    array[:] = 3
    with pytest.raises(ValueError):
        array.commit_as(store.refs("pins"), "1")
    pid = os.fork()
    if pid == 0:
        try:
            done = store.get_array(array.commit())[0] == 3
        except drystone.Forked:
            done = True
        finally:
            os._exit(0 if done else 1)
    assert os.waitpid(pid, 0)[1] == 0
    assert (store.get_array(array.commit()) == 3).all()


def _sum(path, id, queue):
    queue.put(float(Store(path).get_array(id).sum()))


def test_other_processes_see_it_and_children_may_look_at_what_was_committed(store):
    array = store.empty(100_000)
    array[:] = 0.5
    id = array.commit()
    queue = multiprocessing.get_context("spawn").Queue()
    process = multiprocessing.get_context("spawn").Process(target=_sum, args=(store.path, id, queue))
    process.start()
    assert queue.get(timeout=60) == 50_000.0
    process.join()
    pid = os.fork()
    if pid == 0:
        os._exit(0 if array.sum() == 50_000.0 else 1)
    assert os.waitpid(pid, 0)[1] == 0
