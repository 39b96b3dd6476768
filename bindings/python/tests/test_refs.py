"""`store.refs(namespace)`: mutable names."""

import math
import os
import signal
import threading
import time

import pytest

import drystone

ABSENT = "xxh3:" + "0" * 32


@pytest.fixture
def refs(store):
    return store.refs("names")


def test_a_name_is_bound_and_bound_again(refs):
    assert refs.get("step") is None
    first = refs.set("step", b"1")
    entry = refs.get("step")
    assert entry == {
        "key": b"step", "value": b"1", "version": first, "expires": None, "tags": [], "metadata": b"",
    }  # fmt: skip
    assert refs.set("step", b"2") > first and refs.get("step")["value"] == b"2"
    assert refs.remove("step") is True and refs.remove("step") is False and refs.get("step") is None


def test_it_is_bound_to_bytes_a_blob_or_several(store, refs):
    ids = [store.put(b"%d" % i) for i in range(3)]
    for value in (b"", b"x" * 4096, ids[0], ids, [ids[1]], []):
        refs.set("it", value)
        assert refs.get("it")["value"] == value
    refs.set("it", b"x" * 4097)
    assert bytes(store.get(refs.get("it")["value"])) == b"x" * 4097, "more bytes are a blob"
    for value, same in ((bytearray(b"ab"), b"ab"), (memoryview(b"abc")[1:], b"bc"), (tuple(ids), ids)):
        refs.set("it", value)
        assert refs.get("it")["value"] == same
    for value in (1, None, [1, 2], [b"a"], {"a"}, 1.5, store.get(ids[0])):
        with pytest.raises(TypeError):
            refs.set("it", value)
    with pytest.raises(drystone.InvalidInput):
        refs.set("it", "no id")
    assert refs.get("it")["value"] == ids


def test_what_it_names_must_be_there(store, refs):
    for bind in (refs.set, refs.add, lambda key, value: refs.compare_and_set(key, None, value)):
        with pytest.raises(KeyError) as caught:
            bind("it", ABSENT)
        assert isinstance(caught.value, drystone.NotFound) and ABSENT in str(caught.value)
        assert not str(caught.value).startswith("'"), "a sentence, not the name of a key"
    assert refs.get("it") is None


def test_keys_are_text_or_bytes(refs):
    refs.set("größe", b"1")
    assert refs.get("größe".encode())["value"] == b"1" and refs.get("größe")["key"] == "größe".encode()
    refs.set(b"\x00\xff", b"2")
    assert refs.get(bytearray(b"\x00\xff"))["value"] == refs.get(memoryview(b"\x00\xff"))["value"] == b"2"
    refs.set("", b"3")
    assert refs.get(b"")["value"] == b"3"
    for key in (1, None, [1, 2], ("a",), 1.5):
        with pytest.raises(TypeError):
            refs.get(key)
    with pytest.raises(UnicodeEncodeError):
        refs.get("\ud800")


def test_limits_are_told(store, refs):
    refs.set("k" * (64 << 10), b"")
    tries = [
        lambda: refs.set("k" * ((64 << 10) + 1), b""), lambda: store.refs("n" * 256).set("k", b""),
        lambda: refs.set("k", b"", tags=["t"] * 10_000), lambda: refs.set("k", b"", metadata=b"m" * (1 << 24)),
        lambda: store.refs("pins").set("k", b""),
    ]  # fmt: skip
    for attempt in tries:
        with pytest.raises(ValueError) as caught:
            attempt()
        assert isinstance(caught.value, drystone.InvalidInput)


def test_extras_come_along(refs):
    begin = time.time()
    refs.set("it", b"v", expire=100, tags=["a", "b"], metadata=b"\x00m")
    entry = refs.get("it")
    assert (entry["tags"], entry["metadata"]) == (["a", "b"], b"\x00m")
    assert begin + 99 < entry["expires"] < begin + 102
    refs.set("soon", b"v", expire=0.05)
    time.sleep(0.06)
    assert refs.get("soon") is None and [entry["key"] for entry in refs.items()] == [b"it"]
    for never in (-1, math.nan, math.inf):
        with pytest.raises(drystone.InvalidInput):
            refs.set("it", b"v", expire=never)


def test_namespaces_are_apart(store, refs):
    other = store.refs("other")
    refs.set("k", b"1"), other.set("k", b"2"), store.put(b"x")
    assert (refs.get("k")["value"], other.get("k")["value"]) == (b"1", b"2")
    assert {"names", "other"} <= set(store.namespaces()) and refs.namespace == "names" and "names" in repr(refs)
    assert {entry["key"] for entry in refs.items()} == {b"k"}


def test_only_the_first_adds(refs):
    version = refs.add("it", b"1")
    assert version and refs.add("it", b"2") is None and refs.get("it")["version"] == version
    refs.remove("it")
    assert refs.add("it", b"3") > version


def test_compare_and_set(refs):
    first = refs.compare_and_set("it", None, b"1")
    assert first and refs.compare_and_set("it", None, b"2") is None
    second = refs.compare_and_set("it", first, b"2")
    assert second > first and refs.compare_and_set("it", first, b"3") is None
    assert refs.get("it")["value"] == b"2"
    refs.remove("it")
    assert refs.compare_and_set("it", second, b"4") is None


def test_no_increment_by_threads_is_lost(refs):
    def count():
        for _ in range(200):
            while True:
                entry = refs.get("count")
                number, version = (int(entry["value"]), entry["version"]) if entry else (0, None)
                if refs.compare_and_set("count", version, b"%d" % (number + 1)):
                    break

    threads = [threading.Thread(target=count) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert refs.get("count")["value"] == b"800"


def test_all_are_listed_while_others_come(refs):
    for i in range(500):
        refs.set(b"%d" % i, b"v%d" % i)
    stop = threading.Event()

    def disturb():
        number = 0
        while not stop.is_set():
            number += 1
            refs.set(f"new {number}", b"")

    thread = threading.Thread(target=disturb)
    thread.start()
    try:
        for _ in range(10):
            found = {entry["key"]: entry["value"] for entry in refs.items()}
            assert all(found[b"%d" % i] == b"v%d" % i for i in range(500))
    finally:
        stop.set()
        thread.join()


def test_waiting(refs):
    begin = time.monotonic()
    assert refs.wait("it", 0.15) is None and 0.1 < time.monotonic() - begin < 5
    assert refs.wait("it", 0) is None
    version = refs.set("it", b"1")
    assert refs.wait("it", 10)["value"] == b"1" and refs.wait("it", 0)["value"] == b"1"
    assert refs.wait("it", 0.01, than=version) is None
    threading.Timer(0.1, lambda: refs.set("it", b"2")).start()
    begin = time.monotonic()
    for forever in (30, math.inf, 1e19):
        assert refs.wait("it", forever, than=version)["value"] == b"2"
    assert time.monotonic() - begin < 10
    for never in (-1, math.nan, -math.inf):
        with pytest.raises(drystone.InvalidInput):
            refs.wait("it", never)


def test_a_signal_ends_a_wait_and_other_threads_run_meanwhile(refs):
    ran = []

    def interrupt():
        for _ in range(50):
            ran.append(1)
            time.sleep(0.002)
        os.kill(os.getpid(), signal.SIGINT)

    thread = threading.Thread(target=interrupt)
    begin = time.monotonic()
    # Whoever was started in the background ignores the signal.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with pytest.raises(KeyboardInterrupt):
            thread.start()
            refs.wait("never", 60)
    finally:
        thread.join()
        signal.signal(signal.SIGINT, before)
    assert len(ran) == 50 and time.monotonic() - begin < 10
