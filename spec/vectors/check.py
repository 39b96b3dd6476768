#!/usr/bin/env python3
"""Known answers of the format, made without the library.

Everything here is written from spec/FORMAT.md and from nothing else, on top of the
reference implementations that PyPI carries: xxhash, blake3, numpy.

    check.py                 compare the vectors beside this file; exit 0 equal, 1 different
    check.py --write         write them
    check.py --venv DIR      the same in a virtual environment there, made if needed

Exit 77: the implementations cannot be had here (no network), nothing was checked.
"""

import argparse
import io
import os
import subprocess
import sys
import venv
import warnings
from pathlib import Path

HERE = Path(__file__).resolve().parent
PACKAGES = ["xxhash", "blake3", "numpy"]
CHUNK_BYTES = 2 << 20
SKIPPED = 77


def data(length):
    """Byte i is (i * 2654435761 >> 24) modulo 256: it does not repeat within 4 GiB."""
    return bytes((i * 2654435761 >> 24) & 0xFF for i in range(length))


# ---- ids (section 1) ----

ID_LENGTHS = [
    0, 1, 3, 4, 8, 9, 16, 17, 128, 129, 240, 241, 1024, 1025, 4096, 65535, 65536,
    2097151, 2097152, 2097153, 4194304, 4194305, 5000000,
]  # fmt: skip


def xxh3_id(content):
    import xxhash

    if len(content) <= CHUNK_BYTES:
        return xxhash.xxh3_128_digest(content)
    chunks = [content[i : i + CHUNK_BYTES] for i in range(0, len(content), CHUNK_BYTES)]
    listed = len(content).to_bytes(8, "little")
    listed += b"".join(xxhash.xxh3_128_digest(chunk) for chunk in chunks)
    return xxhash.xxh3_128_digest(listed, seed=int.from_bytes(b"drystone", "little"))


def blake3_id(content):
    import blake3

    return blake3.blake3(content).digest()


def ids():
    yield "# Ids of known inputs: algorithm, bytes of the input, digest (spec/FORMAT.md, section 1)."
    yield "# Byte i of an input is (i * 2654435761 >> 24) modulo 256."
    content = data(max(ID_LENGTHS))
    for name, digest in [("xxh3", xxh3_id), ("blake3", blake3_id)]:
        for length in ID_LENGTHS:
            yield f"{name} {length} {digest(content[:length]).hex()}"


# ---- headers of arrays ----

ARRAYS = [(descr, False, (3, 4)) for descr in [
    "|b1", "|i1", "<i2", "<i4", "<i8", "|u1", "<u2", "<u4", "<u8", "<f2", "<f4", "<f8", "<c8",
    "<c16", ">f8", ">i4", "|S7", "<U5", "|V12", "<M8[ns]", "<m8[25s]",
]] + [
    ("<f8", False, ()), ("<f8", False, (0,)), ("<f8", False, (1,)), ("<f8", False, (5,)),
    ("<f8", False, (1000000,)), ("<f8", False, (2, 3, 5)), ("<f8", False, (0, 10**12)),
    ("<f8", False, (1,) * 32), ("<f8", False, (10, 1, 20, 1, 3, 2)),
    ("<f8", True, (3, 4)), ("<f8", True, (2, 30, 5)), ("<f8", True, (5,)), ("<f8", True, ()),
    ("<f8", True, (1, 7)), ("<f8", True, (1, 7, 2)), ("<f8", True, (0, 3)),
    ([("x", "<f8"), ("n", "<i4")], False, (6,)),
    ([("a", "<f4", (2, 3)), ("b", [("c", "|u1"), ("d", "<c16")], (4,))], False, (2,)),
    ([(("title", "a"), "<f4"), ("b", "|S3")], False, (2, 2)),
    ([("x", "|u1"), ("f1", "|V7"), ("y", "<f8")], False, (1,)),
    ([("größe", "<f8")], False, (2,)),
    ([("δ", "<f8"), ("it's", "|b1")], True, (2, 2)),
    # Padded by one blank and by 64, the least and the most.
    ([("a" * 31, "<f8")], False, (1,)), ([("a" * 32, "<f8")], False, (1,)),
    # The longest header of version 1, and version 2.
    ([(f"field{i:05}", "<f8") for i in range(2845)], False, (1,)),
    ([(f"field{i:05}", "<f8") for i in range(2846)], False, (1,)),
]  # fmt: skip


def array_headers():
    import numpy
    import xxhash

    yield "# Headers that numpy.save writes: descr, fortran_order asked for, shape, bytes of an element,"
    yield "# bytes of the header, its XXH3-128, and its bytes where they are not too many; by tabs."
    yield "# A descr `fields N` stands for N fields named field00000 and so on, of type <f8."
    for descr, fortran, shape in ARRAYS:
        dtype = numpy.dtype(descr)
        array = numpy.zeros(shape, dtype, order="F" if fortran else "C")
        file = io.BytesIO()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            numpy.save(file, array)
        header = file.getvalue()[: len(file.getvalue()) - array.nbytes]
        text = descr if isinstance(descr, str) else repr(dtype.descr)
        if len(text) > 1000:
            text = f"fields {len(descr)}"
        order = "fortran" if fortran else "c"
        extents = ",".join(map(str, shape)) or "-"
        shown = header.hex() if len(header) <= 256 else "-"
        digest = xxhash.xxh3_128_hexdigest(header)
        yield f"{text}\t{order}\t{extents}\t{dtype.itemsize}\t{len(header)}\t{digest}\t{shown}"


FILES = {"ids.txt": ids, "npy.txt": array_headers}


# ---- running ----


def check(write):
    different = 0
    for name, lines in FILES.items():
        path = HERE / name
        expected = "".join(line + "\n" for line in lines())
        if write:
            path.write_text(expected, encoding="utf-8")
            continue
        found = path.read_text(encoding="utf-8").splitlines()
        wanted = expected.splitlines()
        if found == wanted:
            print(f"{name}: {sum(not line.startswith('#') for line in wanted)} vectors agree")
            continue
        different = 1
        print(f"{name}: DIFFERENT")
        for at in range(max(len(found), len(wanted))):
            pair = [lines[at][:200] if at < len(lines) else "(no line)" for lines in (wanted, found)]
            if pair[0] != pair[1]:
                print(f"  line {at + 1}\n    expected {pair[0]}\n    found    {pair[1]}")
    return different


def importable(python):
    code = "import " + ", ".join(PACKAGES)
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    return subprocess.run([python, "-c", code], check=False, **quiet).returncode == 0


def in_venv(directory, arguments):
    python = os.path.join(directory, "bin", "python")
    if not (os.path.exists(python) and importable(python)):
        try:
            venv.create(directory, with_pip=True)
            options = ["-q", "--disable-pip-version-check", "--timeout", "10", "--retries", "1"]
            subprocess.run([python, "-m", "pip", "install", *options, *PACKAGES], check=True)
        except (subprocess.CalledProcessError, OSError) as error:
            print(f"no independent implementations: {error}", file=sys.stderr)
            return SKIPPED
    return subprocess.run([python, __file__, *arguments], check=False).returncode


def main():
    parser = argparse.ArgumentParser(description="Known answers of the format.")
    parser.add_argument("--write", action="store_true", help="write the vectors")
    parser.add_argument("--venv", metavar="DIR", help="a virtual environment to run in")
    arguments = parser.parse_args()
    if arguments.venv:
        return in_venv(arguments.venv, ["--write"] if arguments.write else [])
    if not importable(sys.executable):
        print("not importable here: " + ", ".join(PACKAGES), file=sys.stderr)
        return SKIPPED
    return check(arguments.write)


if __name__ == "__main__":
    sys.exit(main())
