"""Values come back as they were, and hostile bytes give an error and nothing else."""

import contextlib
import datetime
import decimal
import math
import pathlib
import uuid
import zoneinfo

import numpy as np
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

import drystone
from drystone import Cache
from drystone._drystone import decode, encode

ZONES = st.none() | st.sampled_from(
    [
        datetime.timezone.utc,
        datetime.timezone(datetime.timedelta(hours=-3, minutes=-30)),
        datetime.timezone(datetime.timedelta(seconds=1, microseconds=7), "odd"),
        zoneinfo.ZoneInfo("UTC"),
    ]
)
TEXTS = st.text(st.characters(codec=None), max_size=20) | st.sampled_from(["\ud800", "a\udfffb", "\0", "x" * 70_000, "é" * 40_000])
HASHABLE_LEAVES = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.integers(-(2**300), 2**300)
    | st.floats()
    | st.complex_numbers()
    | TEXTS
    | st.binary(max_size=20)
    | st.dates()
    | st.times(timezones=ZONES)
    | st.datetimes(timezones=ZONES)
    | st.timedeltas()
    | st.decimals().filter(lambda it: not it.is_snan())
    | st.uuids()
    | st.builds(range, st.integers(-9, 9), st.integers(), st.integers(1, 9))
    | st.sampled_from([pathlib.Path("/a/b"), pathlib.PurePosixPath("."), pathlib.PureWindowsPath("c:/x"), ...])
)
LEAVES = (
    HASHABLE_LEAVES
    | st.binary(max_size=20).map(bytearray)
    | st.sampled_from([b"y" * 65_536, bytearray(b"z" * 65_537), slice(1, None, 2)])
)
HASHABLE = st.recursive(
    HASHABLE_LEAVES, lambda inner: st.lists(inner, max_size=3).map(tuple) | st.frozensets(inner, max_size=3), max_leaves=5
)
VALUES = st.recursive(
    LEAVES,
    lambda inner: st.lists(inner, max_size=4)
    | st.lists(inner, max_size=4).map(tuple)
    | st.dictionaries(HASHABLE, inner, max_size=4)
    | st.sets(HASHABLE, max_size=4)
    | st.frozensets(HASHABLE, max_size=4),
    max_leaves=15,
)


def there_and_back(value, **options):
    head, parts = encode(value, **options)
    assert len(head) <= 4096
    return decode(head, list(parts), **options)


def same(one, two):
    """Also by type, by the sign of zero, and for nan."""
    if type(one) is not type(two):
        return False
    if isinstance(one, float):
        return (math.isnan(one) and math.isnan(two)) or (one == two and math.copysign(1, one) == math.copysign(1, two))
    if isinstance(one, complex):
        return same(one.real, two.real) and same(one.imag, two.imag)
    if isinstance(one, (list, tuple)):
        return len(one) == len(two) and all(map(same, one, two))
    if isinstance(one, dict):
        return same(list(one.items()), list(two.items()))
    if isinstance(one, (set, frozenset)):
        return len(one) == len(two) and all(any(same(item, other) for other in two) for item in one)
    if isinstance(one, decimal.Decimal):
        return str(one) == str(two)
    if isinstance(one, (datetime.datetime, datetime.time)):
        return repr(one) == repr(two) and one.fold == two.fold
    return one == two


@given(VALUES)
@settings(max_examples=500, suppress_health_check=[HealthCheck.too_slow])
def test_values_come_back(value):
    assert same(there_and_back(value), value)


# Containers that are held at several places -----------------------------------------------------------------------


def chain(levels, of):
    value = of(0)
    for _ in range(levels):
        value = of(value, value)
    return value


CHAINS = [
    lambda *items: list(items),
    lambda *items: items,
    lambda *items: dict(enumerate(items)),
    lambda *items: {"deep": [{"er": items}, items[0]]},
]


@pytest.mark.parametrize("of", CHAINS)
def test_a_container_is_stored_once_wherever_it_is_held(of, cache):
    head, parts = encode(chain(45, of))
    assert len(head) + sum(map(len, parts)) < 2500
    back = decode(head, list(parts))
    cache["x"] = chain(45, of)
    seen, open_ = set(), [back, cache["x"]]
    while open_:
        value = open_.pop()
        if type(value) in (list, tuple, dict) and id(value) not in seen:
            seen.add(id(value))
            open_ += value.values() if type(value) is dict else value
    assert 90 <= len(seen) <= 400
    assert same(there_and_back(chain(6, of)), chain(6, of))


@st.composite
def graphs(draw):
    """A container of some others, each of which may be held by several."""
    nodes = [draw(HASHABLE), draw(LEAVES), [], ()]
    for _ in range(draw(st.integers(1, 7))):
        held = [draw(st.sampled_from(nodes)) for _ in range(draw(st.integers(0, 4)))]
        kind = draw(st.sampled_from([list, tuple, "dict", "set", "key"]))
        if kind == "dict":
            nodes.append({draw(HASHABLE): it for it in held})
        elif kind in ("set", "key"):
            keys = {nodes[0], (nodes[0], (nodes[0],))}
            nodes.append(keys if kind == "set" else dict.fromkeys(keys, held))
        else:
            nodes.append(kind(held))
    return [*nodes[4:], *nodes[4:]]


def twins(value):
    """Which of the containers that are held as items and values are one object, as the numbers of the first ones."""
    numbers, told = {}, []

    def look(it):
        if type(it) not in (list, tuple, dict, set, frozenset) or not it:
            return
        told.append(numbers.setdefault(id(it), len(numbers)))
        if type(it) in (list, tuple):
            list(map(look, it))
        elif type(it) is dict:
            list(map(look, it.values()))

    look(value)
    return told


@given(graphs())
@settings(max_examples=300, suppress_health_check=[HealthCheck.too_slow])
def test_what_is_one_object_comes_back_as_one(value):
    back = there_and_back(value)
    assert same(back, value) and twins(back) == twins(value)


def test_what_would_be_written_out_too_often_is_refused(cache):
    grown = frozenset()
    for _ in range(60):
        grown = frozenset([grown, frozenset([grown])])
    for call in (lambda: encode(grown), lambda: encode({grown: 1}), lambda: cache.set(grown, 1), lambda: (1, grown) in cache):
        with pytest.raises(drystone.UnsupportedType, match="again and again"):
            call()
    # As often as that, but each by itself.
    assert there_and_back({(it, (1, 2)): (1, 2) for it in range(1000)})[999, (1, 2)] == (1, 2)


def test_one_that_holds_itself_is_refused():
    for itself in ([0, 0], {0: 0, 1: 0}):
        itself[0] = itself[1] = itself
        with pytest.raises(drystone.UnsupportedType, match="in themselves"):
            encode(itself)


@pytest.mark.parametrize(
    "hostile",
    [
        b"\x03\x16\0", b"\x03\x0a\1\x16\0", b"\x03\x0b\2\x0b\0\x16\2", b"\x01\x0b\2\x0b\0\x16\1",
        b"\x03\x0b\2\x0a\0\x0d\1\x16\1", b"\x03\x0b\2\x0a\0\x0c\1\x16\1\0", b"\x03\x0b\2\x0a\0\x14\5range\x16\1",
        b"\x03\x0b\1\x16\xff\xff\xff\xff\xff\xff\xff\xff\x7f",
    ],
)  # fmt: skip
def test_numbers_of_containers_that_are_not_there_are_an_error(hostile):
    with pytest.raises(drystone.BadValue):
        decode(hostile, [])
    assert decode(b"\x03\x0b\2\x0a\0\x16\1", []) == [(), ()]


def test_times_in_zones_come_back():
    paris = zoneinfo.ZoneInfo("Europe/Paris")
    for fold in (0, 1):
        time = datetime.datetime(2024, 10, 27, 2, 30, tzinfo=paris, fold=fold)
        back = there_and_back([time, time.timetz(), paris])
        assert same(back, [time, time.timetz(), paris]) and back[0].utcoffset() == time.utcoffset()


# Arrays ------------------------------------------------------------------------------------------------------------

PLAIN_DTYPES = npst.scalar_dtypes() | npst.byte_string_dtypes(max_len=5) | npst.unicode_string_dtypes(max_len=5)
DTYPES = PLAIN_DTYPES | npst.nested_dtypes(PLAIN_DTYPES, max_leaves=4)
ARRAYS = npst.arrays(DTYPES, npst.array_shapes(min_dims=0, min_side=0, max_side=4))


def same_array(one, two):
    assert type(one) is type(two) and one.dtype == two.dtype and one.shape == two.shape
    assert one.dtype.str == two.dtype.str
    if one.dtype.names is None:
        assert np.array(one, order="C").tobytes() == np.array(two, order="C").tobytes()
    else:
        # Bytes that only pad need not come back.
        assert repr(one.tolist()) == repr(two.tolist())


@given(ARRAYS, st.data())
@settings(max_examples=300, suppress_health_check=[HealthCheck.too_slow])
def test_arrays_come_back(array, data):
    same_array(there_and_back(array), array)
    other = data.draw(st.sampled_from([array.T, np.array(array, order="F"), array[..., ::2] if array.ndim else array]))
    back = there_and_back({"deep": [(other,)]})["deep"][0][0]
    same_array(back, other)
    assert not back.flags.writeable
    if array.size and array.dtype.names is None:
        scalar = array.reshape(-1)[0]
        back = there_and_back(scalar)
        assert type(back) is type(scalar) and back.dtype == scalar.dtype and back.tobytes() == scalar.tobytes()


@given(ARRAYS.filter(lambda it: it.dtype.names is None), st.data())
@settings(suppress_health_check=[HealthCheck.too_slow])
def test_masked_arrays_come_back(array, data):
    mask = data.draw(npst.arrays(bool, array.shape) | st.just(np.ma.nomask))
    value = np.ma.MaskedArray(array, mask, hard_mask=data.draw(st.booleans()))
    back = there_and_back(value)
    same_array(back.data, value.data)
    assert back.hardmask == value.hardmask and (back.mask is np.ma.nomask) == (value.mask is np.ma.nomask)
    assert np.array_equal(back.mask, value.mask) and repr(back.fill_value) == repr(value.fill_value)


def test_odd_arrays_come_back():
    fields = np.dtype([("a", "i1"), ("b", "f8", (2,)), ("c", [("x", "S3"), ("y", "M8[us]")])], align=True)
    record = np.zeros(3, fields)
    record["b"] = 7.5
    arrays = [
        record,
        record[::-1],
        record[["a", "c"]],
        np.zeros((0, 3)),
        np.zeros((3, 0), "U4"),
        np.zeros(2, "S0"),
        np.array(5),
        np.broadcast_to(np.float32(2), (3, 4)),
        np.arange(4, dtype=">u2"),
        np.array([1, 2], "m8[7D]"),
        np.array(["NaT", "2020"], "M8[D]"),
        np.arange(3, dtype=np.longdouble),
        np.frombuffer(b"abcd", "V2"),
        np.zeros((70, 1000), order="F"),
        np.zeros((1,) * 32),
    ]
    for array in arrays:
        same_array(there_and_back(array), np.asarray(array))
        same_array(there_and_back([array])[0], np.asarray(array))
    for view in (np.rec.array([(1, 2.0), (3, 4.0)], dtype=[("a", "i4"), ("b", "f8")]), np.matrix([[1, 2], [3, 4]])):
        same_array(there_and_back(view), view)
    assert there_and_back(np.rec.array([(1, 2.0)], names="a,b")).a[0] == 1
    structured = np.ma.array([(1, 2.0), (3, 4.0)], mask=[(0, 1), (1, 0)], dtype=[("a", int), ("b", float)])
    back = there_and_back(structured)
    assert back.tolist() == structured.tolist() and back.fill_value == structured.fill_value
    assert there_and_back(np.ma.masked) is np.ma.masked
    element = there_and_back(record[1])
    assert type(element) is np.void and element.dtype == fields and element["b"][1] == 7.5
    for dtype in (np.dtype("f4"), fields, np.dtype(">U3")):
        assert there_and_back(dtype) == dtype


@pytest.mark.skipif(not hasattr(getattr(np, "dtypes", None), "StringDType"), reason="NumPy 2 has them")
def test_arrays_of_texts_of_any_length_come_back(directory):
    kind, texts = np.dtypes.StringDType, ["gneiss", "", "ü" * 300, "a\0b\0"]
    pandas = pytest.importorskip("pandas")
    for options in ({}, {"coerce": False}, *({"na_object": it} for it in (None, np.nan, "none", pandas.NA))):
        dtype = kind(**options)
        missing = [options["na_object"]] if "na_object" in options else []
        plain = np.array(texts + missing * 2, dtype)
        for array in (plain, plain[::-2], plain.reshape(2, -1), plain.reshape(2, -1).T, plain[:0].reshape(0, 3), plain[1:2].reshape(())):
            for back in (there_and_back(array), there_and_back({"x": [array]})["x"][0]):
                assert type(back) is np.ndarray and back.dtype == array.dtype and back.shape == array.shape
                assert repr(back.tolist()) == repr(array.tolist()) and back.dtype.coerce == dtype.coerce
    cache = Cache(directory / "c", maintenance=None)
    cache["many"] = np.array(["x" * (n % 50) for n in range(100_000)], kind())
    assert (cache["many"] == np.array(["x" * (n % 50) for n in range(100_000)])).all()
    masked = there_and_back(np.ma.array(texts, mask=[0, 1, 0, 0], dtype=kind()))
    assert masked.tolist() == ["gneiss", None, *texts[2:]]
    calls = []

    @cache.memoize()
    def first(array):
        calls.append(array)
        return array[:1]

    assert first(np.array(texts, kind())) == first(np.array(texts, kind())) == ["gneiss"] and len(calls) == 1
    store = cache.store()
    for refused in (lambda: store.put_array(np.array(texts, kind())), lambda: store.empty(3, kind())):
        with pytest.raises(drystone.UnsupportedType, match="Cache.*astype"):
            refused()


def test_arrays_of_texts_need_a_numpy_that_has_them(monkeypatch):
    said = encode(((1,), (), True, ["x"]))[0][1:]
    head = bytes([1, 20, len("text array")]) + b"text array" + said
    monkeypatch.setattr(np, "dtypes", None, raising=False)
    with pytest.raises(drystone.UnsupportedType, match="NumPy 2"):
        decode(head, [])


def test_arrays_are_read_in_place_and_stored_once(directory):
    cache = Cache(directory / "c", maintenance=None)
    large = np.random.default_rng(1).random((100, 1000))
    for at in range(10):
        cache[at] = {"run": at, "deep": [(large, large.copy())], "fortran": np.asfortranarray(large)}
    cache["masked"] = np.ma.array(large, mask=large > 0.5)
    stored = drystone.Store(directory / "c").put_array(large)
    assert cache.store().stats()["segment_bytes"] < 5 * large.nbytes
    found = cache[3]
    for array in (*found["deep"][0], found["fortran"], cache["masked"].data):
        assert np.array_equal(array, large) and not array.flags.owndata and array.ctypes.data % 64 == 0
    header, parts = encode(large)
    assert drystone.Store(directory / "c").put(parts[0]) == stored and parts[0][:6] == b"\x93NUMPY"
    found = cache[3]["deep"][0][0]
    del cache
    assert np.array_equal(found, large)


# What is not stored as it is ---------------------------------------------------------------------------------------


class Thing:
    def __init__(self, value):
        self.value = value

    def __eq__(self, other):
        return type(other) is Thing and np.array_equal(self.value, other.value)


class Text(str):
    pass


class Kinds(np.ndarray):
    pass


@pytest.mark.parametrize(
    "value",
    [
        Thing(1),
        Text("x"),
        np.array([1, "x"], object),
        np.zeros(2, [("a", "O")]),
        np.zeros(2).view(Kinds),
        object,
        len,
        iter([]),
        datetime.datetime(2020, 1, 1, tzinfo=type("Zone", (datetime.tzinfo,), {})()),
    ],
    ids=repr,
)
def test_other_types_are_refused_unless_pickles_are_allowed(value):
    for wrapped in (value, [value], {"x": (value,)}):
        with pytest.raises(drystone.UnsupportedType) as caught:
            encode(wrapped)
        assert isinstance(caught.value, TypeError) and isinstance(caught.value, drystone.Error)
        assert str(caught.value)


def test_pickles_are_read_only_where_they_are_allowed():
    value = [Thing(np.arange(100_000)), Text("x"), np.array([1, "x"], object)]
    head, parts = encode(value, pickle=True)
    assert any(len(part) >= 800_000 for part in parts), "buffers stand beside the pickle"
    back = decode(head, list(parts), pickle=True)
    assert back[0] == value[0] and type(back[1]) is Text and back[2].tolist() == [1, "x"]
    with pytest.raises(drystone.UnsupportedType, match="pickle=True"):
        decode(head, list(parts))
    with pytest.raises(drystone.UnsupportedType, match="pickled"):
        encode(lambda: 1, pickle=True)


def test_a_cache_that_others_may_write_unpickles_nothing(directory):
    place = directory / "c"
    Cache(place, maintenance=None, pickle=True)["x"] = Thing(1)
    assert Cache(place, maintenance=None, pickle=True)["x"] == Thing(1)
    place.chmod(0o777)
    with pytest.raises(drystone.Permission):
        Cache(place, maintenance=None, pickle=True)["x"]


def test_containers_that_hold_themselves_are_refused():
    itself = []
    itself.append({"x": (itself,)})
    deep = 1
    for _ in range(10_000):
        deep = (deep,)
    for value in (itself, deep):
        for options in ({}, {"pickle": True}):
            with pytest.raises(drystone.UnsupportedType, match="deep"):
                encode(value, **options)
    fits = 1
    for _ in range(200):
        fits = [fits]
    assert there_and_back(fits) == fits


# Keys --------------------------------------------------------------------------------------------------------------


@given(HASHABLE, HASHABLE)
@settings(max_examples=500)
@example(1, True)
@example(1.0, (1,))
@example(decimal.Decimal("1.0"), 1)
@example(decimal.Decimal("0.5"), 0.5)
@example(2**53 + 1, float(2**53))
@example(-0.0, 0)
@example(1 + 0j, 1)
@example(range(0), range(3, 3))
@example(range(0, 4, 3), range(0, 5, 3))
@example(range(0, -(2**70)), range(0, 2**70))
@example(range(9, 0, -4), range(9, 1, -4))
@example(range(9, 0, -4), range(9, -1, -4))
@example(decimal.Decimal("1e30") + 1, decimal.Decimal("1e30"))
@example(decimal.Decimal("100000000000000000000.00000000001"), decimal.Decimal("100000000000000000000.00000000002"))
@example(pathlib.Path("/a"), pathlib.PurePosixPath("/a"))
@example((), frozenset())
@example("a", b"a")
@example(("a", "b"), ("a", ("b",)))
def test_keys_are_equal_exactly_where_they_are_in_a_dict(one, two):
    try:
        keys = [Cache._encode_key(it) for it in (one, two)]
    except drystone.UnsupportedType:
        return
    assert keys[0] == Cache._encode_key(one)
    if keys[0] == keys[1]:
        assert one == two or same(one, two)
    elif not (is_apart(one) or is_apart(two)):
        assert not (one == two or same(one, two))
    back = decode(keys[0], [])
    assert back == one or same(back, one) or has_nan(one)
    assert Cache._encode_key(back) == keys[0]


def has_nan(value):
    return value != value or (isinstance(value, (tuple, frozenset)) and any(map(has_nan, value)))


def is_apart(value):
    """Fractions in a Decimal are keys apart from equal floats, and times in one zone from equal ones in another."""
    if isinstance(value, (tuple, frozenset)):
        return any(map(is_apart, value))
    if isinstance(value, decimal.Decimal):
        return not value.is_finite() or value != value.to_integral_value()
    return isinstance(value, (datetime.datetime, datetime.time)) and value.tzinfo is not None


def test_what_is_no_key_is_refused():
    for wrong in ([1], {1: 2}, {1}, bytearray(b"x"), np.arange(3), Thing(1), (1, [2]), ((((object(),),),),)):
        with pytest.raises(drystone.UnsupportedType) as caught:
            Cache._encode_key(wrong)
        assert isinstance(caught.value, TypeError)


# Hostile bytes -----------------------------------------------------------------------------------------------------

SAMPLES = [
    None,
    [1, -1, 2**70, 1.5, 1j, "text", b"bytes", bytearray(b"x"), True],
    {"a": (1, {2, 3}), "b": frozenset([b"x"]), (1, "x"): [[[[]]]]},
    [datetime.datetime(2020, 1, 1, tzinfo=datetime.timezone.utc), datetime.date(2020, 1, 1), datetime.timedelta(1, 2, 3)],
    [decimal.Decimal("1.5"), uuid.UUID(int=7), pathlib.Path("/a"), range(3), slice(1, 2), ..., datetime.time(1, 2)],
    [np.arange(5.0), np.float32(1), np.zeros((2, 3), "U2"), np.array([(1, 2.0)], [("a", "i4"), ("b", "f8")])],
    np.ma.array([1, 2], mask=[0, 1]),
    [np.dtype("f4"), np.matrix([[1]]), np.rec.array([(1,)], names="a"), zoneinfo.ZoneInfo("UTC"), "\ud800"],
    "long" * 20_000,
    np.zeros(20_000),
]


def decoded(head, parts):
    try:
        decode(head, parts)
    except drystone.Error as error:
        assert str(error)
    except ModuleNotFoundError as error:
        assert error.name in ("pandas", "polars", "pyarrow"), "what the value needs may not be installed"
    except MemoryError:
        raise AssertionError("it took all memory") from None


@given(st.data())
@settings(max_examples=1500, suppress_health_check=[HealthCheck.too_slow, HealthCheck.large_base_example])
def test_bytes_that_were_changed_give_an_error(data):
    at = data.draw(st.integers(0, len(SAMPLES) - 1))
    head, parts = encode(SAMPLES[at])
    head, parts = bytearray(head), [bytearray(part[:1000]) if data.draw(st.booleans()) else part for part in parts]
    for _ in range(data.draw(st.integers(1, 3))):
        target = data.draw(st.sampled_from([head, *(part for part in parts if type(part) is bytearray)]))
        if not target:
            continue
        place = data.draw(st.integers(0, min(len(target), 400) - 1))
        what = data.draw(st.sampled_from(["flip", "set", "cut", "grow"]))
        if what == "flip":
            target[place] ^= 1 << data.draw(st.integers(0, 7))
        elif what == "set":
            target[place] = data.draw(st.integers(0, 255))
        elif what == "cut":
            del target[place:]
        else:
            target[place:place] = data.draw(st.binary(max_size=9))
    decoded(bytes(head), list(map(bytes, parts)))


@given(st.binary(max_size=60), st.lists(st.binary(max_size=60), max_size=2))
@settings(max_examples=1500)
def test_bytes_at_random_give_an_error(head, parts):
    decoded(b"\1" + head, parts)
    decoded(head, parts)


NAMES = [
    "date", "time", "datetime", "timedelta", "timezone", "decimal", "uuid", "path", "range", "slice", "ellipsis", "surrogates",
    "numpy scalar", "masked array", "masked", "recarray", "matrix", "dtype", "text array", "arrow table", "arrow batch", "arrow array",
    "arrow chunked", "polars frame", "polars series", "pandas frame", "pandas series", "pandas index", "pandas array",
    "pandas timestamp", "pandas timedelta", "pandas period", "pandas interval", "pandas NaT", "pandas NA", "pickle",
    "no such",
]  # fmt: skip


@given(st.sampled_from(NAMES), VALUES | st.recursive(
    st.integers(-3, 3) | st.sampled_from(["", "index", "range", "objects", "M8[s]", "f8", "UTC", np.arange(3), np.zeros(2, bool)]),
    lambda inner: st.lists(inner, max_size=5).map(tuple) | st.lists(inner, max_size=3), max_leaves=8))
@settings(max_examples=1000, suppress_health_check=[HealthCheck.too_slow])
def test_names_with_other_values_give_an_error(name, value):
    head, parts = encode(value)
    if head[0] == 1:
        decoded(bytes([1, 20, len(name)]) + name.encode() + head[1:], list(parts))


def npy(text, data=b""):
    header = text.encode("latin-1")
    return b"\x93NUMPY\1\0" + len(header).to_bytes(2, "little") + header + data


@pytest.mark.parametrize(
    "array",
    [
        npy("{'descr': '<f8', 'fortran_order': False, 'shape': (1000000000000,)}"),
        npy(f"{{'descr': '<f8', 'fortran_order': False, 'shape': ({10**40},)}}"),
        npy("{'descr': '<f8', 'fortran_order': False, 'shape': (-1,)}", bytes(8)),
        npy("{'descr': '|O', 'fortran_order': False, 'shape': (1,)}", bytes(8)),
        npy("{'descr': [('a', '|O')], 'fortran_order': False, 'shape': (1,)}", bytes(8)),
        npy("{'descr': '<f8', 'fortran_order': 1, 'shape': (1,)}", bytes(8)),
        npy("{'descr': '<f8', 'shape': (1,)}", bytes(8)),
        npy("{'descr': 'no such', 'fortran_order': False, 'shape': (1,)}", bytes(8)),
        npy("{'descr': '<f8', 'fortran_order': False, 'shape': " + "(" * 5000),
        npy("-" * 60_000 + "1"),
        npy("__import__('os').abort()"),
        npy(f"{{'descr': ('<f8', ({2**40}, {2**40})), 'fortran_order': False, 'shape': ()}}"),
        npy("{'descr': '<f8', 'fortran_order': False, 'shape': " + str((1,) * 100) + "}", bytes(8)),
        b"\x93NUMPY\2\0\xff\xff\xff\xff",
        b"\x93NUMPY\7\0\2\0\0\0{}",
        b"no array at all",
        b"",
    ],
    ids=lambda it: repr(bytes(it[10:50])),
)
def test_hostile_arrays_give_an_error(array):
    length = bytes([len(array) & 0x7F | 0x80, len(array) >> 7 & 0x7F | 0x80, len(array) >> 14])
    for head, parts in ((b"\1\x13" + length + array, []), (b"\1\x12\0", [array]), (b"\2", [b"\1\x12\0", array])):
        with pytest.raises(drystone.BadValue):
            decode(head, parts)


def test_lengths_that_are_not_there_take_no_memory():
    import tracemalloc

    huge = b"\xff" * 8 + b"\x7f"
    tracemalloc.start()
    for tag in range(256):
        for tail in (huge, huge + b"\0", b"\xff" * 20, huge + b"\0" * 100):
            decoded(bytes([1, tag]) + tail, [b"x"])
            decoded(bytes([1, 11, 2, tag]) + tail, [b"x"])
    assert tracemalloc.get_traced_memory()[1] < 32 << 20
    tracemalloc.stop()
    decoded(b"\1" + b"\x0b\1" * 100_000, [])


def test_the_names_are_those_of_the_description():
    description = pathlib.Path(__file__).parents[3] / "spec" / "VALUES.md"
    if not description.is_file():
        pytest.skip("the sources are not here")
    text = description.read_text()
    for name in NAMES[:-1]:
        assert f"`{name}`" in text, name


# Tables ------------------------------------------------------------------------------------------------------------


def frames():
    pd = pytest.importorskip("pandas")
    dates = pd.date_range("2020-10-24", periods=3, freq="D", tz="Europe/Paris")
    frame = pd.DataFrame({"f": [1.0, np.nan, 3.0], "i": [1, 2, 3], "s": ["x", None, "z"]})
    yield from (frame, frame.set_index("s"), frame.iloc[:0], frame[[]], frame.iloc[::2], frame[["f"]], frame.T)
    yield pd.DataFrame(np.arange(12.0).reshape(3, 4))
    yield pd.DataFrame(np.arange(12.0).reshape(3, 4, order="F"), columns=pd.MultiIndex.from_product([["a", "b"], [1, 2]]))
    yield pd.DataFrame([[1, "x"]], columns=["a", 1])
    yield pd.DataFrame([[1, "x"]], columns=["a", "a"])
    yield pd.DataFrame([[1, "x"]], columns=pd.Index(["a", "b"], name="names"))
    yield pd.DataFrame({"o": pd.Series([{"a": 1}, [1, 2], ("x", 2.5), None, np.arange(3), "s"], dtype=object)}).iloc[:4]
    yield pd.DataFrame({"o": pd.Series(["a", None, np.nan], dtype=object), "n": pd.Series([1, 2, 3], dtype=object)})
    yield pd.DataFrame({"c": pd.Categorical(["x", None, "y"], ["y", "x", "w"], ordered=True)})
    yield pd.DataFrame({"i": pd.array([1, None, 3], dtype="Int8"), "b": pd.array([True, None, False], dtype="boolean")})
    yield pd.DataFrame({"f": pd.array([1, None, 3], dtype="Float32"), "p": pd.period_range("2020", periods=3, freq="M")})
    yield pd.DataFrame({"t": pd.array(["x", None, "z"], dtype="string"), "d": pd.to_timedelta([1, None, 3], unit="s")})
    yield pd.DataFrame({"v": pd.interval_range(0, 3), "z": [1j, 2j, 3j], "h": np.zeros(3, "f2")})
    yield pd.DataFrame({"d": dates, "i": range(3)}, index=dates)
    yield pd.DataFrame({"i": [1, 2]}, index=pd.MultiIndex.from_tuples([(1, "a"), (2, None)], names=["x", "y"]))
    yield pd.Series([1, 2], name=("a", 1))
    yield pd.Series(dates, name=pd.Timestamp("2020-01-01 00:00:00.000000001", tz="UTC"))
    yield from (pd.RangeIndex(1, 7, 2, name="r"), pd.Index([1.5, 2.5]), pd.Index(["a", "b"], name=3), dates)
    yield from (pd.CategoricalIndex(["a", "b"]), pd.timedelta_range(0, periods=3, freq="h"), pd.period_range("2020", periods=2, freq="Q"))
    yield from (pd.Index([], dtype=object), pd.MultiIndex.from_product([[1, 2], ["a"]]), pd.interval_range(0, 2))


def assert_same_table(one, two):
    pd = pytest.importorskip("pandas")
    assert type(one) is type(two)
    if isinstance(one, pd.DataFrame):
        pd.testing.assert_frame_equal(one, two, check_freq=True)
    elif isinstance(one, pd.Series):
        pd.testing.assert_series_equal(one, two)
        assert same(type(one.name), type(two.name))
    else:
        pd.testing.assert_index_equal(one, two, exact=True)
        assert getattr(one, "freq", None) == getattr(two, "freq", None)


def test_tables_of_pandas_come_back():
    for table in frames():
        assert_same_table(there_and_back(table), table)
        assert_same_table(there_and_back({"x": [table]})["x"][0], table)


def test_other_values_of_pandas_come_back():
    pd = pytest.importorskip("pandas")
    values = [
        pd.Timestamp("2020-10-25 02:30:00.123456789"), pd.Timestamp("2020-01-01", tz="Europe/Paris"), pd.Timedelta(5, "ns"),
        pd.Period("2020-03", "M"), pd.Interval(1, 2.5, "both"),
    ]  # fmt: skip
    for value in values:
        back = there_and_back(value)
        assert back == value and repr(back) == repr(value) and type(back) is type(value)
    assert there_and_back(pd.NaT) is pd.NaT and there_and_back(pd.NA) is pd.NA
    array = pd.array([1, None], dtype="Int64")
    assert there_and_back(array).equals(array)
    frame = pd.DataFrame({"a": [1]})
    frame.attrs["unit"] = {"a": "m"}
    assert there_and_back(frame).attrs == {"unit": {"a": "m"}}
    sparse = pd.DataFrame({"a": pd.arrays.SparseArray([0, 0, 1])})
    with pytest.raises(drystone.UnsupportedType, match="Sparse"):
        encode(sparse)
    assert_same_table(there_and_back(sparse, pickle=True), sparse)


def test_columns_of_numbers_are_read_in_place(directory):
    pd = pytest.importorskip("pandas")
    cache = Cache(directory / "c", maintenance=None)
    numbers = pd.DataFrame(np.random.default_rng(1).random((20_000, 4)))
    mixed = pd.DataFrame({"f": np.arange(20_000.0), "i": np.arange(20_000), "d": pd.date_range("2020", periods=20_000, freq="s")})
    mixed.loc[3, "f"] = np.nan
    cache["x"] = {"numbers": numbers, "mixed": mixed}
    found = cache["x"]
    assert_same_table(found["numbers"], numbers)
    assert_same_table(found["mixed"], mixed)
    for column in (found["numbers"].to_numpy(), *(found["mixed"][name].to_numpy() for name in mixed)):
        base = column
        while getattr(base, "base", None) is not None:
            base = base.base
        assert isinstance(base, drystone.Blob), "a view of the store"


def arrow_values():
    pa = pytest.importorskip("pyarrow")
    table = pa.table({
        "i": [1, None, 3], "s": ["x", "yy", None], "l": [[1], [], None], "m": [{"a": 1}, {"a": None}, None],
        "d": pa.array(["a", "b", "a"]).dictionary_encode(), "b": [True, False, None], "n": pa.nulls(3),
    })  # fmt: skip
    yield from (table, table.slice(1, 1), table.slice(0, 0), pa.concat_tables([table, table]), table.to_batches()[0])
    yield from (table["s"], table["l"].chunk(0), pa.array([1.5, None]), pa.array([], pa.string()), pa.table({}), table.slice(1)["i"].chunk(0))
    yield from (pa.chunked_array([[1, 2], [3]]), table.replace_schema_metadata({"unit": "m"}))


def test_arrow_comes_back():
    for value in arrow_values():
        back = there_and_back([value])[0]
        assert type(back) is type(value) and back.equals(value), value
        assert getattr(back, "schema", None) == getattr(value, "schema", None)


def test_polars_comes_back():
    pl = pytest.importorskip("polars")
    frame = pl.DataFrame({
        "i": [1, None, 3], "s": ["x", "yy", None], "l": [[1], [], None], "c": pl.Series(["a", "b", "a"], dtype=pl.Categorical),
        "d": [datetime.date(2020, 1, 1)] * 3, "t": [datetime.datetime(2020, 1, 1)] * 3,
    })  # fmt: skip
    for value in (frame, frame[:0], frame["s"], frame["c"], pl.Series("e", [], dtype=pl.Float32), pl.DataFrame()):
        back = there_and_back(value)
        assert type(back) is type(value) and back.equals(value)
        assert getattr(back, "schema", None) == getattr(value, "schema", None) and back.shape == value.shape


@pytest.mark.parametrize("make", [lambda: list(arrow_values())[0], lambda: next(frames()), lambda: list(frames())[16]], ids=["arrow", "frame", "nullable"])
def test_tables_that_were_changed_give_an_error(make):
    head, parts = encode(make())
    rng = np.random.default_rng(1)
    assert not parts, "small"
    for _ in range(1500):
        changed = bytearray(head)
        for at in rng.integers(0, len(head), rng.integers(1, 3)):
            changed[at] ^= 1 << rng.integers(0, 8)
        try:
            value = decode(bytes(changed), [])
        except drystone.Error:
            continue
        with contextlib.suppress(Exception):
            # What it is may be odd; the memory that it reads is its own.
            repr(value)



def test_what_polars_cannot_give_to_arrow_is_refused(directory):
    polars = pytest.importorskip("polars")
    cache = drystone.Cache(directory / "c", maintenance=None)
    trusting = drystone.Cache(directory / "c", pickle=True, maintenance=None)
    objects = polars.DataFrame({"n": [1, 2], "o": polars.Series([object(), object()], dtype=polars.Object)})
    nested = polars.Series("l", [], dtype=polars.List(polars.Struct({"a": polars.Object})))
    wide = polars.DataFrame({"w": polars.Series([1, 2**100], dtype=polars.Int128)})

    @cache.memoize()
    def function(x):
        return 1

    for value in (objects, objects["o"], nested, wide, wide["w"]):
        for holder in (value, [1, {"deep": (value,)}]):
            with pytest.raises(drystone.UnsupportedType, match="objects|Arrow"):
                cache["k"] = holder
            with pytest.raises(drystone.Unhashable, match="objects|Arrow"):
                function(holder)
    for value in (objects, objects["o"]):
        with pytest.raises(drystone.UnsupportedType):
            trusting["k"] = value
    assert "k" not in cache
    trusting["wide"] = [wide]
    assert trusting["wide"][0].equals(wide)
    # The same columns without objects.
    cache["k"] = objects.select("n")
    assert cache["k"].equals(objects.select("n")) and function(objects.select("n")) == 1
