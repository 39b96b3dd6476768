"""`drystone.Store`, method by method."""

import array
import io
import mmap
import os
import pathlib
import pickle
import weakref

import numpy as np
import pytest
import xxhash
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, rule, run_state_machine_as_test

import drystone
from drystone import Store

SIZES = [0, 1, 63, 64, 65, 4096, (64 << 10) - 1, 64 << 10, (2 << 20) - 1, 2 << 20, (2 << 20) + 1, 5_000_000]
ABSENT = "xxh3:" + "0" * 32


def content(length, seed=0):
    return np.random.default_rng(seed).bytes(length)


def damage(place, needle):
    """Flips a bit of the bytes in the segments; how many places there were."""
    found = 0
    for segment in (place / "segments").iterdir():
        data = segment.read_bytes()
        at = data.find(needle)
        if at >= 0:
            segment.chmod(0o600)
            with segment.open("r+b") as file:
                file.seek(at)
                file.write(bytes([data[at] ^ 1]))
            found += 1
    return found


@pytest.mark.parametrize("size", SIZES)
def test_what_is_put_comes_back(store, size):
    data = content(size)
    id = store.put(data)
    blob = store.get(id)
    assert bytes(blob) == bytes(memoryview(blob)) == data
    assert (len(blob), blob.nbytes, blob.id) == (size, size, id)
    assert id in store and store.blobs() == [id]


def test_ids_are_the_digests_that_others_compute(store, directory):
    for size in (0, 1, 17, 300, 2 << 20):
        assert store.put(content(size)) == "xxh3:" + xxhash.xxh3_128_hexdigest(content(size))
    blake = Store(directory / "blake", hash="blake3")
    # Of BLAKE3's published test vectors.
    assert blake.put(b"") == "b3:af1349b9f5f9a1a6a0404dea36dcc9499bcb25c9adc112b7cc9a93cae41f3262"
    assert blake.stats()["hash"] == "blake3" and store.stats()["hash"] == "xxh3"
    data = content(5 << 20)
    assert bytes(blake.get(blake.put(data))) == data


def test_equal_bytes_are_one_blob(store):
    assert len({store.put(b"granite") for _ in range(10)}) == 1
    assert (store.stats()["blobs"], store.stats()["pins"]) == (1, 1)


def test_every_contiguous_buffer_is_taken(store, directory):
    path = directory / "file"
    path.write_bytes(b"abcdefgh")
    with path.open("rb") as file:
        mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    wide = np.frombuffer(b"abcdefgh", np.uint16)
    buffers = [
        b"abcdefgh", bytearray(b"abcdefgh"), memoryview(b"xabcdefghx")[1:9], array.array("B", b"abcdefgh"), mapped,
        wide, wide.reshape(2, 2), store.get(store.put(b"abcdefgh")), io.BytesIO(b"abcdefgh").getbuffer(),
    ]  # fmt: skip
    assert len({store.put(buffer) for buffer in buffers}) == 1
    assert store.put(np.empty((0, 3))) == store.put(b"")
    for scattered in (np.arange(9)[::2], np.arange(9).reshape(3, 3).T, memoryview(b"abcd")[::2]):
        with pytest.raises(drystone.InvalidInput):
            store.put(scattered)
    for no_buffer in ("text", None, 3, ["a"], object()):
        with pytest.raises(TypeError):
            store.put(no_buffer)
    assert store.stats()["blobs"] == 2


def test_a_buffer_is_released_after_the_put(store):
    data = bytearray(b"x" * 100_000)
    store.put(data)
    data.append(1)  # refused while anybody holds it


def test_files_are_put(store, directory):
    for size in SIZES:
        path = directory / str(size)
        path.write_bytes(content(size))
        assert store.put_file(path) == store.put_file(str(path)) == store.put(content(size))
    with pytest.raises(OSError) as caught:
        store.put_file(directory / "missing")
    assert isinstance(caught.value, drystone.Error) and caught.value.errno == 2
    with pytest.raises(drystone.Error):
        store.put_file(directory)


def test_what_is_not_there_is_none(store):
    assert store.get(ABSENT) is store.stat(ABSENT) is store.read_into(ABSENT, 0, 10) is None
    assert store.get_array(ABSENT) is None
    assert ABSENT not in store
    assert store.get_many([ABSENT, store.put(b"a"), ABSENT])[::2] == [None, None]
    assert store.unpin(ABSENT) is store.remove(ABSENT) is False


def test_many_are_got_in_their_order(store):
    ids = [store.put(b"%d" % i) for i in range(200)]
    assert [bytes(blob) for blob in store.get_many(ids[::-1])] == [b"%d" % i for i in reversed(range(200))]
    assert store.get_many([]) == []


@given(st.integers(0, 70_000), st.integers(0, 70_000), st.integers(0, 80_000))
@settings(max_examples=100, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
def test_ranges_are_read(store, size, offset, length):
    data = content(size)
    assert store.read_into(store.put(data), offset, length) == data[offset : offset + length]


def test_reading_too_much_takes_no_memory(store):
    id = store.put(b"granite")
    assert store.read_into(id, 3, 1 << 60) == b"nite"
    assert store.read_into(id, (1 << 64) - 1, (1 << 63) - 1) == b""
    with pytest.raises(OverflowError):
        store.read_into(id, -1, 1)


def test_a_blob_is_described(store):
    id = store.put(b"granite")
    stat = store.stat(id)
    assert (stat["id"], stat["length"], stat["pinned"]) == (id, 7, True)
    assert stat["offset"] % 64 == 0 and set(stat) == {"id", "length", "segment", "offset", "pinned"}
    assert store.unpin(id) is True and store.stat(id)["pinned"] is False and store.unpin(id) is False


def test_removal_and_unpinning(store):
    kept, unpinned, named, removed = (store.put(content(1000, seed)) for seed in range(4))
    store.refs("names").set("it", named)
    for id in (unpinned, named):
        assert store.unpin(id)
    assert store.remove(removed) and not store.remove(removed) and removed not in store
    assert unpinned in store, "only compaction takes it"
    done = store.compact(all=True)
    assert done["complete"] and not done["busy"] and done["collected_blobs"] == 1
    assert sorted(store.blobs()) == sorted([kept, named])
    assert store.remove(named) and store.refs("names").get("it") is None
    assert store.put(content(1000, 3)) == removed and bytes(store.get(removed)) == content(1000, 3)


def test_compaction_gives_space_back(store, directory):
    ids = [store.put(content(300_000, seed)) for seed in range(40)]
    for id in ids[::2]:
        store.unpin(id)
    dry = store.compact(dry_run=True)
    assert dry["collected_blobs"] == 20 and all(id in store for id in ids)
    done = store.compact(all=True, min_garbage=0.1, rate=1 << 30, seconds=60.0)
    assert done["complete"] and done["bytes_after"] < done["bytes_before"] - 5_000_000 and done["copied_bytes"] > 0
    on_disk = sum(path.stat().st_blocks * 512 for path in (directory / "store" / "segments").iterdir())
    assert on_disk < 9_000_000, "six million live bytes, and an open segment"
    assert [id in store for id in ids] == [False, True] * 20
    for seed in range(1, 40, 2):
        assert bytes(store.get(ids[seed])) == content(300_000, seed)
    assert store.fsck(deep=True)["clean"]


def test_numbers_are_told(store):
    store.put(content(100_000))
    store.refs("a").set("key", b"value")
    stats = store.stats()
    assert (stats["blobs"], stats["refs"], stats["pins"], stats["segments"]) == (1, 1, 1, 1)
    assert stats["live_bytes"] >= 100_000 and stats["segment_bytes"] >= 100_000 and stats["index_bytes"] > 0
    assert stats["free_bytes"] > 0 and stats["file_system"] in ("tmpfs", "ext4", "xfs", "btrfs", "overlayfs")


def test_a_check_finds_damage_and_nothing_else(store, directory):
    data = content(100_000)
    whole, broken = store.put(b"whole" * 100), store.put(data)
    found = store.fsck(deep=True)
    assert found["clean"] and found["damage"] == [] and found["hashed_bytes"] >= 100_500
    assert store.fsck()["hashed_bytes"] == 0 and store.fsck()["records"] >= 2
    assert damage(directory / "store", data[5000:5040]) == 1
    found = store.fsck(deep=True)
    assert not found["clean"] and any(broken in line for line in found["damage"])
    assert not any(whole in line for line in found["damage"])


def test_verified_reads_refuse_changed_bytes(directory):
    store = Store(directory / "store", verify=True)
    data = content(100_000)
    id = store.put(data)
    assert bytes(store.get(id)) == data
    assert damage(directory / "store", data[5000:5040]) == 1
    for read in (store.get, store.get_array, lambda id: store.get_many([id])):
        with pytest.raises(drystone.Damaged):
            read(id)


def test_synced_puts_and_sync(directory):
    store = Store(directory / "store", durability="synced", threads=2)
    ids = [store.put(b"a"), store.put(b"b", synced=False), store.put(b"c", synced=True)]
    store.sync()
    assert sorted(store.blobs()) == sorted(ids)


def test_closing(store, directory):
    id = store.put(b"granite")
    refs, blob = store.refs("names"), store.get(id)
    with store as same:
        assert same is store and not store.closed
    assert store.closed
    store.close()
    calls = [
        lambda: store.put(b""), lambda: store.put_array(np.eye(2)), lambda: store.get(id), lambda: store.get_many([id]),
        lambda: store.get_array(id), lambda: id in store, lambda: store.stat(id), lambda: store.unpin(id),
        lambda: store.remove(id), lambda: store.blobs(), lambda: store.refs("a"), lambda: store.namespaces(),
        lambda: store.sync(), lambda: store.compact(), lambda: store.stats(), lambda: store.read_into(id, 0, 1),
        lambda: store.put_file(__file__),
    ]  # fmt: skip
    for call in calls:
        with pytest.raises(drystone.InvalidInput, match="closed"):
            call()
    assert refs.set("it", id) and bytes(blob) == b"granite", "what came from it still works"
    assert bytes(Store(directory / "store").get(id)) == b"granite"


def test_an_exception_closes_it_too(directory):
    with pytest.raises(ZeroDivisionError), Store(directory / "store") as store:
        1 / 0
    assert store.closed


def test_reading_only(store, directory):
    id = store.put(b"granite")
    reader = Store(directory / "store", read_only=True)
    assert bytes(reader.get(id)) == b"granite" and reader.read_only and not store.read_only
    writes = [
        lambda: reader.put(b"x"), lambda: reader.put_array(np.eye(2)), lambda: reader.unpin(id),
        lambda: reader.remove(id), lambda: reader.refs("a").set("k", b"v"), lambda: reader.compact(),
    ]  # fmt: skip
    for write in writes:
        with pytest.raises(PermissionError) as caught:
            write()
        assert isinstance(caught.value, drystone.ReadOnly)
    later = store.put(b"later")
    assert bytes(reader.get(later)) == b"later"
    assert not (directory / "none").exists()


def test_pickled_it_is_the_same_directory(store):
    id = store.put(b"granite")
    again = pickle.loads(pickle.dumps(store))
    assert type(again) is Store and bytes(again.get(id)) == b"granite" and not again.read_only
    reader = pickle.loads(pickle.dumps(Store(store.path, read_only=True)))
    assert reader.read_only and bytes(reader.get(id)) == b"granite"


class Named(Store):
    def name(self):
        return "mine"


def test_it_can_be_inherited_and_referred_to_weakly(directory):
    store = Named(directory / "store")
    assert pickle.loads(pickle.dumps(store)).name() == "mine"
    weak = weakref.ref(store)
    del store
    assert weak() is None


def test_paths(directory, monkeypatch):
    for path in (directory / "a", str(directory / "b"), pathlib.PurePosixPath(directory / "c" / "d")):
        store = Store(path)
        assert os.fspath(store.path) == os.fspath(path) and os.fspath(path) in repr(store)
    monkeypatch.chdir(directory)
    assert Store("a").put(b"a") in Store(directory / "a")
    monkeypatch.setenv("DRYSTONE_STORE", str(directory / "said"))
    assert Store().put(b"a") in Store(directory / "said")
    monkeypatch.delenv("DRYSTONE_STORE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(directory / "cache"))
    assert drystone.default_directory() == directory / "cache" / "drystone" / "store"
    with pytest.raises(TypeError):
        Store(3)
    with pytest.raises(TypeError):
        Store(directory, unknown=1)


class Model(RuleBasedStateMachine):
    """The store beside a dict, compactions and new openings included."""

    place = None
    ids = Bundle("ids")

    def __init__(self):
        super().__init__()
        Model.count = getattr(Model, "count", 0) + 1
        self.path = Model.place / str(Model.count)
        self.store, self.blobs, self.pinned = Store(self.path), {}, set()

    @rule(target=ids, data=st.binary(max_size=300) | st.integers(60_000, 140_000).map(content))
    def put(self, data):
        id = self.store.put(data)
        self.blobs[id] = data
        self.pinned.add(id)
        return id

    @rule(id=ids)
    def get(self, id):
        blob = self.store.get(id)
        assert (None if blob is None else bytes(blob)) == self.blobs.get(id)
        assert (id in self.store) == (id in self.blobs)

    @rule(id=ids)
    def unpin(self, id):
        assert self.store.unpin(id) == (id in self.pinned)
        self.pinned.discard(id)

    @rule(id=consumes(ids))
    def remove(self, id):
        assert self.store.remove(id) == (id in self.blobs)
        self.blobs.pop(id, None)
        self.pinned.discard(id)

    @rule(all=st.booleans())
    def compact(self, all):
        assert self.store.compact(all=all)["complete"]
        self.blobs = {id: data for id, data in self.blobs.items() if id in self.pinned}

    @rule()
    def reopen(self):
        self.store.close()
        self.store = Store(self.path)

    @rule()
    def list(self):
        assert sorted(self.store.blobs()) == sorted(self.blobs)

    def teardown(self):
        assert self.store.fsck(deep=True)["clean"]


def test_it_does_what_a_dict_does(directory):
    Model.place = directory
    run_state_machine_as_test(Model, settings=settings(max_examples=30, stateful_step_count=30, deadline=None))
