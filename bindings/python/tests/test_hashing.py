"""Arguments by their content: equal ones are told to be equal, and others never."""

import copy
import dataclasses
import decimal
import enum
import functools
import itertools
import multiprocessing
import sys
import threading

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

import drystone
from drystone import hashing
from drystone._drystone import hash_buffer
from drystone.hashing import _content, code_digest, digest

SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary() | st.complex_numbers()
KEYS = st.none() | st.integers() | st.text() | st.binary() | st.tuples(st.integers(), st.text())
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=4)
    | st.lists(inner, max_size=4).map(tuple)
    | st.dictionaries(KEYS, inner, max_size=4)
    | st.sets(KEYS, max_size=4)
    | st.frozensets(KEYS, max_size=4),
    max_leaves=12,
)
DTYPES = (
    npst.integer_dtypes()
    | npst.floating_dtypes()
    | npst.complex_number_dtypes()
    | npst.boolean_dtypes()
    | npst.datetime64_dtypes()
    | npst.byte_string_dtypes(max_len=4)
    | npst.unicode_string_dtypes(max_len=4)
)
ARRAYS = npst.arrays(DTYPES, npst.array_shapes(min_dims=0, min_side=0, max_side=5))


def form(value):
    """What is equal by the rules has equal forms, written down a second time."""
    if isinstance(value, float) and value != value:
        return "nan"
    if isinstance(value, complex):
        return ("complex", repr(value + 0))
    if isinstance(value, (list, tuple)):
        return (type(value), *(form(item) for item in value))
    if isinstance(value, dict):
        return ("dict", frozenset((form(key), form(item)) for key, item in value.items()))
    if isinstance(value, (set, frozenset)):
        return ("set", frozenset(form(item) for item in value))
    if isinstance(value, (str, bytes)):
        return (type(value), value)
    return value


@given(VALUES, VALUES)
@settings(max_examples=400)
def test_digests_are_equal_exactly_where_values_are(one, two):
    assert (digest(one) == digest(two)) == (form(one) == form(two))
    assert digest([one, two]) == digest([one, two])
    assert (digest((one, two)) == digest((two, one))) == (form(one) == form(two))


@given(ARRAYS, st.data())
def test_the_layout_of_an_array_does_not_matter(array, data):
    expected = digest(array)
    wide = np.zeros(tuple(2 * n + 1 for n in array.shape), array.dtype)
    strided = wide[(..., *(slice(0, 2 * n, 2) for n in array.shape))]
    strided[...] = array
    reverse = (..., *(slice(None, None, -1) for _ in array.shape))
    backwards = array[reverse].copy()[reverse]
    for same in (array.copy(), np.array(array, order="F"), strided, backwards):
        assert digest(same) == expected
    bits = (array.dtype.str, array.shape, array.tobytes())
    other = data.draw(st.sampled_from([array.T, array.reshape(-1), array[::-1] if array.ndim else array]))
    assert (digest(other) == expected) == ((other.dtype.str, other.shape, other.tobytes()) == bits)


@pytest.mark.parametrize("shape", [(1031, 1033), (7, 400_003), (2, 3, 1 << 19), (2_500_003,), (1, 1500, 1500)])
def test_large_arrays_are_hashed_alike_by_blocks(shape):
    array = np.random.default_rng(1).random(shape)
    expected = digest(array)
    assert digest(np.asfortranarray(array)) == expected
    wide = np.zeros((*shape[:-1], 2 * shape[-1]))[..., ::2]
    wide[...] = array
    assert digest(wide) == expected
    if array.ndim > 1:
        assert digest(array.T) != expected and digest(array.T) == digest(array.T.copy())
    for at in (0, array.size // 2, array.size - 1):
        changed = array.copy()
        changed.reshape(-1)[at] += 1
        assert digest(changed) != expected and digest(np.asfortranarray(changed)) == digest(changed)


KINDS = ["u1", "i2", "f4", "f8", "c16", "M8[ns]", "S3", "U3", [("a", "i4"), ("b", "f8")], [("a", "u1"), ("b", "u1", 4)]]


def layouts(dtype, shape):
    """Views that no two axes of lie alike, over memory whose bytes all differ from their neighbours'."""
    size = int(np.prod(shape)) * np.dtype(dtype).itemsize
    memory = (np.arange(8 * size + 8, dtype=np.uint32) * 2_654_435_761 >> 24).astype(np.uint8)
    every = memory[: 8 * size].view(dtype)
    odd = memory[1 : 1 + 8 * size].view(dtype)
    count = int(np.prod(shape))
    for order in itertools.permutations(range(len(shape))):
        turned = [shape[at] for at in order]
        back = np.argsort(order)
        yield every[:count].reshape(turned).transpose(back)
        yield odd[:count].reshape(turned).transpose(back)
        yield every[: 2 * count].reshape(*turned[:-1], -1)[..., ::-2].transpose(back)
        yield every[: 2 * count].reshape(2 * turned[0], *turned[1:])[::2].transpose(back)[..., ::-1]
    yield np.broadcast_to(every[: shape[-1]], shape)
    yield np.broadcast_to(every[: shape[0]].reshape(-1, *[1] * (len(shape) - 1)), shape)


@pytest.mark.parametrize("dtype", KINDS, ids=str)
@pytest.mark.parametrize("shape", [(7,), (1, 1), (3, 5), (65, 130), (17, 1, 4), (2, 33, 19), (5, 4, 3, 2), (300, 2, 257)])
def test_elements_are_hashed_in_order_whatever_their_layout(dtype, shape):
    for array in layouts(dtype, shape):
        assert array.shape == shape and hash_elements(array) == hash_buffer(array.tobytes()), array.strides


@pytest.mark.parametrize(
    "dtype, shape",
    [
        # Each row of which is more than what is gathered at a time, and less.
        ("f8", (9, 280_003)), ("u1", (70, 300_007)), ("f4", (17, 280_001)), ("c16", (5, 290_003)), ("u2", (2, 3_000_001)),
        ("f8", (9, 300, 301)), ("f4", (1200, 2003)), ("c16", (3, 100_003, 2)), ("S3", (3, 1_500_001)), ("u1", (3001, 3001)),
        ("f8", (2, 2, 400_001)), ("f8", (100_001, 3, 4)),
    ],
)  # fmt: skip
def test_elements_of_large_arrays_are_hashed_in_order(dtype, shape):
    for array in itertools.islice(layouts(dtype, shape), 8):
        # By the definition: the chunks of 2 MiB, and their digests.
        plain = array.tobytes()
        chunks = [xxh3_128(plain[at : at + (2 << 20)]) for at in range(0, len(plain), 2 << 20)]
        assert hash_elements(array) == (chunks[0] if len(chunks) == 1 else xxh3_128(b"".join(chunks))), array.strides


def xxh3_128(data):
    return pytest.importorskip("xxhash").xxh3_128_digest(data)[::-1]


def hash_elements(array):
    return _content(np, array)


def test_digests_stay_what_they_were():
    """Keys that are kept name results by them."""
    numbers = np.arange(1 << 20, dtype="<u4").reshape(1 << 10, 1 << 10)
    assert digest(numbers).hex() == "4d9cbfea15acbf4cf4d7a48a2b56c0e0"
    assert digest(numbers.T).hex() == digest(np.ascontiguousarray(numbers.T)).hex() == "e14b45a571e0b838a860ddc963184fa7"
    assert digest(np.asfortranarray(numbers)[::-1, ::2]).hex() == "d6ccbe8354703d5d60ebc7df2a300d4b"
    assert digest(np.arange(12, dtype="<i8").view("<M8[s]").reshape(3, 4).T).hex() == "cafb4973aa1ee0c9bfb7064ca7df916d"
    assert digest([{"a": (1, 2.5)}, {"b"}, b"c", None]).hex() == "6597b88bee2c8c395a4ca1ad823ec60e"


def test_memory_that_others_write_is_hashed_without_harm():
    array = np.zeros((2000, 1500)).T
    stop = threading.Event()

    def write():
        while not stop.is_set():
            array[:, ::7] += 1

    writer = threading.Thread(target=write)
    writer.start()
    try:
        assert all(len(digest(array)) == 16 for _ in range(20))
    finally:
        stop.set()
        writer.join()
    assert digest(array) == digest(array.copy())


def test_arrays_differ_by_dtype_shape_bits_class_and_attributes():
    class Length(np.ndarray):
        pass

    def length(unit):
        array = np.arange(4.0).view(Length)
        array.unit = unit
        return array

    different = [
        np.arange(4.0),
        np.arange(4.0, dtype="f4"),
        np.arange(4.0, dtype=">f8"),
        np.arange(4.0).reshape(2, 2),
        np.arange(4.0).reshape(2, 2).T,
        np.matrix(np.arange(4.0).reshape(2, 2)),
        np.arange(4.0).tolist(),
        np.ma.array(np.arange(4.0), mask=[0, 0, 0, 1]),
        np.ma.array(np.arange(4.0), mask=[0, 0, 0, 1], fill_value=7),
        length("m"),
        length("km"),
        np.array([0.0]),
        np.array([-0.0]),
        np.array([np.nan]),
        np.array([0, 1], "M8[s]"),
        np.array([0, 1], "M8[ms]"),
        np.array([(1, 2.0)], [("a", "i8"), ("b", "f8")]),
        np.array([(1, 2.0)], [("a", "i8"), ("c", "f8")]),
        np.array([(1, 2.0)], [("a", "i8"), ("b", "f8")])[0],
        np.array([(1, 2.0)], [("a", "i8"), ("c", "f8")])[0],
        np.array(["a", 1], object),
        np.array(["a", 2], object),
    ]
    assert len({digest(value) for value in different}) == len(different)
    under = [np.ma.array([(1, value)], [("a", int), ("b", float)], mask=[(0, 1)]) for value in (2.0, 3.0)]
    assert digest(under[0]) == digest(under[1])
    assert digest(length("m")) == digest(length("m"))
    assert digest(np.array([np.nan])) == digest(np.array([np.nan]))


def test_bytes_that_only_pad_do_not_count():
    dtype = np.dtype([("a", "i1"), ("b", "f8"), ("c", [("x", "i2"), ("y", "i4")])], align=True)
    # Not copied: a copy leaves out what only pads.
    memory = [bytearray(bytes([byte]) * (3 * dtype.itemsize)) for byte in (1, 2)]
    dirty, clean = (np.frombuffer(it, dtype) for it in memory)
    for name in ("a", "b"):
        dirty[name] = clean[name] = [1, 2, 3]
    dirty["c"] = clean["c"] = (4, 5)
    assert memory[0] != memory[1] and digest(dirty) == digest(clean)
    clean["c"]["y"][2] = 6
    assert digest(dirty) != digest(clean)
    if np.finfo(np.longdouble).nmant == 63:
        one, two = (np.frombuffer(bytes([byte]) * 64, np.longdouble).copy() for byte in (1, 2))
        one[:] = two[:] = [1, 2, 3, 4]
        two.view(np.uint8).reshape(-1, 16)[:, 10:] = 9
        assert digest(one) == digest(two) != digest(one + 1)


def test_numbers():
    assert digest(1) == digest(1.0) == digest(True) == digest(np.int8(1)) == digest(np.float32(1))
    assert digest(0.0) == digest(-0.0) and digest(float("nan")) == digest(-float("nan")) == digest(np.float64("nan"))
    assert len({digest(it, typed=True) for it in (1, 1.0, True, "1", b"1", (1,), [1])}) == 7
    assert len({digest(it) for it in (2**53, 2**53 + 1, float(2**53 + 2), 2**64, -(2**64), 1e300, decimal.Decimal("0.1"))}) == 7


def test_views_differ_by_their_shape_and_format():
    plain = memoryview(b"abcdefgh")
    different = [plain, plain.cast("I"), plain.cast("B", (2, 4)), plain[:4], bytes(plain), bytearray(plain)]
    assert len({digest(it) for it in different}) == len(different)
    assert digest(plain[::2]) == digest(memoryview(b"aceg"))


class Colour(enum.Enum):
    RED = 1
    BLUE = 2


class Bits(enum.Flag):
    A = 1
    B = 2


@dataclasses.dataclass
class Point:
    x: int
    y: object = None


class Named(Point):
    pass


class Thing:
    def __init__(self, value):
        self.value = value

    def method(self, x):
        return x


def test_objects():
    named = Named(1)
    named.name = "other"
    different = [
        Colour.RED, Colour.BLUE, Bits.A | Bits.B, Bits.A, Point(1), Point(2), Named(1), named,
        Point(1, np.arange(3)), Point(1, np.arange(4)), Thing(1), Thing(2), Thing, Point, Thing(1).method, Thing(2).method,
        Thing(lambda x: x + 1), Thing(lambda x: x + 2),
        len, abs, "a".join, "b".join, {}.get, {1: 2}.get, np.sin, np.cos, np.dtype("f4"), np.dtype("f8"), math_like(1),
        np.random.default_rng(1), np.random.default_rng(2), functools.partial(pow, 2), functools.partial(pow, 3),
    ]  # fmt: skip
    assert len({digest(it) for it in different}) == len(different)
    assert digest(Point(1, [2])) == digest(Point(1, [2])) and digest(Thing([1])) == digest(Thing([1]))
    assert digest(Thing(1).method) == digest(Thing(1).method)
    for unhashable in (threading.Lock(), [threading.Lock()], (it for it in ())):
        with pytest.raises(drystone.Unhashable) as caught:
            digest(unhashable)
        assert isinstance(caught.value, TypeError) and isinstance(caught.value, drystone.Error)


def math_like(n):
    return functools.partial(pow, n)


def times(n):
    def decorate(function):
        @functools.wraps(function)
        def wrapper(x):
            return n * function(x)

        return wrapper

    return decorate


def twice(function):
    @functools.wraps(function)
    def wrapper(x):
        return 2 * function(x)

    return wrapper


def thrice(function):
    @functools.wraps(function)
    def wrapper(x):
        return 3 * function(x)

    return wrapper


def test_functions_are_what_they_do():
    def plain(x):
        return x

    def other(x):
        return -x

    other.__qualname__ = plain.__qualname__
    different = [plain, other, twice(plain), thrice(plain), times(2)(plain), times(3)(plain), twice(other), twice(twice(plain))]
    for of in (digest, code_digest):
        assert len({of(it) for it in different}) == len(different)
        assert of(twice(plain)) == of(twice(plain)) and of(times(2)(plain)) == of(times(2)(plain))

    def again(of):
        def down(n):
            return down(n - 1) if n else of

        return down

    assert digest(again(1)) == digest(again(1)) != digest(again(2))


def compiled(source, name="f"):
    space = {"__name__": "test"}
    exec(source, space)
    return space[name]


def test_the_code_of_a_function_is_its_instructions_constants_and_defaults():
    sources = [
        "def f(x): return 1",
        "def f(x): return True",
        "def f(x): return 1.0",
        "def f(x): return 0.0",
        "def f(x): return -0.0",
        "def f(x): return 1j",
        "def f(x): return '1'",
        "def f(x): return b'1'",
        "def f(x): return (1, 2)",
        "def f(x): return (1, 2.0)",
        "def f(x): return x in {1, 2}",
        "def f(x): return x in {1, 3}",
        "def f(x): return abs(x)",
        "def f(x): return len(x)",
        "def f(x=1): return x",
        "def f(x=2): return x",
        "def f(*, x=2): return x",
        "def f(y): return y",
        "def f(x): return [lambda: 1]",
        "def f(x): return [lambda: 2]",
        "def f(x):\n  try:\n    a = x()\n    b = 2\n  except E: b = 3\n  return b",
        "def f(x):\n  try: a = x()\n  except E: b = 3\n  return b",
    ]
    assert len({code_digest(compiled(source)) for source in sources}) == len(sources)
    for source in sources:
        assert code_digest(compiled("\n\n\n# Moved.\n" + source)) == code_digest(compiled(source))
    with pytest.raises(drystone.Unhashable):
        code_digest(len)
    assert code_digest(compiled("import threading\ndef f(lock=threading.Lock()): return 1"))


def test_what_is_too_deep_or_holds_itself_is_refused():
    deep = []
    for _ in range(10_000):
        deep = [deep]
    itself = {}
    itself["x"] = [itself]
    for value in (deep, itself):
        with pytest.raises(drystone.Unhashable, match="deep"):
            digest(value)


@pytest.mark.parametrize("of", [lambda x, y: [x, y], lambda x, y: (x, y), lambda x, y: {1: x, 2: y}, lambda x, y: Point(x, y)])
def test_containers_that_are_held_again_are_looked_at_once(of, monkeypatch):
    def chain(levels, again=lambda it: it):
        value = of(1, 2)
        for _ in range(levels):
            value = of(value, again(value))
        return value

    # The same, whether they are one object or equal ones.
    assert digest(chain(13)) == digest(chain(13, copy.deepcopy)) != digest(chain(12))
    calls = 0

    def counted(value):
        nonlocal calls
        calls += 1
        return encode(value)

    encode = hashing._encode
    monkeypatch.setattr(hashing, "_encode", counted)
    digest(chain(15))
    assert calls < 10_000
    with pytest.raises(drystone.Unhashable, match="again and again"):
        digest(chain(40))
    assert calls < 20_000


def test_tables_of_the_same_rows():
    row = [1, (2, 3)]
    assert digest([row] * 5000) == digest([[1, (2, 3)] for _ in range(5000)]) != digest([row] * 4999)

    def closing(other):
        rows = [other, row] * 1500
        return [lambda: rows, lambda: (rows, other)]

    assert digest(closing(1)) == digest(closing(1)) != digest(closing(2))


def tables():
    pd = pytest.importorskip("pandas")
    pytest.importorskip("pyarrow")
    frame = pd.DataFrame({"a": [1.0, 2.0], "b": ["x", "y"]})
    return [
        frame,
        frame.rename(columns={"b": "c"}),
        frame[["b", "a"]],
        frame.set_index("b"),
        frame.assign(a=[1, 2]),
        frame.assign(a=[1.0, 3.0]),
        frame.assign(b=["x", "z"]),
        frame.assign(b=["x", None]),
        frame.assign(b=frame.b.astype("category")),
        frame.assign(b=pd.Categorical(frame.b, ["y", "x"])),
        frame.set_axis([1, 2]),
        frame.set_axis([1, 3]),
        frame.rename_axis("name"),
        frame.rename_axis("name", axis=1),
        frame.a,
        frame.a.rename("b"),
        frame.index,
        pd.Index([1.0, 2.0]),
        pd.MultiIndex.from_tuples([(1, "a"), (2, "b")]),
        pd.MultiIndex.from_tuples([(1, "a"), (2, "c")]),
        pd.date_range("2020", periods=3),
        pd.date_range("2020", periods=3, tz="UTC"),
        pd.Timestamp("2020"),
        pd.Timestamp("2020", tz="UTC"),
        pd.array([1, None], dtype="Int64"),
        pd.Series([1, None], dtype="Int64"),
        pd.Series([1, 0], dtype="Int64"),
    ]


def test_tables():
    assert len({digest(it) for it in tables()}) == len(tables())
    assert [digest(it) for it in tables()] == [digest(it) for it in tables()]
    frame = tables()[0]
    assert digest(frame) == digest(frame.copy()) == digest(frame.iloc[:2])
    assert digest(frame) != digest(frame.iloc[[1, 0]])


def test_arrow_and_polars():
    pa = pytest.importorskip("pyarrow")
    table = pa.table({"a": [1, 2, 3], "b": ["x", None, "z"]})
    chunked = pa.concat_tables([table.slice(0, 1), table.slice(1, 2)])
    assert digest(table) == digest(chunked) and digest(table["b"]) == digest(chunked["b"])
    values = [table, table.slice(1), table.rename_columns(["a", "c"]), table["a"], table["b"], table["a"].chunk(0), pa.array([1, 2])]
    assert len({digest(it) for it in values}) == len(values)
    pl = pytest.importorskip("polars")
    frame = pl.DataFrame({"a": [1, 2], "b": ["x", None]})
    assert digest(frame) == digest(frame.clone()) and digest(frame) == digest(pl.concat([frame[:1], frame[1:]]))
    assert len({digest(it) for it in (frame, frame[:1], frame["a"], frame["b"], frame.rename({"a": "c"}))}) == 5


def _digests(queue):
    queue.put([digest(it) for it in (Point(1), Thing(2), Colour.RED, Thing, Thing.method, {"b", "a", "c"}, {"x": {1, 2}})])


def test_other_processes_find_the_same():
    context = multiprocessing.get_context("spawn")
    queue = context.Queue()
    _digests(queue)
    process = context.Process(target=_digests, args=(queue,))
    process.start()
    assert queue.get(timeout=60) == queue.get(timeout=60)
    process.join(60)
    assert process.exitcode == 0


def test_what_a_script_defines_is_the_same_in_the_processes_it_spawns(tmp_path):
    import subprocess

    script = tmp_path / "script.py"
    script.write_text(
        "import dataclasses, multiprocessing, drystone\n"
        "from drystone.hashing import digest\n"
        "@dataclasses.dataclass\nclass Point:\n    x: int\n"
        "class Thing:\n    def __init__(self): self.f = square\n"
        "def square(x): return x * x\n"
        "def ask(queue):\n"
        f"    cache = drystone.Cache({str(tmp_path / 'cache')!r}, maintenance=None)\n"
        "    kept = cache.memoize()(square)\n"
        "    queue.put([kept.key(Point(1)), *(digest(it).hex() for it in (Point(1), Thing(), square, Thing))])\n"
        "if __name__ == '__main__':\n"
        "    context = multiprocessing.get_context('spawn')\n"
        "    queue = context.Queue()\n"
        "    ask(queue)\n"
        "    process = context.Process(target=ask, args=(queue,)); process.start()\n"
        "    assert queue.get(timeout=60) == queue.get(timeout=60)\n"
        "    process.join()\n"
    )
    subprocess.run([sys.executable, script], check=True, timeout=120)


@dataclasses.dataclass
class Samples(list):
    unit: str = "m"


@dataclasses.dataclass
class Names(dict):
    unit: str = "m"


@dataclasses.dataclass
class Refused(Exception):
    code: int = 0


class Slotted:
    __slots__ = ("factor",)


@dataclasses.dataclass
class Scaled(Slotted):
    x: int


@dataclasses.dataclass(slots=True)
class Lean:
    x: int


def test_a_dataclass_is_told_apart_by_what_it_holds_besides_its_fields():
    def scaled(factor):
        made = Scaled(1)
        made.factor = factor
        return made

    def refused(*args):
        made = Refused(1)
        made.args = args
        return made

    def filled(made, with_):
        (made.extend if isinstance(made, list) else made.update)(with_)
        return made

    for one, same, other in [
        (filled(Samples(), [1]), filled(Samples(), [1]), filled(Samples(), [2])),
        (filled(Names(), {"a": 1}), filled(Names(), {"a": 1}), filled(Names(), {"a": 2})),
        (refused(1), refused(1), refused(2)),
        (scaled(2), scaled(2), scaled(3)),
        (Lean(1), Lean(1), Lean(2)),
    ]:
        assert digest(one) == digest(same) != digest(other), type(one)
