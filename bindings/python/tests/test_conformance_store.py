"""The conformance suite of Rust (`tests/conformance`), asked again of `drystone.Store`.

Each test has the name of the one in Rust, with `test_` before it; what has no meaning here stands in NOT_MIRRORED. A
reboot is the directory `run` gone while nobody uses the store: the boot's id cannot be given from Python.
"""

import itertools
import math
import os
import pathlib
import pickle
import shutil
import stat
import subprocess
import threading
import time

import numpy as np
import pytest
from conformance import (
    HASHES, HEADER, KIB, MIB, absent_id, address, array, at_once, content, hold_against, holdings, id_of, read,
    rebooted, refused, saved, segments,
)  # fmt: skip

import drystone
from drystone import Cache, InvalidInput, NoSpace, NotFound, ReadOnly, Store

NOT_MIRRORED = {
    "many_with_duplicates_inside_are_as_one_by_one": "there is no put of many",
    "none_at_all_are_put": "there is no put of many",
    "many_are_synced_together_also_while_the_index_grows": "there is no put of many",
    "many_large_ones_span_segments": "there is no put of many, and segments have the default size",
    "a_segment_size_must_be_a_power_of_two_in_bounds": "segments have the default size",
    "segments_are_sealed_at_the_size_asked_for": "segments have the default size",
    "few_mappings_suffice_for_many_segments": "neither the size of segments nor the number of mappings can be set",
    "a_guard_holds_what_it_showed_and_sees_what_comes_after_it": "there are no guards: each blob holds itself",
    "a_reader_that_lies_is_refused": "what a file returns is as long as it is",
    "who_names_a_blob": "there is no named_by",
}

#: The edges: empty, a step, a page, small and large, some of segments elsewhere, a chunk, some chunks.
SIZES = [
    0, 1, 63, 64, 65, 4 * KIB - 1, 4 * KIB, 4 * KIB + 1, 64 * KIB - 1, 64 * KIB, 64 * KIB + 1, MIB // 4 - 8 * KIB,
    MIB // 4 - 4 * KIB, MIB // 4 - 1, MIB // 4, MIB // 4 + 1, MIB - 4 * KIB, MIB - 1, MIB, MIB + 1, 2 * MIB - 1,
    2 * MIB, 2 * MIB + 1, 4 * MIB - 1, 4 * MIB, 4 * MIB + 1, 9 * MIB + 13,
]  # fmt: skip
#: Elements of drafts on both sides of where one begins to have a segment of its own, and of a chunk, headers counted.
DRAFTS = [0, 1, 1000, 64 * KIB - HEADER, 64 * KIB - HEADER + 1, 2 * MIB - HEADER, 2 * MIB - HEADER + 1, 17 * MIB + 5]
FULL = 8 * MIB

both = pytest.mark.parametrize("hash", HASHES)


@pytest.fixture(params=HASHES)
def each(request, directory):
    """A store of each hash algorithm."""
    return Store(directory / "store", hash=request.param)


def walk(place):
    """All files and directories below, with what would change if they were written."""
    return {path: (path.stat().st_size, path.stat().st_mtime_ns) for path in [place, *place.rglob("*")]}


def filled(store, data):
    """A draft with these elements."""
    draft = store.empty(len(data), "u1")
    draft[:] = data
    return draft


# Sizes


def edge(length, seed=0):
    """So many bytes: where there is room for its header, the file of an array."""
    if length < HEADER:
        return content(length, seed)
    data = saved(array(length - HEADER, seed))
    assert len(data) == length
    return data


def put_as_draft(store, data, refs=None):
    draft = filled(store, np.frombuffer(data[HEADER:], "u1"))
    return draft.commit() if refs is None else draft.commit_as(refs, "name")


def put_named_and_then_pinned(store, data):
    id = put_as_draft(store, data, store.refs("drafts"))
    assert store.refs("drafts").get("name")["value"] == id
    assert store.put(data) == id
    return id


def put_by_a_ref(store, data):
    store.refs("long").set("name", data)
    value = store.refs("long").get("name")["value"]
    assert value == data if len(data) <= 4 * KIB else value == store.put(data)
    return store.put(data)


def put_a_file(store, data):
    path = pathlib.Path(store.path).with_name("file")
    path.write_bytes(data)
    return store.put_file(path)


def put_a_blob(store, data):
    other = Store(pathlib.Path(store.path).with_name("other"))
    blob = other.get(other.put(data))
    assert other.remove(blob.id)
    return store.put(blob)


ANY_LENGTH = [
    lambda store, data: store.put(data),
    lambda store, data: store.put(bytearray(data)),
    lambda store, data: store.put(memoryview(b"x" + data)[1:]),
    lambda store, data: store.put(np.frombuffer(data, "u1"), synced=True),
    put_a_file, put_a_blob, put_by_a_ref,
]  # fmt: skip
WITH_HEADER = [
    lambda store, data: store.put_array(np.frombuffer(data[HEADER:], "u1")), put_as_draft, put_named_and_then_pinned,
]  # fmt: skip
WAYS = ANY_LENGTH + WITH_HEADER


def ways(length):
    return WAYS if length >= HEADER else ANY_LENGTH


def check(store, id, data):
    whole = Store(store.path, verify=True)
    assert read(whole, id) == data and len(store.get(id)) == store.get(id).nbytes == len(data)
    found = store.stat(id)
    assert (found["id"], found["length"], found["pinned"]) == (id, len(data), True)


def test_every_way_in_gives_the_same_blob_at_every_edge(each):
    for length in SIZES:
        data, tried = edge(length, 1), ways(length)
        # The first way stores it; so each way stores at some size, and the others meet it.
        id = tried[length % len(tried)](each, data)
        check(each, id, data)
        assert [put(each, data) for put in tried] == [id] * len(tried), length
    assert each.stats()["blobs"] == len(SIZES)


@pytest.mark.parametrize("way", range(len(WAYS)))
def test_each_way_in_stores_at_every_edge(directory, way):
    for length in (0, 1, 64 * KIB, 64 * KIB + 1, MIB // 4 + 1, 2 * MIB, 2 * MIB + 1):
        if WAYS[way] not in ways(length):
            continue
        data, place = edge(length, 2), directory / str(length)
        store = Store(place / "store", hash=HASHES[(way + length) % 2])
        id = WAYS[way](store, data)
        check(store, id, data)
        store.close()
        check(rebooted(place / "store"), id, data)


@pytest.mark.parametrize(
    ("hash", "lengths"),
    [("xxh3", (16 * MIB - 8 * KIB, 16 * MIB + 1, 65 * MIB + 13)), ("blake3", (16 * MIB - 1, 16 * MIB, 64 * MIB))],
)
def test_the_default_segments_have_the_same_edges(directory, hash, lengths):
    store = Store(directory / "store", hash=hash)
    ids = [store.put(content(length, 3)) for length in lengths]
    for id, length in zip(ids, lengths):
        check(store, id, content(length, 3))


@both
def test_an_id_is_what_other_programs_compute(directory, hash):
    store = Store(directory / "store", hash=hash)
    for length in SIZES:
        # Above a chunk, the XXH3 id is of the chunks' digests.
        if hash == "blake3" or length <= 2 * MIB:
            data = content(length, 4)
            assert store.put(data) == id_of(hash, data), length


def test_neighbours_in_size_and_content_are_other_blobs(each):
    zeros = [each.put(bytes(length)) for length in SIZES]
    for id, length in zip(zeros, SIZES):
        assert read(each, id) == bytes(length)
    assert each.stats()["blobs"] == len(SIZES)
    ones = bytearray(4 * MIB)
    for at in (0, 2 * MIB - 1, 2 * MIB, 4 * MIB - 1):
        ones[at] = 1
        assert read(each, each.put(ones)) == ones
        ones[at] = 0
    assert each.stats()["blobs"] == len(SIZES) + 4


# Puts


def test_a_put_of_what_is_there_adds_nothing_to_the_segments(each):
    for length in (0, 10, 64 * KIB, 100_000, 3 * MIB, 17 * MIB):
        data = content(length, 1)
        id = each.put(data)
        before, known = holdings(each), each.stat(id)
        assert each.put(data) == each.put(bytearray(data)) == put_a_file(each, data) == id
        after = holdings(each)
        # A large body is written before its id is known; the next append writes over it.
        assert after.pop("segment_bytes") <= before.pop("segment_bytes") + length + 128 * KIB
        assert (after, each.stat(id)) == (before, known)


@both
def test_clones_and_threads_put_the_same_bytes_once(directory, hash):
    store = Store(directory / "store", hash=hash)
    contents = [content(length, 2) for length in (0, 1, 500, 70_000, 300_000)]

    def put_all(store):
        return lambda: [store.put(data) for data in contents]

    clones = [store, store, store, *(pickle.loads(pickle.dumps(store)) for _ in range(3))]
    ids = at_once(*map(put_all, clones))
    assert ids == [ids[0]] * 6
    assert (store.stats()["blobs"], store.stats()["pins"]) == (5, 5)


def test_durability_may_be_chosen_per_put(each):
    for length in (5, 100_000, 17 * MIB):
        data = content(length, 3)
        id = each.put(data, synced=True)
        assert each.put(data, synced=True) == each.put(data, synced=False) == each.put(data) == id, "met again"
        assert read(each, id) == data
        assert each.put_array(array(length), synced=True) == each.put(saved(array(length)))


def test_a_file_that_is_not_there_is_an_error_that_names_it(store, directory):
    missing = directory / "missing"
    [error] = refused(drystone.IoError, lambda: store.put_file(missing))
    assert str(missing) in str(error) and error.errno == 2
    refused(drystone.IoError, lambda: store.put_file(directory))
    assert store.stats()["blobs"] == 0


# Files that give little at a time, fail, or use the store


def test_short_reads_and_interruptions_do_not_matter(each, directory):
    os.mkfifo(directory / "pipe")

    def give(data):
        with open(directory / "pipe", "wb", buffering=0) as pipe:
            at = 0
            for most in itertools.cycle([1, 99_991, 4 * MIB]):
                if at >= len(data):
                    break
                at += pipe.write(data[at : at + most])

    for length in (0, 1, 64 * KIB, 64 * KIB + 1, 2 * MIB - 1, 2 * MIB, 2 * MIB + 1, 4 * MIB, 4 * MIB + 1, 9 * MIB):
        data = content(length, 1)
        _, id = at_once(lambda: give(data), lambda: each.put_file(directory / "pipe"))
        assert read(each, id) == data and each.put(data) == id


class Tape:
    """A file whose reading does as it is told."""

    def __init__(self, act):
        self.read = act


def test_a_reader_that_fails_leaves_nothing(cache):
    def fail():
        raise OSError("the tape broke")

    cache["k"] = b"before"
    before = holdings(cache.store())
    calls = [
        lambda: cache.set("k", Tape(fail), read=True), lambda: cache.add("new", Tape(fail), read=True),
        lambda: cache.push(Tape(fail), read=True),
    ]  # fmt: skip
    for call in calls:
        with pytest.raises(OSError, match="the tape broke"):
            call()
    assert (cache["k"], list(cache)) == (b"before", ["k"]) and holdings(cache.store()) == before
    cache.set("k", Tape(lambda: content(3 * MIB, 2)), read=True)
    assert cache["k"] == content(3 * MIB, 2)


def test_a_reader_may_use_the_store_itself(cache):
    store = cache.store()

    def act():
        parts = []
        for number in range(600):
            id = store.put(number.to_bytes(8, "little"))
            cache["inner"] = number
            parts.append(read(store, id)[:1] * 8 * KIB)
        return b"".join(parts)

    cache.set("outer", Tape(act), read=True)
    assert cache["outer"] == b"".join(bytes([number % 256]) * 8 * KIB for number in range(600))
    assert cache["inner"] == 599


# Buffers that others write meanwhile


def test_a_null_pointer_to_nothing_is_the_empty_blob(store):
    nothing = [b"", bytearray(), memoryview(b""), np.empty(0), np.empty((0, 3), "u1"), np.zeros((5, 0)).T]
    assert len({store.put(empty) for empty in nothing}) == 1
    assert read(store, store.put(np.empty(0))) == b"" and store.stats()["blobs"] == 1


@both
def test_the_id_is_of_the_stored_bytes_while_another_thread_writes(directory, hash):
    store = Store(directory / "store", hash=hash, verify=True)
    for length in (1, 100, 64 * KIB, 64 * KIB + 1, 256 * KIB, 700 * KIB, 2 * MIB + 1, 5 * MIB):
        buffer, done = np.zeros(length, "u1"), threading.Event()

        def scribble(buffer=buffer, done=done):
            for number in itertools.cycle(range(1, 256)):
                if done.is_set():
                    break
                buffer += number
                np.bitwise_xor(buffer[::-1], number, out=buffer[::-1])

        writer = threading.Thread(target=scribble)
        writer.start()
        try:
            for _ in range(8):
                assert len(store.get(store.put(buffer))) == length
        finally:
            done.set()
            writer.join()
    assert store.fsck(deep=True)["clean"]


# Gets


def test_what_is_not_there_is_none_everywhere(each, directory):
    each.put(b"something")
    foreign = {"xxh3": "b3:" + "07" * 32, "blake3": "xxh3:" + "07" * 16}[each.stats()["hash"]]
    strict = Store(each.path, verify=True)
    for id in (absent_id(each), foreign):
        for store in (each, strict):
            assert store.get(id) is store.get_array(id) is store.stat(id) is store.read_into(id, 0, 4) is None
            assert store.get_many([id, id]) == [None, None] and id not in store
        assert each.remove(id) is each.unpin(id) is False
        [error] = refused(NotFound, lambda id=id: each.refs("r").set("k", id))
        assert id in str(error)
    assert each.stats()["blobs"] == 1


def test_an_id_that_shares_half_a_digest_is_another_blob(directory):
    store = Store(directory / "store", hash="blake3")
    id = store.put(b"something")
    digest = bytearray.fromhex(id.removeprefix("b3:"))
    digest[20] ^= 1
    twin = "b3:" + digest.hex()
    assert store.get(twin) is store.stat(twin) is None and store.get_many([twin]) == [None] and twin not in store
    assert store.remove(twin) is store.unpin(twin) is False
    refused(NotFound, lambda: store.refs("r").set("k", twin))
    assert id in store and store.stat(id)["pinned"]


def test_many_come_in_the_order_asked_for(each):
    ids, absent = [each.put(content(at * 37, 1)) for at in range(100)], absent_id(each)
    # Mixed, repeated, and more than any batch inside.
    asked = [at * 59 % 120 for at in range(333)]
    found = each.get_many([ids[at] if at < 100 else absent for at in asked])
    assert len(found) == 333
    for at, blob in zip(asked, found):
        assert blob is None if at >= 100 else bytes(blob) == content(at * 37, 1)
    assert each.get_many([]) == []


def test_parts_are_read_by_copy(each):
    strict = Store(each.path, verify=True)
    for length in (0, 1, 1000, 64 * KIB + 1, 3 * MIB):
        data = content(length, 1)
        id = each.put(data)
        for offset in (0, 1, length // 2, max(0, length - 1), length, length + 1, (1 << 64) - 1):
            for room in (0, 1, 100, length, length + 100):
                store = each if room % 2 else strict
                found = store.read_into(id, offset, room)
                assert type(found) is bytes and found == data[offset : offset + room], (length, offset, room)


def change_a_byte(path, found, at):
    """Changes a byte of a blob as it stands on the medium."""
    segment = path / "segments" / f"{found['segment']:08x}.seg"
    segment.chmod(0o600)
    with segment.open("r+b") as file:
        file.seek(found["offset"] + 64 + at)
        byte = file.read(1)[0]
        file.seek(found["offset"] + 64 + at)
        file.write(bytes([byte ^ 0xFF]))


@both
def test_a_read_of_a_part_verifies_the_chunks_that_it_touches(directory, hash):
    # Python verifies the whole blob or nothing.
    path, chunk, data = directory / "store", 2 * MIB, content(7 * MIB, 1)
    with Store(path, hash=hash) as store:
        id = store.put(data)
        known = store.stat(id)
    change_a_byte(path, known, 2 * chunk + 5)
    trusting, strict = Store(path), Store(path, verify=True)
    for offset, length in ((0, 2 * chunk), (3 * chunk, MIB), (chunk - 7, 100), (2 * chunk, 1), (2 * chunk - 1, 2)):
        assert trusting.read_into(id, offset, length) == data[offset : offset + length]
        [error] = refused(drystone.Damaged, lambda at=offset, length=length: strict.read_into(id, at, length))
        assert id in str(error)
    assert trusting.read_into(id, 2 * chunk + 5, 1)[0] == data[2 * chunk + 5] ^ 0xFF


@both
@pytest.mark.parametrize("length", [10, 100_000, 3 * MIB, 17 * MIB])
def test_bytes_that_the_medium_changed_are_found_where_verification_is_on(directory, hash, length):
    path, data = directory / "store", edge(length, 1)
    with Store(path, hash=hash) as store:
        id = store.put(data)
        known = store.stat(id)
    change_a_byte(path, known, length - 3)
    lazy, strict = Store(path), Store(path, verify=True)
    changed = read(lazy, id)
    assert changed != data and changed[: length - 3] == data[: length - 3], "not looked at"
    errors = refused(
        drystone.Damaged, lambda: strict.get(id), lambda: strict.get_many([id]), lambda: strict.get_array(id),
        lambda: strict.read_into(id, 0, 1),
    )  # fmt: skip
    assert all(id in str(error) for error in errors)
    assert read(lazy, id) == changed
    found = lazy.fsck(deep=True)
    assert not found["clean"] and any(id in line for line in found["damage"])


def test_every_blob_is_walked_over(each):
    assert each.blobs() == []
    ids = {each.put(content(at, 1)) for at in range(2000)}
    each.refs("names").set("a", next(iter(ids)))
    walked = each.blobs()
    assert len(walked) == 2000 and set(walked) == ids
    assert each.stat(walked[0])["id"] == walked[0]


def test_a_walk_sees_what_stays_while_the_index_grows_and_others_come_and_go(store):
    stay, done = {store.put(at.to_bytes(4, "little")) for at in range(500)}, threading.Event()
    small = store.stats()["index_bytes"]

    def come_and_go():
        try:
            for number in range(20_000):
                id = store.put(number.to_bytes(8, "little"))
                assert number % 2 or store.remove(id)
        finally:
            done.set()

    def look():
        walks = 0
        while not done.is_set():
            walked = store.blobs()
            assert stay <= set(walked) and len(set(walked)) == len(walked)
            walks += 1
        return walks

    _, walks = at_once(come_and_go, look)
    assert walks > 2 and store.stats()["index_bytes"] > 4 * small, "the index has grown on the way"
    assert len(store.blobs()) == 500 + 10_000


def test_what_is_known_about_a_blob_and_the_store(each):
    id, small = each.put(content(5 * MIB, 1)), each.put(b"pebble")
    known = each.stat(id)
    assert set(known) == {"id", "length", "segment", "offset", "pinned"}
    assert (known["id"], known["length"], known["pinned"]) == (id, 5 * MIB, True)
    each.refs("names").set("pebble", small)
    each.remove(id)
    stats = each.stats()
    assert (stats["blobs"], stats["refs"]) == (1, 1)
    assert each.put(b"pebble").startswith({"xxh3": "xxh3:", "blake3": "b3:"}[stats["hash"]])
    assert stats["segment_bytes"] > stats["live_bytes"] > 0 and stats["free_bytes"] > 0 and stats["file_system"]


# Refs


def test_a_ref_is_what_it_was_set_to_last(each):
    refs = each.refs("names")
    assert refs.namespace == "names" and refs.get("a") is None
    id, last = each.put(b"one"), 0
    for value in (id, b"two", [id, id]):
        version = refs.set("a", value)
        assert version > last, "versions grow"
        entry = refs.get("a")
        assert (entry["key"], entry["value"], entry["version"]) == (b"a", value, version)
        last = version


def test_values_come_back_as_they_were_given(each):
    refs = each.refs("values")
    a, b = each.put(b"a"), each.put(b"b")
    for value in (b"", b"bytes", "text".encode(), bytes(4 * KIB), a, b, [], [a], [b, a, b]):
        refs.set("k", value)
        found = refs.get("k")["value"]
        assert found == value and type(found) is type(value)
    # A text is an id, and nothing else.
    refused(InvalidInput, lambda: refs.set("k", "text"))
    assert refs.get("k")["value"] == [b, a, b]


def test_long_bytes_become_a_blob(each):
    refs = each.refs("long")
    for length in (4 * KIB + 1, 64 * KIB, 64 * KIB + 1, 3 * MIB, 17 * MIB):
        data = content(length, 1)
        refs.set("k", data)
        entry = refs.get("k")
        id = entry["value"]
        assert read(each, id) == data
        assert not each.stat(id)["pinned"], "the ref names it, no pin does"
        assert refs.add("k", data) is None
        assert refs.compare_and_set("k", entry["version"], data) > entry["version"]
        assert each.put(data) == id


def test_add_sets_only_what_is_not_there(each):
    refs = each.refs("names")
    version = refs.add("k", b"first")
    assert version and refs.add("k", b"second") is None
    assert (refs.get("k")["value"], refs.get("k")["version"]) == (b"first", version)
    assert refs.remove("k") and refs.add("k", b"third") > version
    # A blob that is gone takes the ref with it.
    id = each.put(b"stone")
    assert refs.add("b", id)
    each.remove(id)
    assert refs.add("b", b"instead")


def test_compare_and_set_is_exact(each):
    refs = each.refs("names")
    assert refs.compare_and_set("k", 1, b"x") is None and refs.get("k") is None
    first = refs.compare_and_set("k", None, b"first")
    assert refs.compare_and_set("k", None, b"x") is None
    second = refs.compare_and_set("k", first, b"second")
    assert second > first
    assert refs.compare_and_set("k", first, b"x") is refs.compare_and_set("k", second + 1, b"x") is None
    assert (refs.get("k")["value"], refs.get("k")["version"]) == (b"second", second)
    assert refs.remove("k") and refs.compare_and_set("k", second, b"x") is None
    assert refs.compare_and_set("k", None, b"again") > second


def increment(refs):
    while True:
        entry = refs.get("n")
        number, version = (int.from_bytes(entry["value"], "little"), entry["version"]) if entry else (0, None)
        if refs.compare_and_set("n", version, (number + 1).to_bytes(8, "little")):
            return


def test_of_many_who_compare_and_set_one_wins_each_time(directory):
    stores = [Store(directory / "store") for _ in range(3)]

    def count(store):
        return lambda: [increment(store.refs("counters")) for _ in range(300)]

    at_once(*map(count, stores))
    assert stores[0].refs("counters").get("n")["value"] == (900).to_bytes(8, "little")


def test_removing_says_whether_there_was_one(each):
    refs = each.refs("names")
    assert refs.remove("k") is False
    refs.set("k", b"v")
    assert each.refs("others").remove("k") is False
    assert refs.remove("k") is True and refs.remove("k") is False and refs.get("k") is None
    id = each.put(b"stone")
    refs.set("k", id)
    assert refs.remove("k") and id in each, "the blob has its pin"
    refs.set("k", id)
    each.remove(id)
    assert refs.remove("k") is False, "it read as absent"


def test_a_ref_to_what_is_not_there_is_not_set(each):
    refs, there, gone = each.refs("names"), each.put(b"stone"), each.put(b"gone")
    each.remove(gone)
    version = refs.set("k", b"before")
    for missing in (absent_id(each), gone):
        errors = refused(
            NotFound, lambda: refs.set("k", missing), lambda: refs.set("k", [there, missing]),
            lambda: refs.add("other", missing), lambda: refs.compare_and_set("k", version, missing),
        )  # fmt: skip
        assert all(missing in str(error) for error in errors)
        assert (refs.get("k")["value"], refs.get("k")["version"]) == (b"before", version)
        assert refs.get("other") is None


def test_a_ref_whose_blob_was_removed_reads_as_absent_until_it_comes_back(each):
    refs, a, b = each.refs("names"), each.put(b"a"), each.put(b"b")
    refs.set("one", a)
    refs.set("two", [a, b])
    each.remove(b)
    assert refs.get("one") and refs.get("two") is None
    assert [entry["key"] for entry in refs.items()] == [b"one"]
    assert refs.compare_and_set("two", None, b"instead") and refs.get("two")["value"] == b"instead"


def test_a_walk_gives_every_ref_of_its_namespace(each):
    id, expected = each.put(b"stone"), {}
    for number in range(700):
        key = number.to_bytes(4, "big")
        expected[key] = (id, key, [id])[number % 3]
        each.refs("walked").set(key, expected[key])
        each.refs("other").set(key, b"x")
    del expected[bytes(4)]
    assert each.refs("walked").remove(bytes(4))
    items = each.refs("walked").items()
    assert len(items) == 699 and {entry["key"]: entry["value"] for entry in items} == expected
    assert each.refs("nobody").items() == []


def test_a_walk_may_change_what_it_walks_over(store):
    refs, keys = store.refs("walked"), {number.to_bytes(4, "big") for number in range(500)}
    for key in keys:
        refs.set(key, b"v")
    seen = set()
    for entry in refs.items():
        assert refs.remove(entry["key"])
        refs.set(entry["key"] + b"+", b"new")
        seen.add(entry["key"])
    assert seen == keys and {entry["key"] for entry in refs.items()} == {key + b"+" for key in keys}


def test_a_ref_that_is_set_to_another_blob_during_a_walk_is_walked_over(each):
    refs, keys, done = each.refs("walked"), [b"a", b"b", b"c", b"d"], threading.Event()
    now = each.put(b"0")
    for key in keys:
        refs.set(key, now)

    def change(now=now):
        try:
            for number in range(1, 400):
                old, now = now, each.put(b"%d" % number)
                for key in keys:
                    refs.set(key, now)
                assert each.remove(old)
        finally:
            done.set()

    def look():
        walks = 0
        while not done.is_set():
            assert sorted(entry["key"] for entry in refs.items()) == keys
            walks += 1
        return walks

    assert at_once(change, look)[1] > 2


# What a ref carries


def test_tags_and_metadata_come_back(each):
    refs, id = each.refs("names"), each.put(b"stone")
    for value in (id, b"bytes", [id, id], b"\x07" * 10_000):
        refs.set("k", value, tags=["", "grün", "b"], metadata=content(1000, 1))
        entry = refs.get("k")
        assert (entry["tags"], entry["metadata"], entry["expires"]) == (["", "grün", "b"], content(1000, 1), None)
    refs.set("k", b"plain")
    assert (refs.get("k")["tags"], refs.get("k")["metadata"]) == ([], b""), "a later set has its own"


def test_an_expired_ref_reads_as_absent(each):
    refs, id = each.refs("names"), each.put(b"stone")
    soon = time.time() + 3600
    refs.set("later", id, expire=3600)
    assert soon - 1e-3 < refs.get("later")["expires"] < time.time() + 3601
    refs.set("k", id, expire=0)
    assert refs.get("k") is None and refs.remove("k") is False, "it read as absent"
    refs.set("k", id, expire=0)
    assert refs.add("k", b"instead"), "an expired ref is no ref"
    refs.set("walked", id, expire=0)
    assert sorted(entry["key"] for entry in refs.items()) == [b"k", b"later"]
    refused(InvalidInput, lambda: refs.set("k", id, expire=-1))
    assert refs.get("k")["value"] == b"instead"


def test_a_ref_expires_while_one_looks(store):
    refs = store.refs("names")
    # Long enough for a machine that has much to do.
    version = refs.set("k", b"v", expire=0.3)
    assert refs.get("k")["version"] == version
    time.sleep(0.32)
    assert refs.get("k") is None and refs.compare_and_set("k", version, b"x") is None
    assert refs.compare_and_set("k", None, b"x")


def test_what_never_ends_is_never(store):
    refs = store.refs("names")
    refs.set("k", b"v", expire=None)
    assert refs.get("k")["expires"] is None
    refs.set("k", b"v", expire=2.0**40)
    assert refs.get("k")["expires"] > time.time() + 1e9


def test_keys_of_any_bytes_and_up_to_64_kib(each):
    refs = each.refs("names")
    keys = [b"", b"\0", b"\0\0", b"\xff\xfe not text", content(4096, 1), b"k" * (64 * KIB - 1), b"k" * 64 * KIB]
    for at, key in enumerate(keys):
        refs.set(key, b"%d" % at)
    for at, key in enumerate(keys):
        assert (refs.get(key)["key"], refs.get(key)["value"]) == (key, b"%d" % at)
    assert sorted(entry["key"] for entry in refs.items()) == sorted(keys)
    assert all(refs.remove(key) for key in keys) and refs.items() == []


def test_what_is_too_long_is_refused_and_changes_nothing(each):
    refs, id, key = each.refs("names"), each.put(b"stone"), bytes(64 * KIB + 1)
    before = holdings(each)
    errors = refused(
        InvalidInput, lambda: refs.set(key, b"v"), lambda: refs.set(key, id), lambda: refs.set(key, bytes(10_000)),
        lambda: refs.set("k", b"v", metadata=key), lambda: refs.set("k", b"v", tags=["t" * 256]),
        lambda: refs.set("k", b"v", tags=["t"] * 65), lambda: refs.set("k", [id] * ((1 << 16) + 1)),
        lambda: each.refs("n" * 256).set("k", b"v"),
    )  # fmt: skip
    assert all("expected at most" in str(error) and "found" in str(error) for error in errors)
    assert holdings(each) == before and refs.get(key) is None and refs.remove(key) is False


def test_what_is_just_not_too_long_is_kept(each):
    id, refs, key = each.put(b"stone"), each.refs("n" * 255), content(64 * KIB, 2)
    for value in ([id] * (1 << 16), b"\1" * 4 * KIB, b"\2" * 9999):
        refs.set(key, value, tags=["t" * 255] * 64, metadata=content(64 * KIB, 1))
        entry = refs.get(key)
        assert (entry["tags"], entry["metadata"]) == (["t" * 255] * 64, content(64 * KIB, 1))
        assert read(each, entry["value"]) == value if len(value) == 9999 else entry["value"] == value
    assert len(refs.items()) == 1 and each.namespaces() == ["n" * 255]


def test_the_longest_refs_and_large_blobs_stand_side_by_side(each):
    refs = each.refs("names")
    for at, metadata in enumerate((0, 4 * KIB, 60 * KIB, 64 * KIB - 100, 64 * KIB)):
        for length in (5 * KIB, 64 * KIB, 64 * KIB + 1, 300 * KIB, 17 * MIB):
            key, data = content(metadata, 2), content(length, at)
            refs.set(key, data, metadata=key)
            entry = refs.get(key)
            assert entry["metadata"] == key and read(each, entry["value"]) == data, (metadata, length)


# Naming


def test_pins_can_be_read_but_not_written_as_refs(each):
    pins, id = each.refs("pins"), each.put(b"stone")
    entry = pins.get(id)
    assert (entry["value"], entry["key"]) == (id, id.encode()) and pins.items() == [entry] == [pins.wait(id, 0)]
    errors = refused(
        InvalidInput, lambda: pins.set("k", b"v"), lambda: pins.set(id, id), lambda: pins.add("k", b"v"),
        lambda: pins.compare_and_set("k", None, b"v"), lambda: pins.remove(id),
    )  # fmt: skip
    assert all("another namespace" in str(error) or "unpin" in str(error) for error in errors), "it is told what to do"
    assert each.stat(id)["pinned"]


def test_unpinning_takes_the_pin_and_leaves_the_blob_for_now(each):
    id = each.put(b"stone")
    assert each.unpin(id) is True and each.unpin(id) is False
    assert each.refs("pins").get(id) is None and not each.stat(id)["pinned"]
    assert id in each, "no collection has come by"
    assert each.put(b"stone") == id and each.stat(id)["pinned"], "a put pins again"


def test_removal_takes_the_blob_whoever_names_it(each):
    refs = each.refs("names")
    for length in (10, 100_000, 17 * MIB):
        id = each.put(content(length, 1))
        refs.set("k", id)
        assert each.remove(id) is True and each.remove(id) is False
        assert id not in each and each.stat(id) is refs.get("k") is each.refs("pins").get(id) is None
        assert each.unpin(id) is False, "its pin read as absent"
        assert each.put(content(length, 1)) == id and read(each, id) == content(length, 1)


def test_namespaces_are_those_with_refs(each):
    assert each.namespaces() == []
    id = each.put(b"stone")
    assert each.namespaces() == [], "pins are left out"
    for namespace in ("b", "a", "", "ä b/c"):
        each.refs(namespace).set("k", id)
        each.refs(namespace).set("l", b"v")
    assert each.namespaces() == ["", "a", "b", "ä b/c"]
    assert each.refs("a").remove("k") and each.refs("a").remove("l")
    assert each.namespaces() == ["", "b", "ä b/c"]


def test_the_same_key_in_two_namespaces_is_two_refs(store):
    # The bounds between namespace and key are part of the name.
    names = [("a", "bc"), ("ab", "c"), ("abc", ""), ("", "abc")]
    for namespace, key in names:
        store.refs(namespace).set(key, f"{namespace}/{key}".encode())
    for namespace, key in names:
        assert store.refs(namespace).get(key)["value"] == f"{namespace}/{key}".encode()
    assert store.stats()["refs"] == 4


# Views


@both
def test_views_outlive_removal_the_store_and_its_directory(directory, hash):
    store, lengths = Store(directory / "store", hash=hash), (0, 1, 5000, 64 * KIB + 1, 3 * MIB, 17 * MIB)
    views = [store.get(store.put(content(length, 1))) for length in lengths]
    arrays = [store.get_array(store.put_array(array(length, 1))) for length in lengths]
    for id in store.blobs():
        assert store.remove(id) and store.get(id) is None
    # What comes in later does not take the place of what a view shows.
    for length in lengths:
        store.put(content(length, 2))
    assert store.compact(all=True)["complete"]
    store.close()
    del store
    shutil.rmtree(directory / "store")
    for view, found, length in zip(views, arrays, lengths):
        assert bytes(view) == found.tobytes() == content(length, 1), length


def test_a_view_travels_between_threads_and_clones_share_it(store):
    view = store.get(store.put(content(MIB, 1)))
    first, second = memoryview(view), np.frombuffer(view, "u1")
    assert address(first) == address(second) == address(view), "each is the same memory"
    del view
    [total] = at_once(lambda: int(second.sum(dtype="u8")))
    assert total == sum(content(MIB, 1)) == sum(first)


def test_two_gets_show_the_same_memory(each):
    id = each.put(content(100_000, 1))
    kept = [each.get(id), each.get(id), *each.get_many([id, id])]
    assert len({address(blob) for blob in kept}) == 1


def test_a_view_becomes_bytes_without_a_copy(directory):
    store = Store(directory / "store")
    view = store.get(store.put(content(100_000, 1)))
    at = address(view)
    part = memoryview(view)[10:99_990]
    store.close()
    del view, store
    shutil.rmtree(directory / "store")
    assert address(part) == at + 10 and part.readonly and bytes(part) == content(100_000, 1)[10:99_990]


def test_small_views_are_aligned_to_a_cache_line_and_large_ones_to_a_page(each):
    for length in (1, 8, 1000, 64 * KIB - 8):
        view = each.get(each.put(content(length, 1)))
        assert address(view) % 64 == 0, length
    for length in (64 * KIB, 64 * KIB + 8, 3 * MIB, 17 * MIB):
        view = each.get(each.put(content(length, 1)))
        assert address(view) % 4096 == 0 and len(np.frombuffer(view, "f8")) == length // 8, length


def test_elements_must_fit_the_length(store):
    view = store.get(store.put(content(24, 1)))
    assert np.frombuffer(view, "<u8")[2].tobytes() == content(24, 1)[16:] == memoryview(view)[16:]
    with pytest.raises(ValueError, match="multiple of element size"):
        np.frombuffer(view, "V16")
    assert np.frombuffer(view, "u1").tobytes() == content(24, 1)
    empty = store.get(store.put(b""))
    assert memoryview(empty).cast("Q").tolist() == [] and np.asarray(memoryview(empty)).shape == (0,)


def test_a_view_of_a_growing_segment_stays_while_the_segment_is_mapped_anew(store):
    views = [store.get(store.put(content(10_000, seed))) for seed in range(300)]
    assert store.stats()["segments"] == 1
    for seed, view in enumerate(views):
        assert bytes(view) == content(10_000, seed)


# Drafts


def test_a_draft_is_zero_at_first_and_what_was_written_is_the_blob(each):
    for count in DRAFTS:
        draft = each.empty(count, "u1")
        assert draft.shape == (count,) and not draft.any()
        data = array(count, 1)
        draft[:] = data
        id = draft.commit()
        assert read(each, id) == saved(data) and each.stat(id)["pinned"], count
        assert each.put_array(data) == each.put(saved(data)) == id
        assert read(each, each.empty(count, "u1").commit()) == saved(np.zeros(count, "u1"))


def test_a_draft_is_computed_as_elements(each):
    for count in (0, 1, 100, 10_000, 300_000):
        draft = each.empty(count, "f8")
        assert draft.dtype == "f8" and draft.flags.aligned and draft.flags.writeable
        np.divide(np.arange(count), 3.0, out=draft)
        np.testing.assert_array_equal(each.get_array(draft.commit()), np.arange(count) / 3.0)


def test_a_dropped_draft_leaves_nothing(store):
    for count in DRAFTS:
        draft = store.empty(count, "u1")
        draft[:] = 7
        del draft
    assert segments(store) == [] and store.stats()["blobs"] == 0


def test_a_draft_that_was_there_already_adds_nothing(each):
    for count in DRAFTS:
        id = each.put_array(array(count, 1))
        before = holdings(each)
        assert filled(each, array(count, 1)).commit() == id
        assert holdings(each) == before, count


def test_a_draft_may_be_named_instead_of_pinned(each):
    refs = each.refs("drafts")
    # A long key does not fit before the blob in the draft's own segment.
    for key in (b"", b"key", content(3000, 1), content(5000, 1), content(64 * KIB, 1)):
        for count in DRAFTS:
            data = array(count, len(key))
            id = filled(each, data).commit_as(refs, key)
            assert read(each, id) == saved(data)
            assert (refs.get(key)["key"], refs.get(key)["value"]) == (key, id)
            assert not each.stat(id)["pinned"], (count, len(key))
            assert each.remove(id)


def test_naming_a_draft_leaves_the_pin_that_its_content_had(each):
    for key, count in ((3, 1000), (3, 100_000), (5000, 1000), (5000, 100_000)):
        id = each.put_array(array(count, key))
        assert filled(each, array(count, key)).commit_as(each.refs("drafts"), content(key, 1)) == id
        assert each.stat(id)["pinned"], (key, count)


@pytest.mark.parametrize("length", [1000, 100_000, 3 * MIB])
@pytest.mark.parametrize("failures", [1, 3])
@pytest.mark.parametrize("named", [False, True])
def test_a_commit_that_fails_gives_the_draft_back_to_be_changed_and_tried_again(
    each, directory, length, failures, named
):
    elsewhere, refs, data = Store(directory / "elsewhere"), each.refs("r"), array(length, 1).copy()
    tries = [(elsewhere.refs("r"), "key"), (each.refs("pins"), "key"), (refs, bytes(64 * KIB + 1))]
    # Each of them is the first that fails in some case.
    for first in range(3):
        draft = filled(each, data)
        for at in range(failures):
            refused(InvalidInput, lambda it=tries[(first + at) % 3]: draft.commit_as(*it))
        assert (draft == data).all() and elsewhere.blobs() == each.blobs() == []
        draft[-1] ^= 1
        id = draft.commit_as(refs, "key") if named else draft.commit()
        changed = data.copy()
        changed[-1] ^= 1
        assert read(each, id) == saved(changed)
        assert each.stat(id)["pinned"] is not named and each.remove(id)


def test_a_commit_that_failed_and_is_tried_again_sets_what_is_asked_for_and_no_pin(each, directory):
    others, pins, refs = Store(directory / "elsewhere").refs("r"), each.refs("pins"), each.refs("r")
    for count in (1000, 100_000, 3 * MIB):
        draft = filled(each, array(count, 1))
        refused(InvalidInput, lambda: draft.commit_as(others, "key"), lambda: draft.commit_as(pins, "key"))
        assert each.blobs() == [], "what is refused puts nothing in"
        id = draft.commit_as(refs, "key")
        assert refs.get("key")["value"] == id and not each.stat(id)["pinned"]
        assert draft.commit_as(refs, "again") == id
        assert refs.get("again")["value"] == id and not each.stat(id)["pinned"]
        assert draft.commit() == id and each.stat(id)["pinned"] and each.remove(id)


def test_a_commit_error_is_an_error(store):
    failed = [pytest.raises(drystone.Error, store.empty(10).commit_as, store.refs("pins"), "key") for _ in range(2)]
    assert len({str(it.value) for it in failed}) == 1 and type(failed[0].value) is InvalidInput
    [plain] = refused(InvalidInput, lambda: store.refs("pins").set("key", b""))
    assert str(failed[0].value) == str(plain)


@pytest.mark.parametrize("length", [1 << 63, (1 << 64) - 200, (1 << 64) - 1])
def test_a_length_that_cannot_be_is_an_error(store, length):
    refused(InvalidInput, lambda: store.empty(length, "u1"))
    [error] = refused(NoSpace, lambda: store.empty(1 << 55, "u1"))
    assert "nothing that was stored is lost" in str(error)
    assert segments(store) == [] and store.put(b"still alive")


def test_many_drafts_are_under_way_at_a_time(store):
    drafts = [store.empty(100_000, "u1") for _ in range(20)]
    for seed, draft in enumerate(drafts):
        draft[:] = array(100_000, seed)
    ids = [draft.commit() for draft in drafts[::2]]
    del drafts, draft
    for seed, id in zip(range(0, 20, 2), ids):
        assert read(store, id) == saved(array(100_000, seed))
    assert store.stats()["blobs"] == 10


def test_a_draft_outlives_its_store(directory):
    store = Store(directory / "store")
    draft = store.empty(100_000, "u1")
    store.close()
    del store
    draft[:] = 3
    id = draft.commit()
    assert read(Store(directory / "store"), id) == saved(np.full(100_000, 3, "u1"))


# Waiting

LONG = 60.0


def test_what_is_there_is_not_waited_for(each):
    refs = each.refs("names")
    version = refs.set("k", b"v")
    for found in (refs.wait("k", 0), refs.wait("k", math.inf), refs.wait("k", LONG, than=None)):
        assert (found["key"], found["value"], found["version"]) == (b"k", b"v", version)


def test_the_time_runs_out(each):
    refs, begin = each.refs("names"), time.monotonic()
    assert refs.wait("k", 0.12) is None and time.monotonic() - begin >= 0.12
    assert refs.wait("k", 0) is None
    version = refs.set("k", b"v")
    assert refs.wait("k", 0.06, than=version) is None


def woken_by(waiter, act):
    """Waits in one thread while `act` is done in this one: what is woken, in time."""
    refs, waiting = waiter.refs("names"), threading.Event()
    entry = refs.get("k")
    than = entry and entry["version"]

    def wait():
        waiting.set()
        return refs.wait("k", LONG, than=than), time.monotonic()

    def do():
        assert waiting.wait(LONG)
        time.sleep(0.1)
        act()
        return time.monotonic()

    (found, woken), acted = at_once(wait, do)
    assert found["version"] > (than or 0) and woken - acted < 5
    return found["value"]


def test_a_waiter_is_woken_by_another_opening_of_the_store(directory):
    waiter, setter = Store(directory / "store"), Store(directory / "store")
    refs = setter.refs("names")
    assert woken_by(waiter, lambda: refs.set("other", b"v") and refs.set("k", b"v")) == b"v"
    version = refs.get("k")["version"]
    assert woken_by(waiter, lambda: refs.compare_and_set("k", version, b"w")) == b"w"
    id = setter.put_array(np.zeros(100_000, "u1"))
    assert woken_by(waiter, lambda: setter.empty(100_000, "u1").commit_as(refs, "k")) == id
    assert woken_by(waiter, lambda: refs.remove("k") and refs.add("k", b"again")) == b"again"


def test_a_reader_waits_too(store):
    reader = Store(store.path, read_only=True)
    assert woken_by(reader, lambda: store.refs("names").set("k", b"v")) == b"v"


def test_a_wait_is_mostly_sleep(store):
    begin = time.thread_time()
    assert store.refs("names").wait("k", 1.0) is None
    assert time.thread_time() - begin < 0.3


# Limits


def fill(store):
    """Puts until the limit is met; the seeds of what went in, a megabyte each."""
    for seed in range(100):
        try:
            store.put(content(MIB, seed))
        except NoSpace as error:
            assert f"at most {FULL} bytes" in str(error) and "compact" in str(error)
            return range(seed)
    raise AssertionError("no limit in sight")


def test_every_way_in_keeps_the_limit(directory):
    store = Store(directory / "store", size_limit=FULL)
    assert 6 <= len(fill(store)) <= 8
    new, file = content(3 * MIB, 1000), directory / "file"
    file.write_bytes(new)
    refused(
        NoSpace, lambda: store.put(new), lambda: store.put_file(file), lambda: store.empty(len(new), "u1"),
        lambda: store.put_array(array(3 * MIB, 1000)), lambda: store.refs("r").set("k", new),
        lambda: [store.put(content(1000, seed)) for seed in range(3000)],
    )  # fmt: skip
    assert store.stats()["segment_bytes"] <= FULL + MIB and store.refs("r").get("k") is None


@pytest.mark.parametrize("again", [False, True])
def test_a_full_store_can_be_read_named_and_emptied(directory, again):
    store = Store(directory / "store", size_limit=FULL)
    refs, seeds = store.refs("r"), fill(store)
    ids = {bytes(store.get(id))[:16]: id for id in store.blobs()}
    for seed in seeds:
        # It is there: nothing is to be stored.
        id = store.put(content(MIB, seed)) if again else ids[content(MIB, seed)[:16]]
        assert read(store, id) == content(MIB, seed)
        refs.set(str(seed), id)
        assert store.unpin(id) and refs.remove(str(seed)) and store.remove(id)
    assert store.stats()["blobs"] == 0


def test_the_limit_is_that_of_the_run_and_may_be_raised_with_the_next(directory):
    with Store(directory / "store", size_limit=FULL) as store:
        seeds = fill(store)
        with Store(directory / "store", size_limit=100 * FULL) as beside:
            # Others are at it under the first limit.
            [error] = refused(NoSpace, lambda: beside.put(content(MIB, 1000)))
            assert f"at most {FULL} bytes" in str(error)
    store = rebooted(directory / "store", size_limit=2 * FULL)
    store.put(content(MIB, 1000))
    for seed in seeds:
        store.put(content(MIB, seed))
    assert store.stats()["blobs"] == len(seeds) + 1


def test_a_full_store_takes_what_it_has_and_nothing_that_changes_meanwhile(directory):
    for hash in HASHES:
        with Store(directory / hash, hash=hash) as store:
            ids = {n: store.put_array(array(n, 1)) for n in (1000, 64 * KIB + 1, 3 * MIB)}
        # Under a limit that was passed before.
        full = rebooted(directory / hash, size_limit=1)
        for count, id in ids.items():
            held, other = array(count, 1), array(count, 2)
            assert full.put_array(held) == full.put(saved(held)) == id
            refused(NoSpace, lambda: full.put_array(other))
            buffer, done = held.copy(), threading.Event()

            def change():
                for data in itertools.cycle((other, held)):
                    buffer[:] = data
                    if done.is_set():
                        return

            def put():
                try:
                    return {put_or_full(full, buffer) for _ in range(50)}
                finally:
                    done.set()

            _, seen = at_once(change, put)
            assert seen <= {id, NoSpace}
        assert sorted(full.blobs()) == sorted(ids.values())


def put_or_full(store, data):
    try:
        return store.put_array(data)
    except NoSpace:
        return NoSpace


# Opening


def test_a_store_is_made_with_the_directories_above_it(directory):
    path = directory / "a" / "b" / "c"
    [error] = refused(drystone.NotAStore, lambda: Store(path, create=False))
    assert str(path) in str(error) and isinstance(error, FileNotFoundError)
    assert not (directory / "a").exists(), "a failed open makes nothing"
    store = Store(path)
    assert store.path == path and store.stats()["hash"] == "xxh3"
    assert Store(path).path == path and store.put(b"a") in Store(path, create=False)
    assert store.put(b"a") not in Store(directory / "other")


def test_only_the_owner_can_look_into_a_store(store):
    store.put(content(100_000, 1))
    store.put(content(17 * MIB, 1))
    for path in [store.path, *store.path.rglob("*")]:
        mode = stat.S_IMODE(path.stat().st_mode)
        assert mode == 0o700 if path.is_dir() else mode in (0o600, 0o400), path


def test_what_is_no_store_is_left_alone(directory):
    file = directory / "thesis.tex"
    file.write_text("years of work")
    [error] = refused(drystone.NotAStore, lambda: Store(directory))
    assert "thesis.tex" in str(error)
    refused(drystone.NotAStore, lambda: Store(file), lambda: Store(file, create=False))
    assert list(directory.iterdir()) == [file] and file.read_text() == "years of work"


def test_other_properties_than_those_of_the_store_are_refused(directory):
    path = directory / "store"
    id = Store(path, hash="blake3").put(b"stone")
    assert id.startswith("b3:")
    errors = refused(
        drystone.AlreadyExists, lambda: Store(path, hash="xxh3"), lambda: Store(path, create=False, hash="xxh3"),
        lambda: Store(path, read_only=True, hash="xxh3"),
    )  # fmt: skip
    for error in errors:
        assert "expected blake3, found xxh3" in str(error) or "expected xxh3, found blake3" in str(error)
        assert str(path) in str(error) and isinstance(error, FileExistsError)
    assert read(Store(path, hash="blake3"), id) == b"stone"
    assert read(Store(path), id) == b"stone", "nothing asked for, anything met"


@both
def test_one_store_opened_many_times_is_one_store(directory, hash):
    first = Store(directory / "store", hash=hash)
    stores = [Store(directory / "store") for _ in range(20)]
    ids = []
    for at, store in enumerate(stores):
        store.refs("r").set(str(at), b"v")
        ids.append(store.put(content(at * 5000, 1)))
    for store in [*stores[::-1], first]:
        assert [read(store, id) for id in ids] == [content(at * 5000, 1) for at in range(20)]
        assert len(store.refs("r").items()) == 20
    assert stores[3].remove(ids[7]) and ids[7] not in first
    for store in stores:
        store.close()
    assert first.stats()["blobs"] == 19 and first.put(b"after the others have gone") in first


def test_several_stores_in_one_process_are_apart(directory):
    stores = [Store(directory / str(at), hash=HASHES[at % 2]) for at in range(8)]

    def use(at, store):
        for seed in range(100):
            store.refs("r").set(str(seed), store.put(content(2000, seed * 100 + at)))

    at_once(*(lambda at=at, store=store: use(at, store) for at, store in enumerate(stores)))
    other = stores[1].put(b"only here")
    for at, store in enumerate(stores):
        assert store.stats()["refs"] == 100 and (other in store) == (at == 1)
        assert read(store, store.refs("r").get("42")["value"]) == content(2000, 4200 + at)


def test_a_store_is_usable_while_it_is_opened_and_closed_all_the_time(directory):
    keeper = Store(directory / "store")

    def use(thread):
        for number in range(25):
            with Store(directory / "store") as store:
                data = content(100, thread * 1000 + number)
                assert read(store, store.put(data)) == data

    at_once(*(lambda thread=thread: use(thread) for thread in range(4)))
    assert keeper.stats()["blobs"] == 100
    assert keeper.stats()["segments"] <= 5, "closed ones are taken up"


def test_a_store_survives_being_moved_and_copied(directory):
    with Store(directory / "store") as store:
        id = store.put(content(100_000, 1))
        store.refs("r").set("k", id)
    subprocess.run(["cp", "-a", directory / "store", directory / "copied"], check=True)
    (directory / "store").rename(directory / "moved")
    for place in ("moved", "copied"):
        store = Store(directory / place, create=False)
        assert read(store, id) == content(100_000, 1) and store.refs("r").get("k")["value"] == id
        assert store.put(b"more") in store and store.fsck(deep=True)["clean"]


def test_odd_settings_are_made_the_best_of(directory):
    with Store(directory / "store", threads=0) as store:
        id = store.put(content(5 * MIB, 1))
        assert read(store, id) == content(5 * MIB, 1)
    assert Store(directory / "store", threads=1).put(content(5 * MIB, 1)) == id, "threads do not change ids"


# Durability, on a disk where there is one


def test_all_operations_do_the_same_when_synced(tmp_path):
    store, file = Store(tmp_path / "store", durability="synced"), tmp_path / "file"
    refs = store.refs("r")
    file.write_bytes(content(300, 1))
    ids = [
        store.put(content(100, 1)), store.put(content(100_000, 1)), store.put(content(17 * MIB, 1)),
        store.put(bytearray(content(200, 1))), store.put_array(array(3 * MIB, 1)), store.put_file(file),
        store.empty(1000, "u1").commit(), store.empty(200_000, "u1").commit(),
        store.empty(300_000, "u1").commit_as(refs, "draft"), *(store.put(content(n, 1)) for n in (10, 11, 100_001)),
    ]  # fmt: skip
    first = refs.set("blob", ids[0])
    for key, value in (("bytes", b"v"), ("long", content(5000, 1)), ("longer", content(100_002, 1)), ("removed", b"v")):
        refs.set(key, value)
    assert refs.add("added", [ids[1], ids[2]]) and refs.compare_and_set("blob", first, ids[3])
    assert refs.add("added", b"x") is None
    assert refs.remove("removed") and not refs.remove("removed") and not refs.remove("never")
    assert store.unpin(ids[0]) and not store.unpin(ids[0]) and store.remove(ids[1]) and not store.remove(ids[1])
    store.close()
    del refs, store

    store = rebooted(tmp_path / "store")
    assert [id in store for id in ids] == [at != 1 for at in range(12)]
    pinned = [at for at, id in enumerate(ids) if id in store and store.stat(id)["pinned"]]
    assert pinned == [at for at in range(12) if at not in (0, 1, 8)]
    values = {entry["key"]: entry["value"] for entry in store.refs("r").items()}
    assert set(values) == {b"blob", b"bytes", b"draft", b"long", b"longer"}, "one blob of `added` was removed"
    assert (values[b"blob"], values[b"bytes"], values[b"draft"]) == (ids[3], b"v", ids[8])
    assert read(store, values[b"long"]) == content(5000, 1) and read(store, values[b"longer"]) == content(100_002, 1)


@both
def test_single_operations_may_be_synced(tmp_path, hash):
    store = Store(tmp_path / "store", hash=hash)
    id = store.put(b"stone", synced=True)
    assert read(store, store.put_array(array(3 * MIB, 1), synced=True)) == saved(array(3 * MIB, 1))
    # Of refs, the store says it for all.
    refs = Store(tmp_path / "store", durability="synced").refs("r")
    version = refs.set("k", id, tags=["t"])
    assert refs.compare_and_set("k", version, b"v") > version and store.refs("r").get("k")["value"] == b"v"
    assert refs.remove("k") is True and store.refs("r").get("k") is None


def test_synced_threads_share_their_syncs_and_each_gets_its_own_answer(tmp_path):
    store = Store(tmp_path / "store", durability="synced")

    def use(thread):
        for number in range(10):
            data = content(300, thread * 100 + number)
            id = store.put(data)
            store.refs("r").set(f"{thread}/{number}", id)
            assert read(store, id) == data

    at_once(*(lambda thread=thread: use(thread) for thread in range(8)))
    store.close()
    store = rebooted(tmp_path / "store")
    for thread, number in itertools.product(range(8), range(10)):
        id = store.refs("r").get(f"{thread}/{number}")["value"]
        assert read(store, id) == content(300, thread * 100 + number)
    assert store.stats()["blobs"] == 80


@both
def test_sync_may_be_called_at_any_time(tmp_path, hash):
    store = Store(tmp_path / "store", hash=hash)
    store.sync(), store.sync()
    store.put(b"stone")
    store.sync()

    def use(thread):
        for number in range(10):
            store.put(content(1000, thread * 100 + number))
            store.sync()

    at_once(*(lambda thread=thread: use(thread) for thread in range(3)))
    draft = store.empty(100_000, "u1")
    store.sync()
    draft.commit()
    store.sync()
    assert store.stats()["blobs"] == 32


# Arrays


def test_an_array_is_its_file_byte_for_byte(each):
    for shape in ((), (0,), (3,), (100, 7), (10, 20, 30, 4)):
        data = np.arange(math.prod(shape), dtype="f8").reshape(shape)
        id = each.put_array(data)
        assert read(each, id) == saved(data) and each.put(saved(data)) == id, shape
        found = each.get_array(id)
        np.testing.assert_array_equal(found, data)
        assert (found.shape, found.dtype, found.flags.writeable) == (shape, data.dtype, False)
        assert not found.size or found.__array_interface__["data"][0] % 64 == 0, "the data are aligned"
        draft = each.empty(shape)
        assert draft.nbytes == data.nbytes, "the header is not handed out"
        draft[...] = data
        assert draft.commit() == id, shape


def test_an_array_is_computed_in_place(each):
    for count in (10, 100_000):
        draft = each.empty(count)
        draft[:] = np.arange(count)
        assert draft.commit_as(each.refs("arrays"), "a") == each.put_array(np.arange(count, dtype="f8"))


def test_an_array_draft_that_is_named_by_a_long_key_is_the_same_blob(each):
    draft = each.empty(20_000)
    draft[:] = np.arange(20_000)
    id = draft.commit_as(each.refs("arrays"), b"k" * 5 * KIB)
    assert id == each.put_array(np.arange(20_000, dtype="f8")) == each.refs("arrays").get(b"k" * 5 * KIB)["value"]


@pytest.mark.parametrize("endless", [(1 << 60, 1), ((1 << 64) - 1, 2), (0, 1 << 64), 1 << 63])
def test_data_must_be_as_long_as_the_header_says(store, endless):
    # An array knows its length; the bytes of a blob may be fewer or more than its header says.
    whole = saved(np.arange(3, dtype="f8"))
    for data in (whole[:HEADER], whole[:-1]):
        id = store.put(data)
        refused(drystone.BadValue, lambda id=id: store.get_array(id))
        assert store.remove(id)
    more = store.put(whole + b"x")
    assert store.get_array(more).tolist() == [0.0, 1.0, 2.0] and store.remove(more), "what follows is left out"
    refused(InvalidInput, lambda: store.empty(endless), lambda: store.empty((-1, 2)))
    assert store.stats()["blobs"] == 0


# Reading only


@both
def test_a_reader_sees_what_a_live_writer_does(directory, hash):
    writer = Store(directory / "store", hash=hash)
    reader, small = Store(directory / "store", read_only=True), writer.stats()["index_bytes"]
    assert reader.read_only and reader.stats()["hash"] == hash
    # Enough for the index to grow under the reader.
    for seed in range(1500):
        assert read(reader, writer.put(content(50, seed))) == content(50, seed)
    assert writer.stats()["index_bytes"] > small
    large = writer.put(content(17 * MIB, 1))
    assert read(reader, large) == content(17 * MIB, 1)
    writer.refs("r").set("k", large)
    assert reader.refs("r").get("k")["value"] == large
    writer.remove(large)
    assert reader.get(large) is reader.refs("r").get("k") is None
    assert reader.stats()["blobs"] == len(reader.blobs()) == 1500


@both
def test_without_a_run_a_reader_builds_an_index_of_its_own(directory, hash):
    path = directory / "store"
    with Store(path, hash=hash) as writer:
        ids = [writer.put(content(at * 20, 1)) for at in range(500)]
        writer.refs("r").set("k", ids[3])
        writer.remove(ids[4])
    shutil.rmtree(path / "run")
    before = walk(path)
    reader = Store(path, read_only=True)
    for at, (id, blob) in enumerate(zip(ids, reader.get_many(ids))):
        assert blob is None if at == 4 else bytes(blob) == content(at * 20, 1) == read(reader, id)
    assert reader.refs("r").get("k")["value"] == ids[3]
    assert len(reader.blobs()) == reader.stats()["blobs"] == 499
    assert walk(path) == before, "it has written nothing"


def test_a_reader_works_on_files_that_nobody_may_write(directory):
    path = directory / "store"
    with Store(path) as writer:
        id = writer.put(content(100_000, 1))
    subprocess.run(["chmod", "-R", "a-w", path], check=True)
    try:
        with Store(path, read_only=True) as reader:
            assert read(reader, id) == content(100_000, 1)
    finally:
        subprocess.run(["chmod", "-R", "u+w", path], check=True)
    shutil.rmtree(path / "run")
    subprocess.run(["chmod", "-R", "a-w", path], check=True)
    try:
        assert read(Store(path, read_only=True), id) == content(100_000, 1)
    finally:
        subprocess.run(["chmod", "-R", "u+w", path], check=True)


def test_whatever_would_change_the_store_is_refused(each):
    path, id = each.path, each.put(b"stone")
    version = each.refs("r").set("k", b"v")
    before = holdings(each)

    def refuses(reader):
        refs = reader.refs("r")
        refused(
            ReadOnly, lambda: reader.put(b"stone"), lambda: reader.put(b"new"), lambda: reader.put(b"new", synced=True),
            lambda: reader.put(content(100_000, 1)), lambda: reader.put_array(np.eye(2)),
            lambda: reader.put_file("/proc/self/status"), lambda: reader.empty(10), lambda: reader.empty(100_000),
            lambda: reader.remove(id), lambda: reader.unpin(id), lambda: reader.sync(), lambda: reader.compact(),
            lambda: refs.set("k", b"w"), lambda: refs.set("k", bytes(10_000)), lambda: refs.add("new", b"w"),
            lambda: refs.compare_and_set("k", version, b"w"), lambda: refs.remove("k"),
        )  # fmt: skip
        assert read(reader, id) == b"stone"

    refuses(Store(path, read_only=True))
    assert holdings(each) == before
    each.close()
    refuses(rebooted_reader(path))
    assert read(Store(path), id) == b"stone" and Store(path).refs("r").get("k")["value"] == b"v"


def rebooted_reader(path):
    shutil.rmtree(path / "run")
    return Store(path, read_only=True)


def test_there_must_be_a_store_to_read(directory):
    path = directory / "store"
    for create in (True, False):
        refused(drystone.NotAStore, lambda create=create: Store(path, read_only=True, create=create))
    assert not path.exists()


def test_each_test_of_rust_is_mirrored_or_listed():
    hold_against("conformance", globals(), NOT_MIRRORED, "test_each_test_of_rust_is_mirrored_or_listed")
