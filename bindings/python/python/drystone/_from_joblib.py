"""What joblib.Memory says of a function and of its arguments, so that results that were imported from it are found.

An imported result stands under ("joblib", function, version, arguments), with the time when it was computed: the function as
joblib names its directory, the digest of its source, and joblib's own hash of the arguments. ("joblib", function) stands for
all of them: where it is missing nothing else is looked for, and joblib is not loaded.
"""

import ast
import functools
import inspect
import itertools
import os
import re
import sys
import tokenize
import types

from drystone._drystone import hash_buffer

_MARK = "joblib"
_FIRST_LINE = "# first line:"


def mark(function):
    """The key that says that results of a function were imported."""
    return (_MARK, function)


def key(function, version, arguments):
    """The key of an imported result."""
    return (_MARK, function, version, arguments)


# Functions by their names and their source


def function_name(function):
    """The directory in which joblib keeps a function, with dots: its module, what it is defined in, and its name."""
    module = getattr(function, "__module__", None) or ""
    if module in ("__main__", "__mp_main__"):
        module = _main_module(function)
    around = getattr(function, "__qualname__", function.__name__).split(".")[:-1]
    return ".".join([module, *around, function.__name__])


def _main_module(function):
    """joblib tells scripts apart by their paths."""
    try:
        path = os.path.abspath(inspect.getsourcefile(function))
    except (TypeError, OSError):
        return "__main__"
    parts = path.split(os.sep)
    if parts[-1].startswith("<ipython-input"):
        # The number of the cell does not matter, the digest of its text does.
        said = parts[-1].split("-")
        parts[-1] = "-".join(said[:2] + said[3:])
    elif len(parts) > 2 and parts[-2].startswith("ipykernel_"):
        parts[-2] = "ipykernel"
    return "__main__-" + "-".join(parts).removesuffix(".py")


def version_of(source):
    """The digest of a function's source, as joblib keeps it. Decorators do not count: the one that keeps results is another
    here, and what joblib has kept comes from below it."""
    return hash_buffer(_undecorated(source).encode("utf-8", "surrogatepass"))


def _undecorated(source):
    is_indented = source[:1].isspace()
    try:
        body = ast.parse("if 1:\n" + source if is_indented else source).body
    except (SyntaxError, ValueError, RecursionError):
        # A lambda in the middle of a statement, or what joblib keeps of a function whose source it cannot read.
        return source
    definition = body[0].body[0] if is_indented else body[0] if body else None
    if not isinstance(definition, (ast.FunctionDef, ast.AsyncFunctionDef)):
        return source
    return "\n".join(source.split("\n")[definition.lineno - 1 - is_indented :])


def _runs(function):
    """Whether the file that a function comes from still says what runs: joblib reads it there, as it is now."""
    code = getattr(function, "__func__", function).__code__
    try:
        state = os.stat(code.co_filename)
    except OSError:
        # A cell of a notebook is kept as it was run.
        return True
    try:
        there = _codes_in(code.co_filename, state.st_mtime_ns, state.st_size)
    except (OSError, SyntaxError, ValueError, RecursionError):
        return False
    return code in there.get((code.co_name, code.co_firstlineno), ())


@functools.lru_cache(maxsize=8)
def _codes_in(path, _mtime, _size):
    with tokenize.open(path) as file:
        found, left = {}, [compile(file.read(), path, "exec", dont_inherit=True)]
    while left:
        code = left.pop()
        found.setdefault((code.co_name, code.co_firstlineno), []).append(code)
        left += [it for it in code.co_consts if isinstance(it, types.CodeType)]
    return found


# Arguments


def _ignored(function, signature, ignore):
    """What is not to matter, as joblib calls it; None if it cannot."""
    names, said = list(signature.parameters), []
    is_bound = isinstance(function, types.MethodType)
    own = next(iter(inspect.signature(function.__func__).parameters), None) if is_bound else None
    for name in ignore:
        if isinstance(name, int):
            if not 0 <= name < len(names):
                continue
            name = names[name]
        elif name == own:
            said.append(name)
            continue
        elif name not in names:
            return None
        kind = signature.parameters[name].kind
        said.append({inspect.Parameter.VAR_POSITIONAL: "*", inspect.Parameter.VAR_KEYWORD: "**"}.get(kind, name))
    return said


def _hashes(joblib, function, ignored, args, kwargs):
    """joblib's hashes of a call, the likelier first."""
    said = joblib.func_inspect.filter_args(function, ignored, args, kwargs)
    yield joblib.hashing.hash(said)
    numpy = sys.modules.get("numpy")
    if numpy is not None and any(isinstance(it, numpy.memmap) for it in itertools.chain(args, kwargs.values())):
        # As with Memory(mmap_mode=...).
        yield joblib.hashing.hash(said, coerce_mmap=True)


def _joblib():
    """joblib, or None: nobody else knows its hashes."""
    try:
        import joblib.func_inspect
        import joblib.hashing
    except ImportError:
        return None
    return joblib


class Imports:
    """What was imported of one memoized function."""

    def __init__(self, function, signature, name, ignore, known=None):
        self._function, self._names, self._version = function, (), None
        self._ignored = _ignored(function, signature, ignore)
        if known is not None:
            self._names, self._version = known
            return
        # joblib does not look into a partial, nor into what is not written in Python.
        if isinstance(function, (types.FunctionType, types.MethodType)) and hasattr(function, "__code__"):
            self._names = (function_name(function),)
        if name is not None and self._names and name != self._names[0]:
            self._names += (name,)

    def find(self, cache, args, kwargs):
        """The key of the result for these arguments, or None."""
        names = self._imported_names(cache)
        if not names:
            return None
        joblib = _joblib()
        try:
            arguments = _hashes(joblib, self._function, self._ignored, args, kwargs) if self._version else ()
            keys = (key(name, self._version, it) for it in arguments for name in names)
            return next((it for it in keys if it in cache), None)
        except Exception:
            # It has kept no result for what it does not take as a call, or cannot hash.
            return None

    def known(self, cache):
        """What a process must be told that has the function without its file."""
        self._imported_names(cache)
        return self._names, self._version

    def _imported_names(self, cache):
        """The names under which results were imported; none where they cannot be found."""
        names = [name for name in self._names if mark(name) in cache]
        if not names or self._ignored is None or _joblib() is None:
            return ()
        if self._version is None:
            self._version = self._version_now()
        return names

    def _version_now(self):
        source, _, first_line = _joblib().func_inspect.get_func_code(self._function)
        # Where joblib cannot read the source it says what the code is: that is what runs.
        return version_of(source) if first_line == -1 or _runs(self._function) else b""


# Its directories


def named_in(path):
    """The function in a directory of joblib's, given relative to its root."""
    return ".".join(path.parts)


def version_in(directory):
    """The version of the function whose results are in a directory; None where joblib itself would compute them anew."""
    try:
        source = (directory / "func_code.py").read_bytes().decode("utf-8")
    except (OSError, UnicodeDecodeError):
        return None
    first, _, rest = re.sub("\r\n?", "\n", source).partition("\n")
    return version_of(rest) if first.startswith(_FIRST_LINE) else None
