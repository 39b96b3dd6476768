"""A content-addressed store for large arrays, and the scientific cache on top of it.

`Store` keeps bytes and arrays by their content; `Cache` keeps values by keys, as DiskCache does. Both are shared by any
number of processes of a node, which read the same memory.
"""

import atexit
import os

from drystone import _drystone
from drystone._drystone import Blob, Error, Refs
from drystone.cache import ENOVAL, UNKNOWN, Cache
from drystone.importers import import_diskcache, import_joblib
from drystone.memoize import memoize
from drystone.store import Store, default_directory

__version__ = "0.1.0"

atexit.register(_drystone.end_of_calls)
os.register_at_fork(after_in_child=_drystone.calls_forked)

_ERRORS = [
    name
    for name, value in vars(_drystone).items()
    if isinstance(value, type) and issubclass(value, Error) and value is not Error
]
globals().update({name: getattr(_drystone, name) for name in _ERRORS})

__all__ = ["ENOVAL", "UNKNOWN", "Blob", "Cache", "Error", "Refs", "Store", "default_directory", "import_diskcache", "import_joblib", "memoize", *sorted(_ERRORS)]
