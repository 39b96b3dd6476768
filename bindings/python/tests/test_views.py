"""Views keep their bytes, whatever happens to the store around them."""

import ctypes
import gc
import pathlib
import pickle
import shutil
import struct
import sys
import threading
import time
import weakref

import numpy as np
import pytest

import drystone
from drystone import Store


def content(length, seed=0):
    return np.random.default_rng(seed).bytes(length)


def deleted_mappings(place):
    """Mappings of files of the store that have no name any more."""
    lines = pathlib.Path("/proc/self/maps").read_text().splitlines()
    return [line for line in lines if str(place) in line and ".seg" in line and "(deleted)" in line]


def test_the_buffer_is_read_only(store):
    blob = store.get(store.put(b"granite"))
    view = memoryview(blob)
    assert view.readonly and (view.format, view.itemsize, view.shape, view.contiguous) == ("B", 1, (7,), True)
    with pytest.raises(TypeError):
        view[0] = 1
    for write in (lambda: struct.pack_into("B", blob, 0, 1), lambda: (ctypes.c_char * 7).from_buffer(blob)):
        with pytest.raises(TypeError):
            write()
    with pytest.raises(ValueError):
        np.frombuffer(blob, np.uint8)[0] = 1
    with pytest.raises(TypeError):
        open("/dev/zero", "rb").readinto(blob)
    assert view.tobytes() == b"granite" and view[2:4].tobytes() == b"an" and bytes(blob) == b"granite"
    empty = store.get(store.put(b""))
    assert memoryview(empty).nbytes == len(empty) == 0 and bytes(empty) == b""


def test_blobs_are_equal_by_content(store, directory):
    one, same, other = (store.get(store.put(data)) for data in (b"a", b"a", b"b"))
    assert one == same and one is not same and hash(one) == hash(same) and one != other and one != b"a"
    assert {one, same, other} == {one, other} and one == Store(directory / "store").get(one.id)
    assert one.id in repr(one) and "1 bytes" in repr(one)


def test_a_pickled_blob_is_its_bytes(store):
    assert pickle.loads(pickle.dumps(store.get(store.put(b"granite")))) == b"granite"


def test_a_blob_outlives_its_store(store):
    blob = store.get(store.put(content(100_000)))
    store.close()
    del store
    gc.collect()
    assert bytes(blob) == content(100_000)


@pytest.mark.parametrize("look", [memoryview, lambda blob: np.frombuffer(blob, np.uint8), lambda blob: memoryview(blob)[5:]])
def test_a_view_keeps_what_it_looks_at(directory, look):
    store = Store(directory / "store")
    data = content(300_000)
    view = look(store.get(store.put(data)))
    store.close()
    weak = weakref.ref(store)
    del store
    gc.collect()
    assert weak() is None
    shutil.rmtree(directory / "store")
    for seed in range(5):  # memory that was given back would be taken by these
        content(300_000, seed)
    assert bytes(view) == data[len(data) - len(bytes(view)) :]


def test_an_array_keeps_what_it_looks_at(directory):
    store = Store(directory / "store")
    array = np.random.default_rng(1).random((500, 300))
    kept = store.get_array(store.put_array(array))[100:, ::2].T
    store.remove(store.blobs()[0])
    store.compact(all=True)
    store.close()
    del store
    gc.collect()
    assert np.array_equal(kept, array[100:, ::2].T)


@pytest.mark.parametrize("drop", [Store.unpin, Store.remove])
def test_views_stay_through_removal_and_compaction(store, drop):
    held = {}
    for seed in range(30):
        id = store.put(content(200_000, seed))
        held[seed] = store.get(id), memoryview(store.get(id))[1000:]
        drop(store, id)
    done = store.compact(all=True)
    assert done["complete"] and store.blobs() == []
    for seed in range(30, 60):  # new segments take the place of the old ones
        store.put(content(200_000, seed))
    for seed, (blob, view) in held.items():
        assert bytes(blob) == content(200_000, seed) and view == content(200_000, seed)[1000:]
    assert store.fsck(deep=True)["clean"]


def test_the_last_view_gives_the_memory_back(store, directory):
    view = memoryview(store.get(store.put(content(500_000))))
    part = view[10:20]
    store.remove(store.blobs()[0])
    store.put(content(500_000, 1))
    store.compact(all=True)
    del view
    store.stats()
    assert part == content(500_000)[10:20] and deleted_mappings(directory), "the part still needs it"
    del part
    gc.collect()
    for id in store.blobs():
        store.get(id)
    store.compact()
    store.close()
    assert deleted_mappings(directory) == []


def test_no_reference_leaks(store):
    id = store.put(content(1000))
    blob = store.get(id)
    before = sys.getrefcount(blob)
    for _ in range(1000):
        memoryview(blob).release()
        np.frombuffer(blob, np.uint8)
        with pytest.raises(TypeError):
            struct.pack_into("B", blob, 0, 1)
    assert sys.getrefcount(blob) == before


def test_threads_share_a_store(store):
    failures, ids = [], {}

    def work(number):
        try:
            for round in range(60):
                seed = number * 1000 + round
                data = content(20_000 + seed, seed)
                id = store.put(data)
                ids[id] = data
                view = store.get(id)
                if round % 3 == 0:
                    assert store.remove(id)
                    del ids[id]
                if round % 20 == 0:
                    store.compact()
                assert bytes(view) == data
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert sorted(store.blobs()) == sorted(ids) and all(bytes(store.get(id)) == ids[id] for id in ids)


def test_other_threads_run_while_one_puts(store):
    """A large put lets go of the interpreter: another thread counts on meanwhile."""
    array = np.random.default_rng(0).random(8 << 20)
    counted, done = [0], threading.Event()

    def count():
        while not done.is_set():
            counted[0] += 1
            time.sleep(0.0001)

    thread = threading.Thread(target=count)
    interval = sys.getswitchinterval()
    # So long nobody takes the interpreter away from a thread: it must let go of it by itself.
    sys.setswitchinterval(100)
    try:
        thread.start()
        before = counted[0]
        id = store.put(array)
        during = counted[0] - before
    finally:
        done.set()
        sys.setswitchinterval(interval)
        thread.join()
    id = store.put_array(array)
    assert during > 3 and np.array_equal(store.get_array(id), array)


def test_a_buffer_that_changes_during_the_put_is_stored_as_some_mixture(store):
    array, stop = np.zeros(4 << 20, np.uint8), threading.Event()

    def change():
        while not stop.is_set():
            array[:] += 1

    thread = threading.Thread(target=change)
    thread.start()
    try:
        ids = [store.put(array) for _ in range(10)]
    finally:
        stop.set()
        thread.join()
    checked = Store(store.path, verify=True)
    assert all(len(checked.get(id)) == 4 << 20 for id in ids), "the digest is of what was stored"
    assert store.fsck(deep=True)["clean"]


def test_closing_races_with_use(directory):
    for _ in range(20):
        store = Store(directory / "store")
        seen = []

        def use(store=store, seen=seen):
            try:
                while True:
                    seen.append(bytes(store.get(store.put(b"granite"))))
            except drystone.InvalidInput:
                pass

        threads = [threading.Thread(target=use) for _ in range(3)]
        for thread in threads:
            thread.start()
        store.close()
        for thread in threads:
            thread.join()
        assert set(seen) <= {b"granite"}


def huge_bytes(array):
    """Bytes that this process has mapped by huge pages, of the mapping in which a numpy array stands; it is read before."""
    array.sum()
    address, is_here = array.__array_interface__["data"][0], False
    for line in pathlib.Path("/proc/self/smaps").read_text().splitlines():
        first, *rest = line.split()
        if "-" in first:
            start, end = (int(part, 16) for part in first.split("-"))
            is_here = start <= address < end
        elif is_here and first == "FilePmdMapped:":
            return int(rest[0]) << 10
    return 0


@pytest.mark.parametrize("way", ["put", "put_array", "empty"])
def test_large_arrays_are_mapped_by_huge_pages(tmp_path, way):
    """As large a share of them as of a file of the same bytes, written by its huge pages."""
    huge, array = 2 << 20, np.frombuffer(content(24 << 20), np.uint8)
    with open(tmp_path / "plain", "wb", buffering=0) as file:
        for at in range(0, array.size, huge):
            file.write(array[at : at + huge])
    possible = huge_bytes(np.memmap(tmp_path / "plain", np.uint8, "r"))
    if possible < array.size // 2:
        pytest.skip(f"SKIPPED: the file system of {tmp_path} has no huge pages in its cache")
    store = Store(tmp_path / "store")
    if way == "put":
        view = np.frombuffer(store.get(store.put(array.tobytes())), np.uint8)
    elif way == "put_array":
        view = store.get_array(store.put_array(array))
    else:
        draft = store.empty(array.shape, array.dtype)
        draft[:] = array
        view = store.get_array(draft.commit())
    assert np.array_equal(view, array)
    assert huge_bytes(view) >= possible // 2
