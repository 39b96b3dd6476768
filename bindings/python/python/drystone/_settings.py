"""Settings as they are given, looked at where they are: a wrong one is an error of this package that is also the built-in."""

import math
import numbers

from drystone._drystone import InvalidInput, UnsupportedType

_LIMIT_MAX = 2**63 - 1
#: Of what is added to a time: longer ones end at no time that can be told.
SPAN_MAX = 10**10


def _is_number(value):
    return isinstance(value, numbers.Real) and not isinstance(value, bool)


def limit(name, value):
    """A limit as the cache takes it: a whole number, also one that is a float, or None for none."""
    if value is None:
        return None
    if not _is_number(value):
        raise UnsupportedType(f"{name} is a whole number from 0 on, or None for none, not a {type(value).__name__}")
    if not 0 <= value <= _LIMIT_MAX or value != int(value):
        raise InvalidInput(f"{name} is a whole number from 0 to 2**63 - 1, or None for none, not {value!r}")
    return int(value)


def given(name, value, *kinds):
    """A setting of one of these types, or None."""
    if value is None or isinstance(value, kinds):
        return value
    expected = " or a ".join(kind.__name__ for kind in kinds)
    raise UnsupportedType(f"{name} is a {expected}, not a {type(value).__name__}")


def seconds(name, value, least=0, most=math.inf):
    """A number of seconds, or None."""
    if value is None:
        return None
    if not _is_number(value):
        raise UnsupportedType(f"{name} is a number of seconds, or None, not a {type(value).__name__}")
    if not least <= value <= most:
        raise InvalidInput(f"{name} is a number of seconds from {least} to {most}, or None, not {value!r}")
    return value


def progress(value):
    """Whom to tell: something to call, "tqdm", or None."""
    if value is None or callable(value) or value == "tqdm":
        return value
    if isinstance(value, str):
        raise InvalidInput(f'progress is something to call, "tqdm" or None, not {value!r}')
    raise UnsupportedType(f'progress is something to call, "tqdm" or None, not a {type(value).__name__}')
