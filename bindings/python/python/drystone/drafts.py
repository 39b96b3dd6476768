"""Arrays that are filled in place, in the memory of the store."""

import math

import numpy

from drystone._drystone import InvalidInput
from drystone._types import header_for, refuse_objects

#: An index of NumPy is signed.
_BYTES_MAX = 2**63 - 1


class DraftArray(numpy.ndarray):
    """An array of `Store.empty`: fill it, then `commit` it.

    Committing copies nothing. Afterwards the array is read-only; what views of it that are still about store
    changes memory of this process alone, and no blob. A forked child does not have the memory before it is committed.
    """

    def __array_finalize__(self, other):
        self._memory = None

    def commit(self):
        """Publishes the array and pins it; the id."""
        return self._commit()

    def commit_as(self, refs, key):
        """Publishes the array and binds a ref to it, instead of a pin; the id."""
        return self._commit(refs, key)

    def _commit(self, *named):
        if self._memory is None:
            raise InvalidInput("only the array that Store.empty returned is committed, not a view or copy of it")
        id = self._memory.commit(*named)
        self.flags.writeable = False
        return id


def empty(store, shape, dtype, order):
    """See `Store.empty`."""
    dtype = numpy.dtype(dtype)
    shape = tuple(int(n) for n in shape) if hasattr(shape, "__iter__") else (int(shape),)
    refuse_objects(dtype)
    if order not in ("C", "F") or any(n < 0 for n in shape):
        raise InvalidInput("shape is made of numbers from 0 on, and order is 'C' or 'F'")
    # As NumPy does, what has no elements is not asked how long it would be.
    if math.prod(shape) * dtype.itemsize > _BYTES_MAX or any(n > _BYTES_MAX for n in shape):
        raise InvalidInput(f"an array of shape {shape} and type {dtype} has more bytes than can be addressed")
    count = 1
    for n in shape:
        count *= n
    header = header_for(dtype, shape, order == "F" and sum(n > 1 for n in shape) > 1)
    memory = store._reserve(header, count * dtype.itemsize)
    array = DraftArray.__new__(DraftArray, shape, dtype, memory, len(header), None, order)
    array._memory = memory
    return array
