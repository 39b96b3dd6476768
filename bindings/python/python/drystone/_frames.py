"""pandas' tables, taken apart into arrays and lists: nothing of them is lost, and reading them copies nothing.

A table is its index, its columns' names, and its columns; a column is what stands in memory for it: an array, codes and
categories, values and a mask, or a buffer of Arrow's for texts. What is none of these is not taken apart.
"""

import pandas

from drystone._drystone import BadValue, UnsupportedType


def take(value, buffer):
    """Name and parts of a value of pandas, or None; UnsupportedType for a column of a kind that is not taken apart. buffer:
    makes a part of a table of Arrow's."""
    kind = type(value)
    is_own = kind.__module__.partition(".")[0] == "pandas"
    if kind is pandas.DataFrame:
        return "pandas frame", _frame(value, buffer)
    if kind is pandas.Series:
        return "pandas series", (
            _column(value.array, buffer), _index(value.index, buffer), value.name, dict(value.attrs)
        )  # fmt: skip
    if isinstance(value, pandas.Index) and is_own:
        return "pandas index", _index(value, buffer)
    if isinstance(value, pandas.api.extensions.ExtensionArray) and is_own:
        column = _column(value, buffer)
        return ("pandas array", column) if type(column) is tuple and column[0] != "objects" else None
    return _scalar(value, kind)


def put(name, said):
    """The value of a name and of its parts."""
    if name == "pandas frame":
        return _put_frame(*said)
    if name == "pandas series":
        column, index, label, attrs = said
        series = _series(_put_column(column), _put_index(index))
        series.name = label
        series.attrs.update(attrs)
        return series
    if name == "pandas index":
        return _put_index(said)
    if name == "pandas array":
        return _put_column(said)
    return _put_scalar(name, said)


def _series(column, index):
    # The dtype said, so that objects are not looked at for a better one.
    return pandas.Series(column, index=index, dtype=column.dtype, copy=False)


# Scalars -----------------------------------------------------------------------------------------------------------


def _scalar(value, kind):
    if value is pandas.NaT:
        return "pandas NaT", None
    if value is pandas.NA:
        return "pandas NA", None
    if kind is pandas.Timestamp:
        return "pandas timestamp", (value.to_datetime64(), _zone(value.tz))
    if kind is pandas.Timedelta:
        return "pandas timedelta", value.to_timedelta64()
    if kind is pandas.Period:
        return "pandas period", (value.ordinal, value.freqstr)
    if kind is pandas.Interval:
        return "pandas interval", (value.left, value.right, value.closed)
    return None


def _put_scalar(name, said):
    if name == "pandas NaT":
        return pandas.NaT
    if name == "pandas NA":
        return pandas.NA
    if name == "pandas timestamp":
        plain = pandas.Timestamp(said[0])
        return plain if said[1] is None else plain.tz_localize("UTC").tz_convert(said[1])
    if name == "pandas timedelta":
        return pandas.Timedelta(said)
    if name == "pandas period":
        return pandas.Period(ordinal=said[0], freq=said[1])
    if name == "pandas interval":
        return pandas.Interval(*said)
    raise BadValue(f"a stored value cannot be decoded: there is nothing that is called {name[:80]!r}")


def _zone(zone):
    # pytz, which older versions use, says its name so.
    name = getattr(zone, "zone", None)
    return name if type(name) is str else zone


# Columns -----------------------------------------------------------------------------------------------------------


def _column(array, buffer):
    """What an array of pandas is: an array of NumPy, or the name of its kind and its parts."""
    import numpy

    dtype = array.dtype
    if isinstance(dtype, numpy.dtype) or type(dtype).__name__ in ("NumpyEADtype", "PandasDtype"):
        plain = numpy.asarray(array)
        return ("objects", list(plain)) if plain.dtype.hasobject else plain
    if isinstance(dtype, pandas.CategoricalDtype):
        return "categories", numpy.asarray(array.codes), _index(dtype.categories, buffer), bool(dtype.ordered)
    if isinstance(dtype, pandas.DatetimeTZDtype):
        return "zoned", array.asi8, dtype.unit, _zone(dtype.tz)
    if isinstance(dtype, pandas.PeriodDtype):
        return "periods", array.asi8, dtype.name
    if isinstance(dtype, pandas.IntervalDtype):
        return "intervals", _index(array.left, buffer), _index(array.right, buffer), array.closed
    if isinstance(dtype, pandas.StringDtype):
        na = getattr(dtype, "na_value", pandas.NA)
        if dtype.storage == "python":
            return "texts", [None if it is na or it != it else it for it in array], _missing(na)
        return "arrow texts", buffer(_arrow(array)), dtype.storage, _missing(na)
    if type(dtype).__name__ == "ArrowDtype":
        return "arrow", buffer(_arrow(array))
    inner = getattr(dtype, "numpy_dtype", None)
    if type(array).__name__ in _MASKED and isinstance(inner, numpy.dtype):
        return "nullable", type(array).__name__, array.to_numpy(dtype=inner, na_value=inner.type(0)), array.isna()
    raise UnsupportedType(
        f"a column of {dtype} is not stored as it is: convert it, or open the cache with pickle=True if you trust whoever "
        "can write it"
    )


_MASKED = ("IntegerArray", "FloatingArray", "BooleanArray")


def _missing(na):
    return "NA" if na is pandas.NA else "nan"


def _arrow(array):
    import pyarrow

    column = pyarrow.array(array)
    if isinstance(column, pyarrow.ChunkedArray):
        column = column.combine_chunks() if column.num_chunks != 1 else column.chunk(0)
    return pyarrow.table({"": column})


def _objects(items):
    import numpy

    array = numpy.empty(len(items), object)
    for at, item in enumerate(items):
        array[at] = item
    return array


def _put_column(said):
    import numpy

    if isinstance(said, numpy.ndarray):
        if said.ndim != 1:
            raise ValueError("a column has one dimension")
        return said
    kind, *parts = said
    if kind == "objects":
        return _objects(parts[0])
    if kind == "categories":
        codes, categories, ordered = parts
        return pandas.Categorical.from_codes(codes, _put_index(categories), ordered=ordered)
    if kind == "zoned":
        values, unit, zone = parts
        plain = pandas.DatetimeIndex(values.view(f"M8[{unit}]"), copy=False)
        return plain.tz_localize("UTC").tz_convert(zone).array
    if kind == "periods":
        return pandas.arrays.PeriodArray(parts[0], dtype=pandas.PeriodDtype(parts[1][len("period[") : -1]))
    if kind == "intervals":
        return pandas.arrays.IntervalArray.from_arrays(_put_index(parts[0]), _put_index(parts[1]), parts[2])
    if kind == "texts":
        return pandas.array(_objects(parts[0]), dtype=_text_dtype("python", parts[1]))
    if kind == "nullable":
        if parts[0] not in _MASKED:
            raise ValueError("there is no such array")
        return getattr(pandas.arrays, parts[0])(parts[1], parts[2], copy=False)
    if kind not in ("arrow", "arrow texts"):
        raise ValueError("there is no such column")
    from drystone._types import _table

    column = _table(parts[0]).column(0)
    if kind == "arrow":
        return pandas.ArrowDtype(column.type).__from_arrow__(column)
    return _text_dtype(parts[1], parts[2]).__from_arrow__(column)


def _text_dtype(storage, missing):
    if missing == "NA" and not storage.endswith("_numpy"):
        return pandas.StringDtype(storage)
    try:
        return pandas.StringDtype(storage, na_value=float("nan"))
    except TypeError:
        raise ValueError("texts with nan are of a later version of pandas: install it") from None


# Indexes -----------------------------------------------------------------------------------------------------------


def _index(index, buffer):
    if isinstance(index, pandas.RangeIndex):
        return "range", index.start, index.stop, index.step, index.name
    if isinstance(index, pandas.MultiIndex):
        import numpy

        levels = tuple(_index(level.rename(None), buffer) for level in index.levels)
        return "multi", levels, tuple(numpy.asarray(codes) for codes in index.codes), tuple(index.names)
    freq = getattr(index, "freqstr", None) if isinstance(index, (pandas.DatetimeIndex, pandas.TimedeltaIndex)) else None
    return "index", _column(index.array, buffer), index.name, freq


def _put_index(said):
    kind, *parts = said
    if kind == "range":
        return pandas.RangeIndex(*parts[:3], name=parts[3])
    if kind == "multi":
        return pandas.MultiIndex([_put_index(it) for it in parts[0]], list(parts[1]), names=parts[2])
    column, name, freq = parts
    array = _put_column(column)
    index = pandas.Index(array, dtype=getattr(array, "dtype", None), copy=False, name=name)
    if freq is not None:
        # It is checked against the values.
        index = type(index)(index, freq=freq, name=name)
    return index


# Tables ------------------------------------------------------------------------------------------------------------


def _frame(frame, buffer):
    import numpy

    rest = (_index(frame.index, buffer), _index(frame.columns, buffer), dict(frame.attrs))
    kinds = set(frame.dtypes)
    if len(kinds) == 1 and frame.shape[1] > 1:
        kind = next(iter(kinds))
        if isinstance(kind, numpy.dtype) and not kind.hasobject:
            # The columns of one kind stand together, as they do in memory.
            return (frame.to_numpy(), *rest)
    return ([_column(frame.iloc[:, at].array, buffer) for at in range(frame.shape[1])], *rest)


def _put_frame(columns, index, names, attrs):
    index, names = _put_index(index), _put_index(names)
    if isinstance(columns, list):
        if len(columns) != len(names):
            raise ValueError("a table has a name for each column")
        columns = {at: _series(_put_column(it), index) for at, it in enumerate(columns)}
        frame = pandas.DataFrame(columns, index=index, copy=False)
        frame.columns = names
    else:
        frame = pandas.DataFrame(columns, index=index, columns=names, copy=False)
    frame.attrs.update(attrs)
    return frame
