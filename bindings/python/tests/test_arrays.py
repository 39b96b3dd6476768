"""Arrays in the store: `.npy` files, read without a copy."""

import io

import hypothesis.extra.numpy as hnp
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import drystone

RECORD = np.dtype([("at", "<f8", (3,)), ("name", "S5"), ("inner", [("n", ">i2"), ("ok", "?")])])


def saved(array):
    out = io.BytesIO()
    np.save(out, array)
    return out.getvalue()


def base_of(array):
    while isinstance(array.base, np.ndarray):
        array = array.base
    return array.base.obj if isinstance(array.base, memoryview) else array.base


def check(store, array):
    id = store.put_array(array)
    assert bytes(store.get(id)) == saved(array) and store.put(saved(array)) == id
    got = store.get_array(id)
    assert (got.dtype, got.shape) == (array.dtype, array.shape)
    assert got.tobytes() == array.tobytes()
    assert not got.flags.writeable and (got.size == 0 or got.ctypes.data % 64 == 0)
    return got


GRID = np.arange(24, dtype=np.float32).reshape(2, 3, 4)
ARRAYS = {
    "0-d": np.array(1.5), "empty": np.empty((0, 3)), "C": GRID, "Fortran": np.asfortranarray(GRID), "transposed": GRID.T,
    "strided": GRID[:, ::2, 1:], "reversed": GRID[::-1], "broadcast": np.broadcast_to(np.arange(3), (4, 3)),
    "big-endian": GRID.astype(">f8"), "bool": GRID > 3, "complex": GRID + 1j, "half": GRID.astype("f2"),
    "text": np.array(["größe", "a"]), "bytes": np.array([b"ab", b"c"]), "record": np.zeros(5, RECORD),
    "time": np.array(["2024-02-29", "NaT"], "M8[ns]"), "span": np.array([1, 2], "m8[3s]"), "int8": np.int8([-1, 2]),
    "aligned": np.zeros(3, np.dtype([("a", "i1"), ("b", "f8")], align=True)), "void": np.zeros(2, "V7"),
    "longdouble": np.array([1, 2], np.longdouble), "scalar": np.float64(2.5),
}  # fmt: skip


@pytest.mark.parametrize("name", ARRAYS)
def test_it_is_what_numpy_saves(store, name):
    check(store, np.asarray(ARRAYS[name]))


def test_fortran_order_is_kept(store):
    got = check(store, np.asfortranarray(GRID))
    assert got.flags.f_contiguous and not got.flags.c_contiguous


@given(
    hnp.arrays(
        st.one_of(hnp.scalar_dtypes(), hnp.array_dtypes()), hnp.array_shapes(min_dims=0, max_dims=4, min_side=0)
    )
)
@settings(max_examples=150, suppress_health_check=list(HealthCheck), deadline=None)
def test_any_array_is_what_numpy_saves(store, array):
    check(store, array)
    check(store, array.T)


def test_no_byte_is_copied(store, directory):
    array = np.random.default_rng(0).random(1 << 20)
    id = store.put_array(array)
    first, second = store.get_array(id), store.get_array(id)
    assert np.shares_memory(first, second), "both look at the store's memory"
    blob = base_of(first)
    assert isinstance(blob, drystone.Blob) and blob.id == id
    other = drystone.Store(directory / "store").get_array(id)
    assert not np.shares_memory(first, other) and np.array_equal(other, array)


def test_it_cannot_be_written(store):
    array = store.get_array(store.put_array(np.arange(10)))
    for write in (lambda: array.__setitem__(0, 1), lambda: array.sort(), lambda: array.setflags(write=True)):
        with pytest.raises(ValueError):
            write()
    changed = array.copy()
    changed[0] = 7
    assert array[0] == 0 and changed.flags.writeable


def test_lists_and_scalars_are_arrays(store):
    assert store.get_array(store.put_array([[1, 2], [3, 4]])).tolist() == [[1, 2], [3, 4]]
    assert store.get_array(store.put_array(7)) == 7


def test_objects_are_refused(store):
    for array in (np.array([None]), np.array([object(), 1]), np.zeros(2, [("a", "O")])):
        with pytest.raises(TypeError) as caught:
            store.put_array(array)
        assert isinstance(caught.value, drystone.UnsupportedType)
    assert store.blobs() == []


def test_a_header_that_lies_is_refused(store):
    good = saved(np.arange(4))
    dangerous = saved(np.arange(4)).replace(b"'<i8'", b"'|O' ")
    for bad in (
        b"", b"no array at all", b"\x93NUMPY", good[:40], good[:-8], b"\x93NUMPX" + good[6:], dangerous,
        good.replace(b"(4,)", b"(5,)"), good.replace(b"(4,)", b"(-4)"), good.replace(b"False", b"exit("),
        b"\x93NUMPY\x02\x00" + b"\xff" * 60, b"\x93NUMPY\x09" + good[7:],
    ):  # fmt: skip
        with pytest.raises(ValueError) as caught:
            store.get_array(store.put(bad))
        assert isinstance(caught.value, drystone.BadValue), bad


@given(st.binary(max_size=200), st.integers(0, 127), st.binary(min_size=1, max_size=4))
@settings(max_examples=300, suppress_health_check=list(HealthCheck), deadline=None)
def test_any_bytes_are_an_array_or_refused(store, noise, at, patch):
    good = saved(np.arange(4.0))
    for data in (noise, b"\x93NUMPY" + noise, good[:at] + patch + good[at + len(patch) :]):
        try:
            array = store.get_array(store.put(data))
        except drystone.BadValue:
            continue
        assert array.nbytes <= len(data)
        array.tobytes()
