"""What the codec does not do itself: other types are taken apart into values that it knows, and put together again.

`take_apart` gives ("array", header, buffer), ("buffer", None, buffer), ("value", None, value) for what is encoded instead, or
("name", name, value). Nothing here executes
what was stored, except pickles, and these only where they are allowed.
"""

import ast
import datetime
import decimal
import pathlib
import pickle as _pickle
import sys
import uuid
import zoneinfo

from drystone import _drystone
from drystone._drystone import BadValue, Damaged, UnsupportedType

# Headers of arrays that were met, by their bytes, and the other way round: few kinds of arrays are many arrays.
_headers_read = {}
_headers_made = {}
_HEADERS_MAX = 4096
# From here on bytes are a part of their own.
_PART_BYTES_MIN = 64 << 10


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
            "descr": _descr(numpy, dtype),
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


def _descr(numpy, dtype):
    """A dtype as a `.npy` file says it."""
    try:
        return numpy.lib.format.dtype_to_descr(dtype)
    except ValueError as error:
        raise UnsupportedType(
            f"the type {dtype} is not stored as it is, for no .npy file can say where its fields are: copy the array to a type of "
            "which the fields follow each other (numpy.lib.recfunctions.repack_fields), or open the cache with pickle=True if you "
            "trust whoever can write it"
        ) from error


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


def has_texts(dtype):
    """Whether it is NumPy's for texts of any length (`StringDType`), which stand elsewhere than in the array."""
    return type(dtype).__name__ == "StringDType"


def refuse_objects(dtype):
    """An error if an array of this type has no elements that a `.npy` file holds."""
    if has_texts(dtype):
        raise UnsupportedType(
            f"an array of {dtype} has texts of any length, which no .npy file holds: put it into a Cache, which keeps it as it "
            "is, or convert it with astype(f'U{length}') or to bytes"
        )
    if dtype.hasobject:
        raise UnsupportedType(
            f"an array of {dtype} holds Python objects, which are not stored: convert it, or put it into a Cache that was "
            "opened with pickle=True"
        )


def array_parts(array):
    """Header and data, as a contiguous buffer of bytes, of an array without Python objects in it."""
    import numpy

    refuse_objects(array.dtype)
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
    zoneinfo.ZoneInfo: ("timezone", _zone),
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
    """What stands for a key, equal for equal ones: a Decimal that is whole is that number."""
    kind = type(value)
    if kind is decimal.Decimal and value.is_finite():
        sign, digits, exponent = value.as_tuple()
        text = "".join(map(str, digits)).lstrip("0")
        plain = text.rstrip("0")
        exponent += len(text) - len(plain)
        if not plain or 0 <= exponent <= _KEY_EXPONENT_MAX:
            return "value", None, int(value)
        # Not by normalize(), which rounds.
        return "name", "decimal", f"{'-' * sign}{plain}E{exponent}"
    if kind is range:
        # Its length may be more than len() can say.
        start, step = value.start, value.step
        count = max(0, -((start - value.stop) // step))
        if count < 2:
            return "name", "range", (start, start + 1, 1) if count else (0, 0, 1)
        return "name", "range", (start, start + (count - 1) * step + (1 if step > 0 else -1), step)
    name, take = _TAKE[kind]
    if kind is pathlib.PurePosixPath and pathlib.PurePosixPath("/") == pathlib.Path("/"):
        return "name", name, (pathlib.PosixPath.__name__, str(value))
    return "name", name, take(value)


# A larger power of ten is no number that is written out.
_KEY_EXPONENT_MAX = 1000


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
    try:
        taken = None if numpy is None else _take_numpy(numpy, value, kind, pickle)
        if taken is None:
            taken = _take_table(value, kind)
        if taken is not None:
            return taken
    except UnsupportedType:
        if not pickle:
            raise
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
        return _key_form(value)
    numpy = _numpy()
    if numpy is not None and isinstance(value, numpy.generic) and not value.dtype.hasobject:
        return "name", "numpy scalar", (value.dtype.str, value.tobytes())
    raise UnsupportedType(
        f"a key of type {kind.__module__}.{kind.__qualname__} cannot be used: keys are numbers, texts, bytes, None, times, "
        "paths, and tuples and frozensets of them"
    )


def _take_numpy(numpy, value, kind, pickle):
    if not isinstance(value, (numpy.ndarray, numpy.generic, numpy.dtype)):
        return None
    dtype = value if isinstance(value, numpy.dtype) else value.dtype
    if dtype.names is not None and not dtype.hasobject:
        # What no .npy file can say is known here, and not first where it stands within another value.
        _descr(numpy, dtype)
    if isinstance(value, numpy.ndarray):
        return _take_array(numpy, value, kind, pickle)
    if dtype.hasobject:
        return None
    if isinstance(value, numpy.generic):
        return "name", "numpy scalar", numpy.asarray(value)
    return ("name", "dtype", repr(_descr(numpy, dtype))) if value is dtype else None


def _take_array(numpy, value, kind, pickle):
    if has_texts(value.dtype) and kind is numpy.ndarray:
        missing = (value.dtype.na_object,) if hasattr(value.dtype, "na_object") else ()
        return "name", "text array", (value.shape, missing, value.dtype.coerce, value.reshape(-1).tolist())
    if value.dtype.hasobject and not has_texts(value.dtype):
        if pickle:
            return None
        raise UnsupportedType(
            f"an array of {value.dtype} holds Python objects, which are not stored: convert it, or open the cache with "
            "pickle=True if you trust whoever can write it"
        )
    if kind is numpy.ndarray or kind is numpy.memmap:
        header, data = array_parts(numpy.asarray(value))
        return "array", header, data
    if value is numpy.ma.masked:
        return "name", "masked", None
    if kind is numpy.ma.MaskedArray:
        mask = None if value.mask is numpy.ma.nomask else numpy.asarray(value.mask)
        default = numpy.ma.MaskedArray(numpy.zeros(1, value.dtype)).fill_value
        fill = None if repr(value.fill_value) == repr(default) else numpy.asarray(value.fill_value)
        said = (numpy.asarray(value.data), mask, fill, bool(value.hardmask))
        return "name", "masked array", said
    if kind is numpy.recarray or kind is numpy.matrix:
        dtype = value.dtype if value.dtype.names is None else numpy.dtype((numpy.void, value.dtype))
        return "name", kind.__name__, value.view(dtype, numpy.ndarray)
    return None


def _take_table(value, kind):
    module = kind.__module__.partition(".")[0]
    if module == "pandas":
        return _take_pandas(value)
    if module == "pyarrow" and kind.__name__ in ("Table", "RecordBatch") or kind.__name__ == "ChunkedArray":
        import pyarrow

        if kind is pyarrow.Table:
            return "name", "arrow table", _stream(value)
        if kind is pyarrow.RecordBatch:
            return "name", "arrow batch", _stream(pyarrow.Table.from_batches([value]))
        if kind is pyarrow.ChunkedArray:
            return "name", "arrow chunked", _stream(pyarrow.table({"": value}))
    if module == "pyarrow":
        import pyarrow

        if isinstance(value, pyarrow.Array):
            return "name", "arrow array", _stream(pyarrow.table({"": value}))
    if module == "polars":
        import polars

        if kind is polars.DataFrame:
            return "name", "polars frame", _stream(polars_to_arrow(polars, value))
        if kind is polars.Series:
            return "name", "polars series", _stream(polars_to_arrow(polars, value.to_frame(value.name)))
    return None


def polars_to_arrow(polars, frame, **options):
    """A frame of polars as a table of Arrow's; UnsupportedType if it has columns that Arrow does not know."""
    import pyarrow

    for name, dtype in frame.schema.items():
        # Their addresses are what Arrow would get.
        if _holds_objects(polars, dtype):
            raise UnsupportedType(
                f"the column {name!r} of {dtype} of polars holds Python objects, which are not stored: convert it"
            )
    try:
        return frame.to_arrow(**options)
    except (pyarrow.ArrowException, polars.exceptions.PolarsError) as error:
        raise UnsupportedType(
            f"a table of polars with the columns {dict(frame.schema)} is not stored as it is, because Arrow has no such "
            f"type: {error}; convert it, or open the cache with pickle=True if you trust whoever can write it"
        ) from error


def _holds_objects(polars, dtype):
    inner = getattr(dtype, "inner", None)
    fields = [field.dtype for field in getattr(dtype, "fields", ())]
    within = fields if inner is None else [inner, *fields]
    return dtype == polars.Object or any(_holds_objects(polars, it) for it in within)


def _take_pandas(value):
    from drystone import _frames

    taken = _frames.take(value, _stream)
    return None if taken is None else ("name", *taken)


def _stream(table):
    """A table of Arrow's as a part of its own, or as bytes where it is small."""
    view = _ipc(table)
    return _Buffer(view) if view.size >= _PART_BYTES_MIN else view.to_pybytes()


def _ipc(table):
    import pyarrow

    sink = pyarrow.BufferOutputStream()
    with pyarrow.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    return sink.getvalue()


# Putting together --------------------------------------------------------------------------------------------------


def _table(buffer):
    """Small ones are looked at to the end. Large ones, which are read in place, are hashed when they are first read in a process:
    that finds any damage, and is one pass over the bytes, where looking at texts takes several."""
    import pyarrow

    if isinstance(buffer, _drystone.Blob):
        buffer._verify()
    with pyarrow.ipc.open_stream(pyarrow.py_buffer(buffer)) as reader:
        table = reader.read_all()
    table.validate(full=len(memoryview(buffer)) < _PART_BYTES_MIN)
    return table


def _put_masked(numpy, said):
    data, mask, fill, hard = said
    array = numpy.ma.MaskedArray(data, numpy.ma.nomask if mask is None else mask, copy=False, hard_mask=hard)
    if fill is not None:
        array.fill_value = fill
    return array


def _put_texts(numpy, said):
    shape, missing, coerce, texts = said
    kind = getattr(getattr(numpy, "dtypes", None), "StringDType", None)
    if kind is None:
        raise UnsupportedType(
            f"the value is an array of texts of any length (StringDType), which NumPy {numpy.__version__} does not have: "
            "install NumPy 2"
        )
    dtype = kind(na_object=missing[0], coerce=coerce) if missing else kind(coerce=coerce)
    return numpy.array(texts, dtype).reshape(shape)


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
        if name in ("numpy scalar", "masked array", "masked", "recarray", "matrix", "dtype", "text array"):
            import numpy

            if name == "numpy scalar":
                if type(said) is tuple:
                    return numpy.frombuffer(said[1], said[0])[0]
                return said[()]
            if name == "dtype":
                return numpy.lib.format.descr_to_dtype(ast.literal_eval(said))
            if name == "masked array":
                return _put_masked(numpy, said)
            if name == "masked":
                return numpy.ma.masked
            if name == "text array":
                return _put_texts(numpy, said)
            return said.view(getattr(numpy, name))
        if name.startswith("pandas "):
            from drystone import _frames

            return _frames.put(name, said)
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
    except (UnsupportedType, BadValue, Damaged, ImportError):
        raise
    except Exception as error:
        raise BadValue(f"a stored value cannot be decoded: {name}: {error}") from error
    raise BadValue(f"a stored value cannot be decoded: there is nothing that is called {name[:80]!r}")
