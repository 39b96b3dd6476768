"""What the conformance suites share: bytes to put in, ids as others compute them, a reboot of sorts, and the names of
the tests on the side of Rust."""

import concurrent.futures
import gc
import io
import pathlib
import re
import shutil

import numpy as np
import pytest
import xxhash

import drystone

KIB, MIB = 1 << 10, 1 << 20
HASHES = ["xxh3", "blake3"]
#: Bytes of the header of a short `.npy` file.
HEADER = 128


def content(length, seed=0):
    """So many bytes, which another seed makes others."""
    return np.random.default_rng([length, seed]).bytes(length)


def array(length, seed=0):
    return np.frombuffer(content(length, seed), "u1")


def saved(array):
    """The `.npy` file of an array, as NumPy writes it."""
    file = io.BytesIO()
    np.save(file, array)
    return file.getvalue()


def read(store, id):
    """The bytes of a blob that must be there."""
    return bytes(store.get(id))


def absent_id(store):
    return {"xxh3": "xxh3:" + "ab" * 16, "blake3": "b3:" + "ab" * 32}[store.stats()["hash"]]


def holdings(store):
    """What a store holds: its figures without those of the machine, and of what is set aside for removals."""
    stats = store.stats()
    del stats["free_bytes"], stats["held_back_bytes"]
    return stats


def address(buffer):
    return np.frombuffer(buffer, "u1").__array_interface__["data"][0]


def segments(store):
    return sorted((pathlib.Path(store.path) / "segments").iterdir())


def rebooted(path, **options):
    """The store with nothing of the run before it, as after a reboot; nobody else has it open."""
    gc.collect()
    shutil.rmtree(pathlib.Path(path) / "run")
    return drystone.Store(path, create=False, **options)


def at_once(*functions):
    """Calls each in a thread of its own; what they return, or the first exception."""
    with concurrent.futures.ThreadPoolExecutor(len(functions)) as pool:
        return [done.result() for done in [pool.submit(function) for function in functions]]


def refused(kind, *calls):
    """Each call must be refused with this exception; the exceptions."""
    errors = []
    for call in calls:
        with pytest.raises(kind) as caught:
            call()
        assert type(caught.value) is kind and str(caught.value)
        errors.append(caught.value)
    return errors


def id_of(hash, data):
    """The id of bytes, as computed without drystone; above a chunk of 2 MiB for BLAKE3 alone."""
    return f"xxh3:{xxhash.xxh3_128_hexdigest(data)}" if hash == "xxh3" else f"b3:{blake3(data).hex()}"


# BLAKE3, written from its specification; all full chunks of 1024 bytes at a time.
_IV = np.array(
    [0x6A09E667, 0xBB67AE85, 0x3C6EF372, 0xA54FF53A, 0x510E527F, 0x9B05688C, 0x1F83D9AB, 0x5BE0CD19], np.uint32
)
_PERMUTED = [2, 6, 3, 10, 7, 0, 4, 13, 1, 11, 12, 5, 9, 14, 15, 8]
_MIXED = [
    (0, 4, 8, 12), (1, 5, 9, 13), (2, 6, 10, 14), (3, 7, 11, 15),
    (0, 5, 10, 15), (1, 6, 11, 12), (2, 7, 8, 13), (3, 4, 9, 14),
]  # fmt: skip
_CHUNK_START, _CHUNK_END, _PARENT, _ROOT = 1, 2, 4, 8


def _turned(x, by):
    return (x >> np.uint32(by)) | (x << np.uint32(32 - by))


def _compressed(chaining, block, counter, length, flags):
    """Eight words of chaining value for each of n: of 8 times n, and 16 times n words."""
    n = block.shape[1]
    state = np.empty((16, n), np.uint32)
    state[:8], state[8:12] = chaining, _IV[:4, None]
    state[12], state[13] = counter & 0xFFFFFFFF, counter >> 32
    state[14], state[15] = length, flags
    for _ in range(7):
        for at, (a, b, c, d) in enumerate(_MIXED):
            for word, (first, second) in ((2 * at, (16, 12)), (2 * at + 1, (8, 7))):
                state[a] += state[b] + block[word]
                state[d] = _turned(state[d] ^ state[a], first)
                state[c] += state[d]
                state[b] = _turned(state[b] ^ state[c], second)
        block = block[_PERMUTED]
    return state[:8] ^ state[8:]


def _chunks(data, first, root):
    """The chaining values of chunks that are all as long: n rows of bytes."""
    n, length = data.shape
    chaining = np.repeat(_IV[:, None], n, 1)
    counter = np.arange(first, first + n, dtype=np.uint64)
    blocks = max(1, -(-length // 64))
    padded = np.zeros((n, blocks * 64), np.uint8)
    padded[:, :length] = data
    words = padded.view("<u4").reshape(n, blocks, 16)
    for at in range(blocks):
        flags = (at == 0) * _CHUNK_START | (at == blocks - 1) * (_CHUNK_END | root)
        chaining = _compressed(chaining, words[:, at].T, counter, min(64, length - 64 * at), flags)
    return chaining


def blake3(data):
    data = np.frombuffer(data, np.uint8)
    full = max(0, len(data) - 1) // 1024
    root = _ROOT if full == 0 else 0
    last = _chunks(data[full * 1024 :][None], full, root)
    values = np.hstack([_chunks(data[: full * 1024].reshape(full, 1024), 0, 0), last]) if full else last
    while values.shape[1] > 1:
        n = values.shape[1]
        pairs = np.vstack([values[:, : n - 1 : 2], values[:, 1::2]])
        root = _ROOT if n == 2 else 0
        zeros = np.zeros(n // 2, np.uint64)
        parents = _compressed(np.repeat(_IV[:, None], n // 2, 1), pairs, zeros, 64, _PARENT | root)
        values = np.hstack([parents, values[:, n // 2 * 2 :]])
    return values[:, 0].astype("<u4").tobytes()


def of_rust(suite):
    """The names of the tests of a suite of Rust; skips where the repository is not beside this file."""
    folder = pathlib.Path(__file__).resolve().parents[3] / "tests" / suite
    if not folder.is_dir():
        pytest.skip("the suite of Rust is not beside this one")
    tests = re.compile(r"^#\[test\]\n(?:#\[.*\]\n)*fn (\w+)\(", re.MULTILINE)
    return [name for file in sorted(folder.glob("*.rs")) for name in tests.findall(file.read_text())]


def hold_against(suite, module, not_mirrored, own):
    """Every test of the suite of Rust is mirrored here, by its name, or said not to be; and nothing else is."""
    rust = of_rust(suite)
    assert len(rust) > 30 and len(set(rust)) == len(rust), "they are found, and each is another"
    here = {name.removeprefix("test_") for name in module if name.startswith("test_")} - {own.removeprefix("test_")}
    assert sorted(set(rust) - here - set(not_mirrored)) == [], "neither mirrored nor listed"
    assert sorted(here & set(not_mirrored)) == [], "mirrored and listed as if not"
    assert sorted((here | set(not_mirrored)) - set(rust)) == [], "nothing of that name on the side of Rust"
    assert all(not_mirrored.values()), "each for a reason"
