"""One store in many processes: forked, spawned, killed, stopped."""

import multiprocessing
import os
import pathlib
import signal
import subprocess
import sys
import threading
import time

import numpy as np
import pytest

import drystone
from drystone import Store

METHODS = ["fork", "spawn"]


def content(length, seed=0):
    return np.random.default_rng(seed).bytes(length)


def in_child(work):
    """Forks; the child ends with 0 if the work is done and true. It must not run what pytest has left to do."""
    child = os.fork()
    if child == 0:
        code = 1
        try:
            code = 0 if work() else 2
        finally:
            os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def put_some(store, seed):
    return [store.put(content(10_000 + number, seed * 100 + number)) for number in range(20)]


def sum_of(store, id):
    return float(store.get_array(id).sum())


def fail(store):
    store.refs("a").set("it", "xxh3:" + "0" * 32)


@pytest.mark.parametrize("method", METHODS)
def test_a_pool_shares_a_store(store, method):
    array = np.random.default_rng(0).random(50_000)
    id = store.put_array(array)
    with multiprocessing.get_context(method).Pool(4) as pool:
        ids = pool.starmap(put_some, [(store, seed) for seed in range(8)])
        assert pool.starmap(sum_of, [(store, id)] * 8) == [float(array.sum())] * 8
    for seed, some in enumerate(ids):
        assert [bytes(blob) for blob in store.get_many(some)] == [
            content(10_000 + number, seed * 100 + number) for number in range(20)
        ]
    assert store.stats()["blobs"] == 161 and store.fsck(deep=True)["clean"]


@pytest.mark.parametrize("method", METHODS)
def test_errors_come_back_from_a_pool(store, method):
    with multiprocessing.get_context(method).Pool(1) as pool, pytest.raises(drystone.NotFound, match="put it first"):
        pool.apply(fail, (store,))


def test_a_forked_child_goes_on_with_everything(store, directory):
    id = store.put(content(100_000))
    blob, array, refs = store.get(id), store.get_array(store.put_array(np.arange(1000))), store.refs("names")

    def work():
        assert bytes(blob) == content(100_000) and array.sum() == 499_500
        assert bytes(store.get(id)) == content(100_000) and store.get(store.put(b"child")) is not None
        refs.set("from", b"the child")
        store.sync()
        return store.remove(id) and bytes(blob) == content(100_000) and Store(directory / "store").blobs()

    assert in_child(work) == 0
    assert refs.get("from")["value"] == b"the child" and store.get(id) is None and bytes(blob) == content(100_000)
    assert store.put(b"parent") in store and store.fsck(deep=True)["clean"]


def test_forks_while_threads_put(store):
    stop, failures = threading.Event(), []

    def put(number):
        seed = number * 10_000
        while not stop.is_set():
            seed += 1
            if bytes(store.get(store.put(content(5000, seed)))) != content(5000, seed):
                failures.append(seed)

    threads = [threading.Thread(target=put, args=(number,)) for number in range(3)]
    for thread in threads:
        thread.start()
    try:
        codes = [
            in_child(lambda: bytes(store.get(store.put(content(70_000, 10**6 + n)))) == content(70_000, 10**6 + n))
            for n in range(20)
        ]
    finally:
        stop.set()
        for thread in threads:
            thread.join()
    assert codes == [0] * 20 and failures == [] and store.fsck(deep=True)["clean"]


def test_a_view_lives_in_a_child_whose_parent_has_dropped_it(store):
    view = memoryview(store.get(store.put(content(200_000))))
    read, write = os.pipe()

    child = os.fork()
    if child == 0:
        code = 1
        try:
            os.read(read, 1)  # by now the parent has compacted
            code = 0 if view == content(200_000) else 2
        finally:
            os._exit(code)
    del view
    store.remove(store.blobs()[0])
    assert store.compact(all=True)["complete"]
    os.write(write, b"x")
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def start(code, *args):
    """A process of its own, which runs code with the store in `store`."""
    head = "import os, sys, time\nimport numpy as np\nfrom drystone import Store\nstore = Store(sys.argv[1])\n"
    command = [sys.executable, "-c", head + code, *map(str, args)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


WRITER = """
random = np.random.default_rng(int(sys.argv[2]))
while True:
    id = store.put(random.bytes(int(random.integers(1, 200_000))))
    store.refs("latest").set(sys.argv[2], id)
    print(id, flush=True)
"""


def test_what_a_killed_writer_had_put_is_there(store):
    """Writers are killed at any moment, and others work on: every id that was told is there, whole."""
    told, begin = [], time.monotonic()
    for round in range(12):
        writers = [start(WRITER, store.path, round * 2 + n) for n in range(2)]
        for writer in writers:
            assert writer.stdout.readline()
        time.sleep(0.01 * round)
        for number, writer in enumerate(writers):
            writer.send_signal(signal.SIGKILL)
            lines = writer.communicate()[0].splitlines(keepends=True)
            told += [line.strip() for line in lines if line.endswith("\n")]
            latest = store.refs("latest").get(str(round * 2 + number))["value"]
            assert len(store.get(latest)) > 0
        slow = time.monotonic()
        store.put(content(1000, round))
        assert time.monotonic() - slow < 5
    assert len(told) > 100 and time.monotonic() - begin < 120
    checked = Store(store.path, verify=True)
    assert all(checked.get(id) is not None for id in told)
    assert store.compact(all=True)["complete"] and all(id in store for id in told)
    assert store.fsck(deep=True)["clean"]


def test_compaction_elsewhere_while_arrays_are_held(store):
    arrays = {seed: np.random.default_rng(seed).random(20_000) for seed in range(30)}
    ids = {seed: store.put_array(array) for seed, array in arrays.items()}
    held = {seed: store.get_array(id) for seed, id in ids.items()}
    for seed in range(0, 30, 2):
        store.unpin(ids[seed])
    other = start("print(store.compact(all=True)['collected_blobs'])", store.path)
    assert other.communicate()[0].strip() == "15"
    assert [store.get_array(id) is None for id in ids.values()] == [True, False] * 15
    for seed, array in arrays.items():
        assert np.array_equal(held[seed], array)
        assert seed % 2 == 0 or np.array_equal(store.get_array(ids[seed]), array)


def test_a_compactor_beside_readers_and_writers(store):
    compactor = start("while True:\n    store.compact(all=True)\n    print('.', flush=True)", store.path)
    try:
        assert compactor.stdout.readline()
        random, held, kept = np.random.default_rng(0), [], {}
        end = time.monotonic() + 3
        while time.monotonic() < end:
            data = random.bytes(int(random.integers(1, 100_000)))
            id = store.put(data)
            held = held[-20:] + [(store.get(id), data)]
            if random.random() < 0.5:
                store.unpin(id)
            else:
                kept[id] = data
            assert all(bytes(blob) == data for blob, data in held)
    finally:
        compactor.kill()
        rounds = len(compactor.communicate()[0].splitlines())
    assert rounds > 3 and len(kept) > 20
    assert all(bytes(store.get(id)) == data for id, data in kept.items())
    assert store.compact(all=True)["complete"], "the killed compactor holds nothing back"
    assert sorted(store.blobs()) == sorted(kept) and store.fsck(deep=True)["clean"]


def test_a_stopped_writer_holds_up_nobody(store):
    writer = start(WRITER, store.path, 1)
    assert writer.stdout.readline()
    try:
        for _ in range(5):
            writer.send_signal(signal.SIGSTOP)
            begin = time.monotonic()
            ids = put_some(store, 3)
            assert all(id in store for id in ids) and not store.compact()["busy"]
            store.sync()
            assert time.monotonic() - begin < 5
            writer.send_signal(signal.SIGCONT)
            assert writer.stdout.readline()
    finally:
        writer.kill()
        writer.communicate()


def test_waiting_for_another_process(store):
    refs = store.refs("names")
    other = start("time.sleep(0.3); store.refs('names').set('answer', b'42')", store.path)
    begin = time.monotonic()
    assert refs.wait("answer", 60)["value"] == b"42" and time.monotonic() - begin < 30
    assert other.wait() == 0


def test_processes_share_the_memory_of_an_array(store):
    """Each maps the one file: the sum of their proportional shares is one copy, not one each."""
    array = np.ones(32 << 20, np.uint8)
    id = store.put_array(array)
    code = "a = store.get_array(sys.argv[2])\nprint(int(a.sum()), flush=True)\nsys.stdin.read()"
    command = f"import sys\nfrom drystone import Store\nstore = Store(sys.argv[1])\n{code}"
    readers = [
        subprocess.Popen(
            [sys.executable, "-c", command, str(store.path), id],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for _ in range(4)
    ]
    try:
        assert [int(reader.stdout.readline()) for reader in readers] == [32 << 20] * 4
        assert 0 < sum(shares(reader.pid, store.path) for reader in readers) < 1.3 * (32 << 20)
    finally:
        for reader in readers:
            reader.communicate()


def shares(process, path):
    """Bytes of the store's files that a process accounts for: Pss of their mappings."""
    total, ours = 0, False
    for line in pathlib.Path(f"/proc/{process}/smaps").read_text().splitlines():
        if "-" in line.split(" ", 1)[0]:
            ours = str(path) in line and ".seg" in line
        elif ours and line.startswith("Pss:"):
            total += int(line.split()[1]) * 1024
    return total


@pytest.mark.parametrize("value", ["datetime.date(2020, 1, 1)", "numpy.arange(10)", "numpy.arange(1 << 17)"])
def test_a_daemon_thread_that_reads_does_not_end_the_process_by_a_signal(directory, value):
    program = f"""
import sys, threading, time, datetime, numpy, drystone
cache = drystone.Cache(sys.argv[1], maintenance=None)
cache["k"] = {value}
def read():
    while True:
        cache.get("k")
[threading.Thread(target=read, daemon=True).start() for _ in range(2)]
time.sleep(0.05)
"""
    ends = [subprocess.run([sys.executable, "-c", program, directory / "c"], timeout=60).returncode for _ in range(6)]
    assert ends == [0] * 6
