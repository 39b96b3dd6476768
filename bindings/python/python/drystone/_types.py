"""What the codec does not do itself: other types are taken apart into values that it knows, and put together again.

`take_apart` gives ("array", header, buffer), ("buffer", None, buffer), or ("name", name, value). Nothing here executes
what was stored, except pickles, and these only where they are allowed.
"""

import ast
import datetime
import decimal
import pathlib
import pickle as _pickle
import sys
import uuid

from drystone import _drystone
from drystone._drystone import BadValue, UnsupportedType

# Headers of arrays that were met, by their bytes, and the other way round: few kinds of arrays are many arrays.
_headers_read = {}
_headers_made = {}
_HEADERS_MAX = 4096


def _numpy():
    return sys.modules.get("numpy")


# Arrays ------------------------------------------------------------------------------------------------------------


def array_header(array):
    """The first bytes of the array as a `.npy` file, and whether its data are in Fortran's order."""
    fortran = array.flags.f_contiguous and not array.flags.c_contiguous
    return header_for(array.dtype, array.shape, fortran), fortran


def header_for(dtype, shape, fortran):
    """The first bytes of a `.npy` file, as `numpy.save` writes them."""
    known = (dtype, shape, fortran)
    try:
        header = _headers_made.get(known)
    except TypeError:
        header = None
    if header is None:
        import io

        import numpy

        said = {
            "descr": numpy.lib.format.dtype_to_descr(dtype),
            "fortran_order": fortran,
            "shape": shape,
        }
        out = io.BytesIO()
        for version in ((1, 0), (2, 0), (3, 0)):
            try:
                _write_header(out, said, version)
                break
            except (ValueError, UnicodeEncodeError):
                out = io.BytesIO()
        header = out.getvalue()
        if len(_headers_made) >= _HEADERS_MAX:
            _headers_made.clear()
        # A dtype with metadata equals one without, and is written alike.
        _headers_made[known] = header
    return header


def _write_header(out, said, version):
    import numpy

    if version == (1, 0):
        numpy.lib.format.write_array_header_1_0(out, said)
    elif version == (2, 0):
        numpy.lib.format.write_array_header_2_0(out, said)
    else:
        private = getattr(numpy.lib.format, "_write_array_header", None)
        if private is None:
            from numpy.lib import _format_impl

            private = _format_impl._write_array_header
        private(out, said, version)


def array_parts(array):
    """Header and data, as a contiguous buffer of bytes, of an array without Python objects in it."""
    import numpy

    if array.dtype.hasobject or type(array.dtype).__name__ == "StringDType":
        raise UnsupportedType(
            f"an array of {array.dtype} holds Python objects, which are not stored: convert it, or use pickle=True"
        )
    if not (array.flags.c_contiguous or array.flags.f_contiguous):
        array = numpy.ascontiguousarray(array)
    header, fortran = array_header(array)
    data = array.T if fortran else array
    if data.nbytes == 0:
        return header, b""
    return header, data.reshape(-1).view(numpy.uint8) if data.ndim else data.reshape(1).view(numpy.uint8)


def _read_header(header):
    """dtype, shape, order and offset of the data of a `.npy` file; nothing of it is executed."""
    import numpy

    if header[:6] != b"\x93NUMPY" or len(header) < 12:
        raise BadValue("a stored value cannot be decoded: its array is no .npy file")
    if header[6] == 1:
        start, length = 10, int.from_bytes(header[8:10], "little")
    elif header[6] in (2, 3):
        start, length = 12, int.from_bytes(header[8:12], "little")
    else:
        raise BadValue("a stored value cannot be decoded: its array has an unknown version")
    text = bytes(header[start : start + length])
    try:
        said = ast.literal_eval(text.decode("utf-8" if header[6] == 3 else "latin-1").strip())
        descr, shape, fortran = said["descr"], said["shape"], said["fortran_order"]
        dtype = numpy.lib.format.descr_to_dtype(descr)
        whole = isinstance(shape, tuple) and all(type(n) is int and n >= 0 for n in shape)
    except Exception as error:
        raise BadValue(f"a stored value cannot be decoded: the header of its array: {error}") from None
    if not whole or dtype.hasobject or type(fortran) is not bool:
        raise BadValue("a stored value cannot be decoded: the header of its array")
    return dtype, shape, "F" if fortran else "C", start + length


def array_in(buffer):
    """The array in the bytes of a `.npy` file: read-only, a view of the buffer, which it keeps."""
    import numpy

    view = memoryview(buffer)
    if len(view) < 12:
        raise BadValue("a stored value cannot be decoded: its array is cut short")
    length = int.from_bytes(view[8:10], "little") + 10
    if view[6] != 1:
        length = int.from_bytes(view[8:12], "little") + 12
    if length > min(len(view), 1 << 20):
        raise BadValue("a stored value cannot be decoded: its array is cut short")
    header = bytes(view[:length])
    known = _headers_read.get(header)
    if known is None:
        known = _read_header(header)
        if len(_headers_read) >= _HEADERS_MAX:
            _headers_read.clear()
        _headers_read[header] = known
    dtype, shape, order, offset = known
    try:
        return numpy.ndarray(shape, dtype, buffer, offset, None, order)
    except (TypeError, ValueError) as error:
        raise BadValue(f"a stored value cannot be decoded: {error}") from None


# Taking apart ------------------------------------------------------------------------------------------------------


def _zone(zone):
    if zone is None:
        return None
    if type(zone) is datetime.timezone:
        name = zone.tzname(None)
        return ("fixed", _delta(zone.utcoffset(None)), name)
    key = getattr(zone, "key", None)
    if type(zone).__module__ == "zoneinfo" and key:
        return ("zone", key)
    raise UnsupportedType(f"a time zone of type {type(zone).__name__} is not stored: use zoneinfo or datetime.timezone")


def _zone_back(said):
    if said is None:
        return None
    if said[0] == "fixed":
        offset = _delta_back(said[1])
        plain = datetime.timezone(offset)
        return plain if plain.tzname(None) == said[2] else datetime.timezone(offset, said[2])
    import zoneinfo

    return zoneinfo.ZoneInfo(said[1])


def _delta(delta):
    return (delta.days, delta.seconds, delta.microseconds)


def _delta_back(said):
    return datetime.timedelta(*said)


def _time(time):
    return (time.hour, time.minute, time.second, time.microsecond, time.fold, _zone(time.tzinfo))


def _take_datetime(value):
    return ((value.year, value.month, value.day), _time(value))


def _put_datetime(said):
    (year, month, day), (hour, minute, second, micro, fold, zone) = said
    return datetime.datetime(year, month, day, hour, minute, second, micro, _zone_back(zone), fold=fold)


def _put_time(said):
    hour, minute, second, micro, fold, zone = said
    return datetime.time(hour, minute, second, micro, _zone_back(zone), fold=fold)


_PATHS = {
    cls.__name__: cls
    for cls in (pathlib.PurePosixPath, pathlib.PureWindowsPath, pathlib.PosixPath)
}

_TAKE = {
    datetime.date: ("date", lambda it: (it.year, it.month, it.day)),
    datetime.time: ("time", _time),
    datetime.datetime: ("datetime", _take_datetime),
    datetime.timedelta: ("timedelta", _delta),
    datetime.timezone: ("timezone", _zone),
    decimal.Decimal: ("decimal", str),
    uuid.UUID: ("uuid", lambda it: it.bytes),
    range: ("range", lambda it: (it.start, it.stop, it.step)),
    slice: ("slice", lambda it: (it.start, it.stop, it.step)),
    type(...): ("ellipsis", lambda it: None),
    **{cls: ("path", lambda it: (type(it).__name__, str(it))) for cls in _PATHS.values()},
}

_PUT = {
    "date": lambda it: datetime.date(*it),
    "time": _put_time,
    "datetime": _put_datetime,
    "timedelta": _delta_back,
    "timezone": _zone_back,
    "decimal": decimal.Decimal,
    "uuid": lambda it: uuid.UUID(bytes=it),
    "range": lambda it: range(*it),
    "slice": lambda it: slice(*it),
    "ellipsis": lambda it: ...,
    "path": lambda it: _PATHS[it[0]](it[1]),
    "surrogates": lambda it: it.decode("utf-8", "surrogatepass"),
}

# A key and its value may be of these: what they hold tells them apart, and does not change.
_KEYS = {datetime.date, datetime.time, datetime.datetime, datetime.timedelta, decimal.Decimal, uuid.UUID, range}
_KEYS.update(_PATHS.values())


def _key_form(value):
    """Equal values give equal forms."""
    if type(value) is decimal.Decimal:
        if value.is_finite() and value == value.to_integral_value():
            return int(value)
        return ("decimal", str(value.normalize()))
    return None


def take_apart(value, pickle, is_key):
    """See the module."""
    kind = type(value)
    if is_key:
        return _take_key(value, kind)
    if kind is _Buffer:
        return "buffer", None, value.view
    known = _TAKE.get(kind)
    if known is not None:
        return "name", known[0], known[1](value)
    numpy = _numpy()
    if numpy is not None:
        if isinstance(value, numpy.ndarray):
            taken = _take_array(numpy, value, kind, pickle)
            if taken is not None:
                return taken
        elif isinstance(value, numpy.generic) and not value.dtype.hasobject:
            return "name", "numpy scalar", numpy.asarray(value)
        elif isinstance(value, numpy.dtype) and not value.hasobject:
            return "name", "dtype", repr(numpy.lib.format.dtype_to_descr(value))
    taken = _take_table(value, kind)
    if taken is not None:
        return taken
    if pickle:
        buffers = []
        try:
            pickled = _pickle.dumps(value, protocol=5, buffer_callback=buffers.append)
        except Exception as error:
            raise UnsupportedType(f"a {kind.__name__} cannot be pickled: {error}") from error
        return "name", "pickle", (pickled, [_Buffer(buffer.raw()) for buffer in buffers])
    raise UnsupportedType(
        f"a value of type {kind.__module__}.{kind.__qualname__} is not stored as it is: convert it to numbers, texts, "
        "containers or arrays, or open the cache with pickle=True if you trust whoever can write it"
    )


class _Buffer:
    """Stands for bytes that are to be a part of their own, whatever their length."""

    __slots__ = ("view",)

    def __init__(self, view):
        self.view = view

    def _canonical(self, typed, depth):
        return ("buffer", _drystone.hash_buffer(self.view))


def _take_key(value, kind):
    if kind in _KEYS:
        form = _key_form(value)
        if type(form) is int:
            return "name", "whole", form
        name, take = _TAKE[kind]
        return "name", name, form[1] if form else take(value)
    numpy = _numpy()
    if numpy is not None and isinstance(value, numpy.generic) and not value.dtype.hasobject:
        return "name", "numpy scalar", (value.dtype.str, value.tobytes())
    raise UnsupportedType(
        f"a key of type {kind.__module__}.{kind.__qualname__} cannot be used: keys are numbers, texts, bytes, None, times, "
        "paths, and tuples and frozensets of them"
    )


def _take_array(numpy, value, kind, pickle):
    if value.dtype.hasobject or type(value.dtype).__name__ == "StringDType":
        if pickle:
            return None
        raise UnsupportedType(
            f"an array of {value.dtype} holds Python objects, which are not stored: convert it, or open the cache with "
            "pickle=True if you trust whoever can write it"
        )
    if kind is numpy.ndarray or kind is numpy.memmap:
        header, data = array_parts(numpy.asarray(value))
        return "array", header, data
    if kind is numpy.ma.MaskedArray:
        mask = None if value.mask is numpy.ma.nomask else numpy.asarray(value.mask)
        said = (numpy.asarray(value.data), mask, numpy.asarray(value.fill_value), bool(value.hardmask))
        return "name", "masked array", said
    if kind is numpy.recarray or kind is numpy.matrix:
        return "name", kind.__name__, value.view(numpy.ndarray, *(
            [numpy.dtype(value.dtype.descr)] if kind is numpy.recarray and value.dtype.names else []))
    return None


def _take_table(value, kind):
    module = kind.__module__.partition(".")[0]
    if module == "pandas":
        return _take_pandas(value, kind)
    if module == "pyarrow" and kind.__name__ in ("Table", "RecordBatch") or kind.__name__ == "ChunkedArray":
        import pyarrow

        if kind is pyarrow.Table:
            return "name", "arrow table", _Buffer(_ipc(value))
        if kind is pyarrow.RecordBatch:
            return "name", "arrow batch", _Buffer(_ipc(pyarrow.Table.from_batches([value])))
        if kind is pyarrow.ChunkedArray:
            return "name", "arrow chunked", _Buffer(_ipc(pyarrow.table({"": value})))
    if module == "pyarrow":
        import pyarrow

        if isinstance(value, pyarrow.Array):
            return "name", "arrow array", _Buffer(_ipc(pyarrow.table({"": value})))
    if module == "polars":
        import polars

        if kind is polars.DataFrame:
            return "name", "polars frame", _Buffer(_ipc(value.to_arrow()))
        if kind is polars.Series:
            return "name", "polars series", _Buffer(_ipc(value.to_frame(value.name).to_arrow()))
    return None


def _take_pandas(value, kind):
    import pandas

    if kind is pandas.Timestamp:
        return None if value.nanosecond else ("name", "timestamp", value.to_pydatetime())
    if kind not in (pandas.DataFrame, pandas.Series) and not isinstance(value, pandas.Index):
        return None
    try:
        import pyarrow
    except ImportError:
        raise UnsupportedType("tables of pandas are stored through pyarrow: install it, or use pickle=True") from None
    try:
        if kind is pandas.DataFrame:
            table = pyarrow.Table.from_pandas(value, preserve_index=True)
            return "name", "pandas frame", (_Buffer(_ipc(table)),)
        if kind is pandas.Series:
            table = pyarrow.Table.from_pandas(value.to_frame("value"), preserve_index=True)
            return "name", "pandas series", (_Buffer(_ipc(table)), _label(value.name))
        frame = value.to_frame(index=False)
        table = pyarrow.Table.from_pandas(frame, preserve_index=False)
        return "name", "pandas index", (_Buffer(_ipc(table)), [_label(name) for name in value.names])
    except (pyarrow.ArrowInvalid, pyarrow.ArrowTypeError, pyarrow.ArrowNotImplementedError) as error:
        raise UnsupportedType(f"pyarrow cannot hold this {kind.__name__}: {error}") from error


def _label(name):
    return name if name is None or type(name) in (str, int, float, bool, tuple) else str(name)


def _ipc(table):
    import pyarrow

    sink = pyarrow.BufferOutputStream()
    with pyarrow.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    return sink.getvalue()


# Putting together --------------------------------------------------------------------------------------------------


def _table(buffer):
    import pyarrow

    with pyarrow.ipc.open_stream(pyarrow.py_buffer(buffer)) as reader:
        return reader.read_all()


def _put_masked(numpy, said):
    data, mask, fill, hard = said
    array = numpy.ma.MaskedArray(data, numpy.ma.nomask if mask is None else mask, copy=False, hard_mask=hard)
    array.fill_value = fill
    return array


def _put_pandas(name, said):
    table = _table(said[0])
    if name == "pandas frame":
        return table.to_pandas()
    if name == "pandas series":
        series = table.to_pandas()["value"]
        series.name = said[1]
        return series
    import pandas

    frame = table.to_pandas()
    if len(said[1]) > 1:
        return pandas.MultiIndex.from_frame(frame, names=said[1])
    return pandas.Index(frame.iloc[:, 0], name=said[1][0])


def put_together(name, said, pickle):
    """The value of a name that `take_apart` gave, and of what it was taken apart into."""
    try:
        known = _PUT.get(name)
        if known is not None:
            return known(said)
        if name == "pickle":
            if not pickle:
                raise UnsupportedType(
                    "the value is a pickle, which can execute anything: open the cache with pickle=True if you trust "
                    "whoever can write it"
                )
            return _pickle.loads(said[0], buffers=said[1])
        if name in ("numpy scalar", "masked array", "recarray", "matrix", "dtype"):
            import numpy

            if name == "numpy scalar":
                if type(said) is tuple:
                    return numpy.frombuffer(said[1], said[0])[0]
                return said[()]
            if name == "dtype":
                return numpy.lib.format.descr_to_dtype(ast.literal_eval(said))
            if name == "masked array":
                return _put_masked(numpy, said)
            return said.view(getattr(numpy, name))
        if name == "whole":
            return said
        if name == "timestamp":
            import pandas

            return pandas.Timestamp(said)
        if name.startswith("pandas "):
            return _put_pandas(name, said)
        if name.startswith("arrow "):
            table = _table(said)
            if name == "arrow table":
                return table
            if name == "arrow batch":
                return table.combine_chunks().to_batches()[0] if table.num_rows else table.to_batches()[0]
            column = table.column(0)
            return column if name == "arrow chunked" else column.combine_chunks()
        if name.startswith("polars "):
            import polars

            frame = polars.from_arrow(_table(said))
            return frame if name == "polars frame" else frame.to_series()
    except (UnsupportedType, BadValue, ImportError):
        raise
    except Exception as error:
        raise BadValue(f"a stored value cannot be decoded: {name}: {error}") from error
    raise BadValue(f"a stored value cannot be decoded: there is nothing that is called {name[:80]!r}")
