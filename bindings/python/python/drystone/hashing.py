"""Arguments by their content: equal ones have equal digests, whatever their layout, and others differ.

The rules:

* Numbers that are equal are the same, whatever their type (1, 1.0, True), unless types are asked for. Floats are told apart
  by their bits otherwise: 0.0 and -0.0 are the same number, nan is itself whatever its bits in a scalar.
* Arrays are what their dtype, their shape and their elements in C's order are, however they lie in memory: an array and
  its transpose differ unless they are equal, and so do float32 and float64. Elements are compared by their bits: in
  arrays 0.0 and -0.0 differ, and nans of different bits do.
* Lists and tuples differ; dicts and sets have no order.
* Functions are what they are called and what their code does; classes, what they are called.
* Other objects are what their pickle says; what cannot be pickled cannot be an argument.
"""

import dataclasses
import enum
import functools
import io
import math
import pickle
import sys
import types

from drystone._drystone import RawCache, Unhashable, hash_buffer

_encode = RawCache._encode_key
_PLAIN = {str, bytes, int, float, bool, type(None)}
_DEPTH_MAX = 200
#: Rows of an array that does not stand in a row are copied together up to so many bytes.
_BLOCK_BYTES = 4 << 20


def digest(value, *, typed=False):
    """The digest of a value: 16 bytes."""
    return hash_buffer(_encode(canonical(value, typed)))


def canonical(value, typed=False, depth=0):
    """A key of numbers, texts, bytes and tuples that stands for a value."""
    kind = type(value)
    if kind in _PLAIN:
        if kind is float and math.isnan(value):
            return ("nan",)
        if typed and kind in (int, float, bool):
            return ("typed", kind.__name__, value)
        return value
    if depth > _DEPTH_MAX:
        raise Unhashable(f"an argument holds containers more than {_DEPTH_MAX} deep, or itself")
    depth += 1
    if kind is tuple or kind is list:
        return (kind.__name__, *(canonical(item, typed, depth) for item in value))
    if kind is dict:
        pairs = [
            (_encode(canonical(key, typed, depth)), canonical(item, typed, depth)) for key, item in value.items()
        ]
        return ("dict", *sorted(pairs, key=lambda pair: pair[0]))
    if kind is set or kind is frozenset:
        return ("set", *sorted(_encode(canonical(item, typed, depth)) for item in value))
    if kind is bytearray or kind is memoryview:
        return ("bytes", kind.__name__, hash_buffer(value))
    return _object(value, kind, typed, depth)


def _object(value, kind, typed, depth):
    numpy = sys.modules.get("numpy")
    if numpy is not None:
        if isinstance(value, numpy.ndarray):
            return _array(numpy, value, kind, typed, depth)
        if isinstance(value, numpy.generic):
            if not typed and value.dtype.kind in "biuf" and value.dtype.itemsize <= 8:
                return canonical(value.item(), typed, depth)
            return ("scalar", value.dtype.str, value.tobytes())
        if isinstance(value, numpy.dtype):
            return ("dtype", repr(numpy.lib.format.dtype_to_descr(value)))
    module = kind.__module__.partition(".")[0]
    if module == "pandas":
        taken = _pandas(value, typed, depth)
        if taken is not None:
            return taken
    if module in ("pyarrow", "polars"):
        taken = _arrow(value, kind, module)
        if taken is not None:
            return taken
    if isinstance(value, enum.Enum):
        return ("enum", _named(kind), value.name)
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        fields = tuple((it.name, canonical(getattr(value, it.name), typed, depth)) for it in dataclasses.fields(value))
        return ("dataclass", _named(kind), fields)
    if isinstance(value, functools.partial):
        rest = (value.func, value.args, value.keywords)
        return ("partial", *(canonical(item, typed, depth) for item in rest))
    if isinstance(value, (types.FunctionType, types.MethodType, types.BuiltinFunctionType, type)):
        return _callable(value, typed, depth)
    try:
        return ("key", kind.__name__, _encode(value))
    except TypeError:
        return _pickled(value, kind)


def _named(kind):
    return f"{kind.__module__}.{kind.__qualname__}"


def _array(numpy, array, kind, typed, depth):
    if array.dtype.hasobject:
        items = tuple(canonical(item, typed, depth) for item in array.reshape(-1).tolist())
        return ("objects", str(array.dtype), array.shape, items)
    if isinstance(array, numpy.ma.MaskedArray):
        mask = numpy.ma.getmaskarray(array)
        data = numpy.where(mask, numpy.zeros((), array.dtype), array.data)
        return ("masked", _array(numpy, data, None, typed, depth), _array(numpy, mask, None, typed, depth))
    try:
        descr = array.dtype.str if array.dtype.names is None else repr(numpy.lib.format.dtype_to_descr(array.dtype))
    except (TypeError, ValueError):
        descr = repr(array.dtype)
    if type(array.dtype).__name__ == "StringDType":
        return ("strings", array.shape, tuple(array.reshape(-1).tolist()))
    return ("array", descr, array.shape, _content(numpy, array))


def _content(numpy, array):
    """The digest of the elements in C's order, without a copy of the whole."""
    array = numpy.asarray(array)
    if array.nbytes == 0:
        return b""
    if array.flags.c_contiguous:
        return hash_buffer(array.reshape(-1).view(numpy.uint8))
    if array.nbytes <= 2 * _BLOCK_BYTES or array.shape[0] == 1:
        return hash_buffer(numpy.ascontiguousarray(array).reshape(-1).view(numpy.uint8))
    # Chunk by chunk, as a contiguous one is hashed: chunks of 2 MiB, and then their digests.
    chunk = 2 << 20
    digests, rest = [], numpy.empty(0, numpy.uint8)
    rows = max(1, _BLOCK_BYTES // max(1, array.nbytes // array.shape[0]))
    for start in range(0, array.shape[0], rows):
        block = numpy.ascontiguousarray(array[start : start + rows]).reshape(-1).view(numpy.uint8)
        block = numpy.concatenate([rest, block]) if len(rest) else block
        whole = len(block) // chunk * chunk
        digests += [hash_buffer(block[at : at + chunk]) for at in range(0, whole, chunk)]
        rest = block[whole:]
    if len(rest):
        digests.append(hash_buffer(rest))
    return digests[0] if len(digests) == 1 else hash_buffer(b"".join(digests))


def _pandas(value, typed, depth):
    import pandas

    if isinstance(value, pandas.DataFrame):
        columns = tuple(_column(value.iloc[:, at], typed, depth) for at in range(value.shape[1]))
        return ("frame", canonical(list(value.columns), typed, depth), _index(value.index, typed, depth), columns)
    if isinstance(value, pandas.Series):
        name = canonical(value.name, typed, depth)
        return ("series", name, _index(value.index, typed, depth), _column(value, typed, depth))
    if isinstance(value, pandas.Index):
        return ("index", _index(value, typed, depth))
    return None


def _index(index, typed, depth):
    import pandas

    names = canonical(list(index.names), typed, depth)
    if isinstance(index, pandas.RangeIndex):
        return ("range", names, index.start, index.stop, index.step)
    if isinstance(index, pandas.MultiIndex):
        return ("multi", names, canonical([list(item) for item in index.tolist()], typed, depth))
    return ("index", names, _column(index, typed, depth))


def _column(column, typed, depth):
    import pandas

    if isinstance(column.dtype, pandas.CategoricalDtype):
        codes = column.cat.codes if isinstance(column, pandas.Series) else column.codes
        kinds = canonical(list(column.dtype.categories), typed, depth)
        return ("categories", kinds, bool(column.dtype.ordered), canonical(codes.to_numpy() if hasattr(codes, "to_numpy") else codes, typed, depth))
    array = column.to_numpy()
    if array.dtype.hasobject:
        items = tuple(("missing",) if item is None or item is pandas.NA else canonical(item, typed, depth) for item in array)
        return (str(column.dtype), items)
    return (str(column.dtype), canonical(array, typed, depth))


def _arrow(value, kind, module):
    from drystone._types import _ipc, _take_table

    taken = _take_table(value, kind)
    if taken is None:
        return None
    name, buffer = taken[1], taken[2]
    if name == "arrow table":
        buffer_view = _ipc(value.combine_chunks())
    else:
        buffer_view = buffer.view
    return ("table", name, hash_buffer(buffer_view))


def code_digest(function):
    """What a function does: its bytecode, constants and defaults, and those of the functions in it; not where it stands."""
    function = getattr(function, "__wrapped__", function)
    code = getattr(function, "__code__", None)
    if code is None:
        raise Unhashable(
            f"the code of {function!r} is not to be had: it is not written in Python. Pass version= to say when it changes"
        )
    said = (
        _code(code),
        canonical(getattr(function, "__defaults__", None)),
        canonical(getattr(function, "__kwdefaults__", None)),
    )
    return hash_buffer(_encode(said))


def _code(code):
    constants = tuple(_code(it) if isinstance(it, types.CodeType) else canonical(it) for it in code.co_consts)
    names = (code.co_names, code.co_varnames[: code.co_argcount + code.co_kwonlyargcount], code.co_freevars)
    return (code.co_code, code.co_flags, constants, *names)


def _callable(value, typed, depth):
    if isinstance(value, type):
        return ("class", _named(value))
    if isinstance(value, types.MethodType):
        return ("method", _callable(value.__func__, typed, depth), canonical(value.__self__, typed, depth))
    if isinstance(value, types.BuiltinFunctionType):
        return ("builtin", f"{value.__module__}.{value.__qualname__}")
    cells = tuple(_cell(cell, typed, depth) for cell in value.__closure__ or ())
    return ("function", _named(value), code_digest(value), cells)


def _cell(cell, typed, depth):
    try:
        content = cell.cell_contents
    except ValueError:
        return ("empty",)
    return canonical(content, typed, depth)


def _pickled(value, kind):
    buffers, out = [], io.BytesIO()
    try:
        pickle.Pickler(out, protocol=5, buffer_callback=buffers.append).dump(value)
        parts = tuple(hash_buffer(buffer.raw()) for buffer in buffers)
    except Exception as error:
        raise Unhashable(
            f"an argument of type {_named(kind)} cannot be told from others by its content: {error}; leave it out with ignore="
        ) from error
    return ("pickle", _named(kind), hash_buffer(out.getvalue()), parts)
