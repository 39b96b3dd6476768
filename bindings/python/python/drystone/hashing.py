"""Arguments by their content: equal ones have equal digests, whatever their layout, and others differ.

The rules:

* Numbers that are equal are the same, whatever their type (1, 1.0, True), unless types are asked for. Floats are told apart
  by their bits otherwise: 0.0 and -0.0 are the same number, nan is itself whatever its bits in a scalar.
* Arrays are what their dtype, their shape and their elements in C's order are, however they lie in memory: an array and
  its transpose differ unless they are equal, and so do float32 and float64. Elements are compared by their bits, without
  those that only pad: in arrays 0.0 and -0.0 differ, and nans of different bits do. Subclasses of arrays are what their
  elements, their class and their attributes are; what lies under a mask does not count.
* Tables are what their columns and indexes are; a range that counts rows is another index than its numbers.
* Lists and tuples differ; dicts and sets have no order.
* Functions are what they are called, what their code does, and what they close over; not the functions that they
  call by name. Classes are what they are called.
* Other objects are what their pickle says; what cannot be pickled cannot be an argument.
"""

import dataclasses
import enum
import functools
import io
import math
import pickle
import sys
import threading
import types

from drystone._drystone import RawCache, Unhashable, UnsupportedType, hash_buffer

_encode = RawCache._encode_key
_PLAIN = {str, bytes, int, float, bool, type(None)}
_DEPTH_MAX = 100
#: What is hashed again is remembered from so many containers on: fewer take less time than remembering.
_REMEMBER_FROM = 1000
_REMEMBERED_MAX = 1 << 16
#: Bytes of what stands for containers that were met before.
_REPEATED_BYTES_MAX = 256 << 20
#: The kinds of numbers whose arrays are buffers as they are.
_BUFFERS = frozenset("?bBhHiIlLqQefdFD")
#: What the thread is at: the functions that are being told apart, of which one that closes over itself is met again, and
#: the containers that the call has met.
_OPEN = threading.local()


def digest(value, *, typed=False):
    """The digest of a value: 16 bytes."""
    return hash_buffer(_encode(canonical(value, typed)))


class _Met:
    """The containers that a call has met. What they hold stands for them each time, so that it is the same whether they are
    one object or equal ones; it is made once, and how much of it there would be is bounded."""

    def __init__(self):
        self.count = self.repeated = 0
        # By object, which is kept so that its id stays its own.
        self.known = {}

    def canonical(self, value, kind, typed, depth):
        self.count += 1
        if self.count < _REMEMBER_FROM:
            return _container(value, kind, typed, depth)
        # What stands for a function depends on those that are being looked at.
        which = (id(value), typed, *map(id, _OPEN.__dict__.get("stack", ())))
        known = self.known.get(which)
        if known is None:
            said = _container(value, kind, typed, depth)
            if len(self.known) >= _REMEMBERED_MAX:
                self.known.clear()
            self.known[which] = [value, said, None]
            return said
        _, said, size = known
        if size is None:
            size = known[2] = len(_encode(said))
        self.repeated += size
        if self.repeated > _REPEATED_BYTES_MAX:
            raise Unhashable(
                f"an argument holds the same containers again and again, more than {_REPEATED_BYTES_MAX >> 20} MiB of them: "
                "pass each once, and refer to it by its name, or leave the argument out with ignore="
            )
        return said


def canonical(value, typed=False, depth=0):
    """A key of numbers, texts, bytes and tuples that stands for a value."""
    kind = type(value)
    if kind in _PLAIN:
        if kind is float and math.isnan(value):
            return ("nan",)
        if typed and kind in (int, float, bool):
            return ("typed", kind.__name__, value)
        return value
    if depth >= _DEPTH_MAX:
        raise Unhashable(f"an argument holds containers more than {_DEPTH_MAX} deep, or itself")
    met = getattr(_OPEN, "met", None)
    if met is not None:
        return met.canonical(value, kind, typed, depth + 1)
    _OPEN.met = met = _Met()
    try:
        return met.canonical(value, kind, typed, depth + 1)
    finally:
        _OPEN.met = None


def _container(value, kind, typed, depth):
    if kind is tuple or kind is list:
        # Encoded at once, so that the depth of what stands for it is bounded, whatever it holds.
        return (kind.__name__, _said([canonical(item, typed, depth) for item in value]))
    if kind is dict:
        pairs = [
            (_encode(canonical(key, typed, depth)), _encode(canonical(item, typed, depth)))
            for key, item in value.items()
        ]
        return ("dict", *sorted(pairs))
    if kind is set or kind is frozenset:
        name = "frozenset" if typed and kind is frozenset else "set"
        return (name, *sorted(_encode(canonical(item, typed, depth)) for item in value))
    if kind is bytearray:
        return ("bytes", "bytearray", hash_buffer(value))
    if kind is memoryview:
        return ("view", value.format, value.shape, hash_buffer(value if value.c_contiguous else value.tobytes()))
    return _object(value, kind, typed, depth)


def _said(items):
    """Items that are plain as they are, others as one text of bytes."""
    if all(type(item) in _PLAIN for item in items):
        return tuple(items)
    return _encode(tuple(items))


def _object(value, kind, typed, depth):
    numpy = sys.modules.get("numpy")
    if numpy is not None:
        if isinstance(value, numpy.ndarray):
            return _array(numpy, value, kind, typed, depth)
        if isinstance(value, numpy.generic):
            if not typed and value.dtype.kind in "biuf" and value.dtype.itemsize <= 8:
                return canonical(value.item(), typed, depth)
            return ("scalar", *_array(numpy, numpy.asarray(value), numpy.ndarray, typed, depth)[1:])
        if isinstance(value, numpy.dtype):
            return ("dtype", repr(numpy.lib.format.dtype_to_descr(value)))
    module = kind.__module__.partition(".")[0]
    if module in ("pandas", "pyarrow", "polars"):
        taken = _table(value, kind, module, typed, depth)
        if taken is not None:
            return taken
    if isinstance(value, enum.Enum):
        said = value.name if not isinstance(value, enum.Flag) else value.value
        return ("enum", _named(kind), said)
    if dataclasses.is_dataclass(value) and not isinstance(value, type) and _is_its_fields(kind):
        fields = {it.name: getattr(value, it.name, None) for it in dataclasses.fields(value)}
        fields.update(getattr(value, "__dict__", {}))
        return ("dataclass", _named(kind), canonical(fields, typed, depth))
    if kind is functools.partial:
        rest = (value.func, value.args, value.keywords)
        return ("partial", canonical(rest, typed, depth))
    if isinstance(value, (types.FunctionType, types.MethodType, types.BuiltinFunctionType, type)):
        return _callable(value, typed, depth)
    if module == "drystone" and hasattr(value, "_canonical"):
        return value._canonical(typed, depth)
    try:
        return ("key", kind.__name__, _encode(value))
    except TypeError:
        return _pickled(value, kind)


#: The flag of types that a class statement has made (Py_TPFLAGS_HEAPTYPE).
_MADE_BY_CLASS = 1 << 9


def _is_its_fields(kind):
    """Whether a dataclass holds nothing besides its fields and what is in its `__dict__`."""
    known = {it.name for it in dataclasses.fields(kind)} | {"__dict__", "__weakref__"}
    for base in kind.__mro__[:-1]:
        slots = vars(base).get("__slots__", ())
        slots = {slots} if isinstance(slots, str) else set(slots)
        # A list or an exception has contents of its own.
        if not base.__flags__ & _MADE_BY_CLASS or not known.issuperset(slots):
            return False
    return True


def _module(name):
    # A spawned process calls so what its parent calls __main__.
    return "__main__" if name == "__mp_main__" else name


def _named(kind):
    return f"{_module(kind.__module__)}.{kind.__qualname__}"


# Arrays ------------------------------------------------------------------------------------------------------------


def _array(numpy, array, kind, typed, depth):
    if kind is numpy.ma.MaskedArray:
        plain = numpy.asarray(array.filled(numpy.zeros((), array.dtype)[()]))
        parts = (plain, numpy.ma.getmaskarray(array), numpy.asarray(array.fill_value))
        return ("masked", canonical(parts, typed, depth))
    if kind is not numpy.ndarray and kind is not numpy.memmap:
        # A unit, say, is an attribute.
        attributes = dict(getattr(array, "__dict__", {}))
        return ("subclass", _named(kind), canonical((numpy.asarray(array), attributes), typed, depth))
    array = numpy.asarray(array)
    if array.dtype.hasobject or type(array.dtype).__name__ == "StringDType":
        items = canonical(array.reshape(-1).tolist(), typed, depth)
        return ("objects", str(array.dtype), array.shape, items)
    try:
        descr = array.dtype.str if array.dtype.names is None else repr(numpy.lib.format.dtype_to_descr(array.dtype))
    except (TypeError, ValueError):
        descr = repr(array.dtype)
    return ("array", descr, array.shape, _content(numpy, array))


def _content(numpy, array):
    """The digest of the elements in C's order, without a copy of the whole."""
    if array.nbytes == 0:
        return b""
    if array.dtype.names is not None and _has_padding(array.dtype):
        return hash_buffer(b"".join(_content(numpy, array[name]) for name in array.dtype.names))
    if array.dtype.kind in "fc" and array.dtype.itemsize > 8 and _counted_bytes(numpy, array.dtype) < 16:
        return _extended(numpy, array)
    if array.dtype.char not in _BUFFERS:
        # Times and texts are no buffers; bytes of the same size are.
        array = array.view(numpy.dtype((numpy.void, array.dtype.itemsize)))
    return hash_buffer(array if array.ndim else array.reshape(1))


def _has_padding(dtype):
    """Whether an element has bytes that none of its fields are in, or that two are, or fields that have padding."""
    fields = [dtype.fields[name][0] for name in dtype.names]
    if sum(field.itemsize for field in fields) != dtype.itemsize:
        return True
    return any(_is_padded(field) for field in fields)


def _is_padded(field):
    base = field.base
    if base.names is not None:
        return _has_padding(base)
    return base.kind in "fc" and base.char in "gG"


def _counted_bytes(numpy, dtype):
    """Bytes of a real number that count: those of x86 with 80 bits stand in 16."""
    if dtype.char not in "gG":
        return 16
    return 10 if numpy.finfo(numpy.longdouble).nmant == 63 else 16


def _extended(numpy, array):
    width = numpy.dtype(numpy.longdouble).itemsize
    order = slice(0, 10) if array.dtype.newbyteorder("=") == array.dtype else slice(width - 10, width)
    plain = numpy.ascontiguousarray(array).reshape(-1).view(numpy.uint8).reshape(-1, width)
    return hash_buffer(numpy.ascontiguousarray(plain[:, order]).reshape(-1))


# Tables ------------------------------------------------------------------------------------------------------------


def _table(value, kind, module, typed, depth):
    if module == "pyarrow":
        return _arrow(value, kind)
    if module == "polars":
        return _polars(value, kind)
    from drystone import _frames

    # Tables of pandas are what they are stored as, but for Arrow's memory.
    try:
        taken = _frames.take(value, lambda table: (str(table.schema), *_columns(table)))
    except UnsupportedType:
        return None
    return None if taken is None else ("table", taken[0], canonical(taken[1], typed, depth))


def _arrow(value, kind):
    import pyarrow

    if isinstance(value, (pyarrow.Array, pyarrow.ChunkedArray)):
        table = pyarrow.table({"": value})
    elif kind in (pyarrow.Table, pyarrow.RecordBatch):
        table = value
    else:
        return None
    return ("table", kind.__name__, hash_buffer(table.schema.serialize()), table.num_rows, _columns(table))


def _columns(table):
    return tuple(_column(column) for column in table.columns)


def _column(column):
    """The digest of a column, however it is cut into pieces and whatever stands where nothing is."""
    import pyarrow

    from drystone._types import _ipc

    if isinstance(column, pyarrow.ChunkedArray):
        column = column.combine_chunks() if column.num_chunks != 1 else column.chunk(0)
        if isinstance(column, pyarrow.ChunkedArray):
            column = pyarrow.concat_arrays(column.chunks)
    kind = column.type
    has_texts = pyarrow.types.is_large_string(kind) or pyarrow.types.is_string(kind)
    if column.null_count == 0 and pyarrow.types.is_primitive(kind) and not pyarrow.types.is_boolean(kind):
        width = kind.bit_width // 8
        data = column.buffers()[1]
        return hash_buffer(data.slice(column.offset * width, len(column) * width)) if len(column) else b""
    if column.null_count or not has_texts:
        # Bits that only pad, and values that are not there, become the same ones.
        column = column.take(pyarrow.array(range(len(column)), pyarrow.int64()))
    return hash_buffer(_ipc(pyarrow.table({"": column})))


def _polars(value, kind):
    """Texts as they were before Arrow's views of them, whose memory depends on how they came about."""
    import polars

    from drystone._types import polars_to_arrow

    if kind not in (polars.DataFrame, polars.Series):
        return None
    oldest = {"compat_level": polars.CompatLevel.oldest()} if hasattr(polars, "CompatLevel") else {}
    name, frame = (value.name, value.to_frame("")) if kind is polars.Series else (None, value)
    try:
        table = polars_to_arrow(polars, frame.rechunk(), **oldest)
    except UnsupportedType as error:
        raise Unhashable(f"an argument cannot be told from others by its content: {error}") from error
    return ("polars", kind.__name__, name, str(frame.schema), _arrow(table, type(table)))


# Code --------------------------------------------------------------------------------------------------------------


def code_digest(function):
    """What a function does: its bytecode, constants, defaults and what it closes over, and those of the functions in it and of
    what it wraps; not where it stands, nor what the functions that it calls by name do."""
    function = getattr(function, "__func__", function)
    wrapped = getattr(function, "__wrapped__", None)
    if getattr(function, "__code__", None) is None and wrapped is None:
        raise Unhashable(
            f"the code of {function!r} is not to be had: it is not written in Python. Pass version= to say when it changes"
        )
    return hash_buffer(_encode(_function(function, _leniently)))


def _function(function, of):
    """Code, defaults, what it closes over, and what it wraps."""
    code = getattr(function, "__code__", None)
    cells = tuple(_cell(cell, of) for cell in getattr(function, "__closure__", None) or ())
    wrapped = getattr(function, "__wrapped__", None)
    return (
        "code",
        _named(type(function)) if code is None else _code(code),
        of(getattr(function, "__defaults__", None)),
        of(getattr(function, "__kwdefaults__", None)),
        cells,
        None if wrapped is None else _once(wrapped, lambda: hash_buffer(_encode(_function(wrapped, of)))),
    )


def _leniently(value):
    """What a function closes over need not be told apart: a lock or a connection is only of some type."""
    try:
        return canonical(value, True)
    except (Unhashable, RecursionError):
        return ("a", _named(type(value)))


def _once(function, of):
    """What `of` says of a function, or its place among those that are being looked at."""
    stack = _OPEN.__dict__.setdefault("stack", [])
    for above, other in enumerate(reversed(stack)):
        if other is function:
            return ("above", above)
    stack.append(function)
    try:
        return of()
    finally:
        stack.pop()


def _code(code):
    constants = tuple(_constant(it) for it in code.co_consts)
    names = (code.co_names, code.co_varnames[: code.co_argcount + code.co_kwonlyargcount], code.co_freevars)
    return (code.co_code, getattr(code, "co_exceptiontable", b""), code.co_flags, constants, *names)


def _constant(value):
    if isinstance(value, types.CodeType):
        return hash_buffer(_encode(_code(value)))
    if isinstance(value, (int, float, complex)):
        # Also by type and sign.
        return (type(value).__name__, repr(value))
    if isinstance(value, tuple):
        return ("tuple", *(_constant(it) for it in value))
    if isinstance(value, frozenset):
        return ("set", *sorted(_encode(_constant(it)) for it in value))
    return canonical(value)


def _callable(value, typed, depth):
    if isinstance(value, type):
        return ("class", _named(value))
    if isinstance(value, types.MethodType):
        return ("method", canonical((value.__func__, value.__self__), typed, depth))
    if isinstance(value, types.BuiltinFunctionType):
        name, owner = f"{value.__module__}.{value.__qualname__}", value.__self__
        bound = None if isinstance(owner, types.ModuleType) else canonical(owner, typed, depth)
        return ("builtin", name, bound)
    # It takes more of Python's stack than a container does.
    said = _once(value, lambda: hash_buffer(_encode(_function(value, lambda it: canonical(it, typed, depth + 5)))))
    return ("function", _named(value), said)


def _cell(cell, of):
    try:
        content = cell.cell_contents
    except ValueError:
        return ("empty",)
    return of(content)


class _Pickler(pickle.Pickler):
    """Names what stands in the main module alike in all processes, and looks into functions that have no name."""

    def persistent_id(self, value):
        if isinstance(value, types.FunctionType):
            main = _module(value.__module__) == "__main__"
            return _encode(_callable(value, False, 5)) if main or "<" in value.__qualname__ else None
        if isinstance(value, type) and _module(value.__module__) == "__main__":
            return _named(value)
        return None


def _pickled(value, kind):
    buffers, out = [], io.BytesIO()
    try:
        _Pickler(out, protocol=5, buffer_callback=buffers.append).dump(value)
        parts = tuple(hash_buffer(buffer.raw()) for buffer in buffers)
    except Exception as error:
        raise Unhashable(
            f"an argument of type {_named(kind)} cannot be told from others by its content: {error}; leave it out with ignore="
        ) from error
    return ("pickle", _named(kind), hash_buffer(out.getvalue()), parts)
