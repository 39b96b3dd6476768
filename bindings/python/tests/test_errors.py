"""Every error is `drystone.Error`, its own type, and the built-in exception that users catch.

Not reached here, and tested in the library itself: IdCollision (two contents of one XXH3), SyncFailed (a medium that
fails), IndexFull, Forked (no object of this package lives in a child that could raise it), TimedOut.
"""

import errno
import fcntl
import os
import pathlib
import pickle
import resource
import struct
import subprocess
import sys

import numpy as np
import pytest
import xxhash

import drystone
from drystone import Store

BUILTINS = {
    "NotFound": KeyError, "NotAStore": FileNotFoundError, "AlreadyExists": FileExistsError,
    "UnsupportedVersion": ValueError, "ProtocolMismatch": RuntimeError, "Damaged": OSError, "IdCollision": ValueError,
    "NoSpace": OSError, "IndexFull": OSError, "Limit": OSError, "Busy": BlockingIOError, "FileSystemRefused": OSError,
    "Permission": PermissionError, "ReadOnly": PermissionError, "InvalidInput": ValueError, "SyncFailed": OSError,
    "Forked": RuntimeError, "TimedOut": TimeoutError, "TooLarge": ValueError, "Reentered": RuntimeError,
    "IoError": OSError, "UnsupportedType": TypeError, "Unhashable": TypeError, "BadValue": ValueError,
}  # fmt: skip
IS_ROOT = os.geteuid() == 0


def raised(type_, work, *args, **options):
    """The error that it must raise, which is of all its types and says something."""
    with pytest.raises(type_) as caught:
        work(*args, **options)
    error = caught.value
    assert type(error) is type_ and isinstance(error, drystone.Error) and isinstance(error, BUILTINS[type_.__name__])
    assert len(str(error)) > 20 and not str(error).startswith(("'", '"'))
    return error


@pytest.mark.parametrize("name", BUILTINS)
def test_a_type_is_two_and_documented(name):
    type_ = getattr(drystone, name)
    assert issubclass(type_, drystone.Error) and issubclass(type_, BUILTINS[name])
    assert type_.__module__ == "drystone" and type_.__name__ == name and type_.__doc__ and name in drystone.__all__
    again = pickle.loads(pickle.dumps(type_("a sentence")))
    assert type(again) is type_ and str(again) == "a sentence" == again.args[0]


def test_no_type_is_forgotten():
    found = {n for n, it in vars(drystone).items() if isinstance(it, type) and issubclass(it, drystone.Error)}
    assert found == {"Error", *BUILTINS}


def test_what_is_not_a_store(directory):
    (directory / "file").write_text("x")
    (directory / "other").mkdir()
    (directory / "other" / "STORE").write_text("no superblock")
    for place in ("none", "file", "other"):
        for options in ({"create": False}, {"read_only": True}):
            raised(drystone.NotAStore, Store, directory / place, **options)
    assert not (directory / "none").exists() and (directory / "other" / "STORE").read_text() == "no superblock"


def test_another_hash_than_asked_for(directory):
    Store(directory, hash="blake3").put(b"x")
    raised(drystone.AlreadyExists, Store, directory, hash="xxh3")
    assert len(Store(directory, hash="blake3").blobs()) == len(Store(directory).blobs()) == 1


def test_arguments_that_cannot_be(directory):
    for options in ({"hash": "md5"}, {"durability": "none"}):
        raised(drystone.InvalidInput, Store, directory, **options)
    store = Store(directory)
    for id in ("", "x", "xxh3:12", "md5:" + "0" * 32, "xxh3:" + "g" * 32, "b3:" + "0" * 32, "xxh3:" + "ä" * 16):
        for use in (store.get, store.stat, store.unpin, store.remove, store.__contains__, store.get_array):
            raised(drystone.InvalidInput, use, id)
    raised(drystone.InvalidInput, store.compact, seconds=-1.0)
    for wrong in (-1, -(2**70), 2**63):
        assert str(wrong) in str(raised(drystone.InvalidInput, Store, directory, size_limit=wrong))
    raised(drystone.UnsupportedType, Store, directory, size_limit=1.5)


def test_settings_that_cannot_be_are_told_where_they_are_given(directory):
    cache = drystone.Cache(directory, size_limit=1000.0, item_limit=np.int64(7), timeout=np.float32(0.5), maintenance=None)
    limits = (-1, -2, -1.0, 0.5, 2**70, 2.0**63, float("inf"), float("nan")), ("5", True, [5], b"5")
    times = (-1, -0.001, float("nan"), float("-inf")), ("5", True, [5], b"5")
    for kind, wrong_limits, wrong_times, wrong_progress in zip(
        (drystone.InvalidInput, drystone.UnsupportedType), limits, times, (("bar",), (5, True, ["tqdm"])), strict=True
    ):
        for name in ("size_limit", "item_limit"):
            for value in wrong_limits:
                assert name in str(raised(kind, drystone.Cache, directory, **{name: value}))
                raised(kind, drystone.memoize, directory / "m", size_limit=value)
                assert name in str(raised(kind, cache.reset, name, value))
        for value in wrong_times:
            for name in ("timeout", "maintenance"):
                assert name in str(raised(kind, drystone.Cache, directory, **{name: value}))
            for name in ("wait", "stale_while_revalidate"):
                assert name in str(raised(kind, cache.memoize, **{name: value}))
        for value in wrong_progress:
            assert "tqdm" in str(raised(kind, cache.memoize, progress=value))
    # Also below the methods that say which setting it is.
    for name in ("size_limit", "item_limit"):
        for wrong in (-1, -7, 2**63):
            assert str(wrong) in str(raised(drystone.InvalidInput, cache._change_settings, **{name: wrong}))
        raised(drystone.UnsupportedType, cache._change_settings, **{name: "5"})
    raised(drystone.UnsupportedType, cache.memoize, expire="5")
    for name in ("expire", "stale_while_revalidate"):
        raised(drystone.InvalidInput, cache.memoize, **{name: float("inf")})
    assert (cache.size_limit, cache.item_limit, cache.timeout) == (1000, 7, 0.5)
    assert cache.reset("size_limit", None) is cache.size_limit is None and cache.item_limit == 7
    assert cache.reset("size_limit", 1e9) == 10**9 and type(cache.size_limit) is int and cache.reset("item_limit", 0) == 0
    assert cache.reset("item_limit", None) is None
    for options in ({"wait": 0, "progress": "tqdm"}, {"wait": float("inf"), "progress": print}, {"expire": -1}):
        assert cache.memoize(**options)(lambda x: x)(3) == 3


def rewrite(path, at, data):
    path.chmod(0o600)
    with path.open("r+b") as file:
        file.seek(at)
        file.write(data)


def test_another_version_of_the_format(store, directory):
    store.put(b"x")
    store.close()
    superblock = directory / "store" / "STORE"
    begin = superblock.read_bytes()[:56]
    assert begin[:8] == b"DRYSTONE"
    other = begin[:8] + struct.pack("<I", 999) + begin[12:]
    other += xxhash.xxh3_64_intdigest(other).to_bytes(8, "little")
    for copy in (0, 4096):
        rewrite(superblock, copy, other)
    error = raised(drystone.UnsupportedVersion, Store, directory / "store")
    assert "999" in str(error)


def test_another_version_of_the_protocol(store, directory):
    id = store.put(b"x")
    (control,) = (directory / "store" / "run").glob("*/control")
    rewrite(control, 8, struct.pack("<Q", 999))
    assert "999" in str(raised(drystone.ProtocolMismatch, Store, directory / "store"))
    store.close()
    assert id in Store(directory / "store"), "alone, one begins anew"


def test_damage(store, directory):
    store.put(b"x")
    store.close()
    superblock = directory / "store" / "STORE"
    whole = superblock.read_bytes()
    for copy in (0, 4096):
        rewrite(superblock, copy + 20, b"\xff\xff")
    raised(drystone.Damaged, Store, directory / "store")
    rewrite(superblock, 0, whole[:64])
    assert len(Store(directory / "store").blobs()) == 1, "one copy is enough"


def test_a_segment_that_is_gone(store, directory):
    id = store.put(b"x" * 1000)
    store.close()
    for segment in (directory / "store" / "segments").iterdir():
        segment.unlink()
    store = Store(directory / "store")
    raised(drystone.Damaged, store.get, id)
    assert store.put(b"x" * 1000) == id and bytes(store.get(id)) == b"x" * 1000


def test_a_size_limit(directory):
    store = Store(directory, size_limit=8 << 20)
    ids = []

    def fill():
        for seed in range(100):
            ids.append(store.put(np.random.default_rng(seed).bytes(400_000)))

    raised(drystone.NoSpace, fill)
    assert 5 < len(ids) < 30 and all(id in store for id in ids)
    for id in ids:
        store.unpin(id)
    assert store.compact(all=True)["complete"]
    assert store.put(b"room again" * 1000) in store


def child(code, *args, limits=()):
    """What a process of its own prints, under limits that this one must not have."""

    def limit():
        for which, value in limits:
            resource.setrlimit(which, (value, value))

    head = "import errno, os, sys\nimport drystone\nfrom drystone import Store\n"
    command = [sys.executable, "-c", head + code, *map(str, args)]
    return subprocess.run(command, preexec_fn=limit, capture_output=True, text=True, check=True).stdout.strip()


def test_a_limit_on_the_size_of_files(store):
    code = """
import signal
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
store = Store(sys.argv[1])
try:
    store.put(os.urandom(8 << 20))
except drystone.NoSpace as error:
    assert error.errno == errno.EFBIG, error.errno
    print(store.put(b"small") in store)
"""
    assert child(code, store.path, limits=[(resource.RLIMIT_FSIZE, 4 << 20)]) == "True"


def test_no_descriptors_left(store):
    code = """
store = Store(sys.argv[1])
id = store.put(b"x")
assert bytes(store.get(id)) == b"x"
held = []
try:
    while True:
        held.append(os.open("/dev/null", os.O_RDONLY))
except OSError:
    pass
try:
    Store(sys.argv[1])
except drystone.Limit as error:
    assert error.errno == errno.EMFILE and "ulimit -n" in str(error)
    print(bytes(store.get(id)))
"""
    assert child(code, store.path, limits=[(resource.RLIMIT_NOFILE, 64)]) == "b'x'"


def test_somebody_holds_the_store(store, directory):
    store.close()
    with (directory / "store" / "locks").open("r+b") as locks:
        # The users byte, exclusively, as a repair holds it: l_type, l_whence, l_start, l_len, l_pid.
        f_ofd_setlk = 37
        fcntl.fcntl(locks, f_ofd_setlk, struct.pack("hhqqi4x", fcntl.F_WRLCK, 0, 0, 1, 0))
        raised(drystone.Busy, Store, directory / "store")
    assert Store(directory / "store").blobs() == []


def test_a_file_system_that_cannot_carry_a_store():
    raised(drystone.FileSystemRefused, Store, "/proc")


def test_a_store_that_others_may_write(store, directory):
    store.put(b"x")
    store.close()
    (directory / "store").chmod(0o777)
    raised(drystone.Permission, Store, directory / "store")
    raised(drystone.Permission, Store, directory / "store", read_only=True)
    (directory / "store").chmod(0o700)
    assert len(Store(directory / "store").blobs()) == 1


@pytest.mark.skipif(not IS_ROOT, reason="only root gives files away, and becomes somebody else")
def test_a_store_of_another_user(store, directory):
    store.put(b"x")
    for path in (directory, directory / "store", *(directory / "store").rglob("*")):
        os.chown(path, 12345, 12345)
    # Root reads what its users have; no user what another has.
    child_ = os.fork()
    if child_ == 0:
        code = 1
        try:
            directory.chmod(0o755), (directory / "store").chmod(0o755)
            os.setuid(54321)
            Store(directory / "store")
        except drystone.Permission:
            code = 0
        finally:
            os._exit(code)
    assert os.waitstatus_to_exitcode(os.waitpid(child_, 0)[1]) == 0


def test_read_only_means_it(store):
    reader = Store(store.path, read_only=True)
    raised(drystone.ReadOnly, reader.put, b"x")
    raised(drystone.ReadOnly, reader.refs("a").set, "k", b"v")


def test_what_is_named_must_be_there(store):
    raised(drystone.NotFound, store.refs("a").set, "k", "xxh3:" + "0" * 32)


def test_the_systems_own_errors_keep_their_number(store, directory):
    error = raised(drystone.IoError, store.put_file, directory / "missing")
    assert error.errno == errno.ENOENT and str(directory / "missing") in str(error)
    assert raised(drystone.IoError, store.put_file, directory).errno == errno.EISDIR
    (directory / "file").touch()
    assert raised(drystone.IoError, Store, directory / "file" / "below").errno == errno.ENOTDIR


def test_types_that_are_not_stored(store):
    raised(drystone.UnsupportedType, store.put_array, np.array([object()]))


def test_values_that_cannot_be_read(store):
    raised(drystone.BadValue, store.get_array, store.put(b"no array"))


@pytest.mark.skipif(not IS_ROOT, reason="mounting needs root")
def test_a_full_disk(tmp_path):
    place = tmp_path / "small"
    place.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=16m", "none", place], capture_output=True)
    if mounted.returncode:
        pytest.skip("mounting is not permitted here")
    try:
        store, ids = Store(place / "store"), []

        def fill():
            for seed in range(200):
                ids.append(store.put(np.random.default_rng(seed).bytes(300_000)))

        for _ in range(3):
            raised(drystone.NoSpace, fill)
            kept = [id for id in ids if id in store]
            assert len(kept) > 10 and store.fsck(deep=True)["clean"]
            assert all(len(store.get(id)) == 300_000 for id in kept)
            for id in kept:
                store.remove(id)
            assert store.compact(all=True)["complete"] and store.blobs() == []
            ids.clear()
            # This process still maps what is gone, and lets go of it within its next calls.
            for _ in range(1000):
                store.get("xxh3:" + "0" * 32)
            free = os.statvfs(place)
            assert free.f_bfree * free.f_bsize > 14 << 20
        store.close()
    finally:
        subprocess.run(["umount", "-l", place], check=True)


def test_hostile_files_never_crash(store, directory):
    """Random damage to every file of a store: each operation works or raises an error of ours."""
    code = """
import random, pathlib, shutil
import numpy as np
place, source = pathlib.Path(sys.argv[1]) / "damaged", pathlib.Path(sys.argv[1]) / "store"
for seed in range(40):
    random.seed(seed)
    shutil.rmtree(place, ignore_errors=True)
    shutil.copytree(source, place)
    for path in sorted(place.rglob("*")):
        if path.is_file() and path.stat().st_size:
            path.chmod(0o600)
            with path.open("r+b") as file:
                for _ in range(random.choice([0, 1, 5, 50])):
                    file.seek(random.randrange(min(path.stat().st_size, 20_000)))
                    file.write(bytes([random.randrange(256)]))
    try:
        store = Store(place)
    except drystone.Error:
        continue
    refs = store.refs("a")
    calls = [
        store.blobs, store.stats, refs.items, lambda: refs.get("k"), lambda: [store.get(id) for id in store.blobs()],
        lambda: store.get_many(store.blobs()), lambda: store.put(b"new"), store.fsck, lambda: store.fsck(deep=True),
        lambda: refs.set("new", b"v"), lambda: store.compact(all=True), store.sync, store.namespaces,
    ]
    for call in calls:
        try:
            call()
        except drystone.Error:
            pass
    store.close()
print("survived")
"""
    for seed in range(30):
        store.put(np.random.default_rng(seed).bytes(100 * seed))
    store.refs("a").set("k", b"v", tags=["t"])
    store.close()
    assert child(code, directory) == "survived"


def test_a_store_whose_directory_is_taken_away(store, directory):
    id = store.put(b"x" * 100)
    pathlib.Path(store.path).rename(directory / "elsewhere")
    assert bytes(store.get(id)) == b"x" * 100 and store.put(b"y") in store
    assert len(Store(directory / "elsewhere").blobs()) == 2


def test_fields_that_overlap_are_told_of_as_a_type_that_is_not_stored(cache):
    kind = np.dtype({"names": ["a", "b"], "formats": ["i4", "i2"], "offsets": [0, 2], "itemsize": 12})
    array = np.zeros(3, kind)
    with pytest.raises(drystone.UnsupportedType, match="repack_fields"):
        cache["a"] = array
    calls = []

    @cache.memoize()
    def made(x):
        calls.append(x)
        return array

    with pytest.warns(RuntimeWarning):
        assert made(1) is array
    with pytest.raises(drystone.UnsupportedType):
        cache.store().put_array(array)
    for value in (array, array[0], kind, [array]):
        with pytest.raises(drystone.UnsupportedType):
            cache["a"] = value
        pickling = drystone.Cache(cache.directory, pickle=True, maintenance=None)
        pickling["p"] = value
        assert repr(pickling["p"]) == repr(value)


@pytest.mark.parametrize(
    "said",
    [{"eviction_policy": 3}, {"pickle": "no"}, {"name": b"a"}, {"statistics": "yes"}, {"disk": 1}, {"directory": b"/x"}],
)
def test_settings_of_a_wrong_type_say_so(directory, said):
    with pytest.raises(drystone.UnsupportedType, match="|".join(said)):
        drystone.Cache(**{"directory": directory / "c", **said})


@pytest.mark.parametrize("expire", ["5", [1], True])
def test_an_expiry_of_a_wrong_type_says_so(cache, expire):
    with pytest.raises(drystone.UnsupportedType, match="expire"):
        cache.set("k", 1, expire=expire)
    with pytest.raises(drystone.InvalidInput, match="expire"):
        cache.set("k", 1, expire=float("nan"))
    assert "k" not in cache
