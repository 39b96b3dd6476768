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


# ---- structures (sections 2 to 6) ----

UUID = bytes(range(0x10, 0x20))
OTHER_UUID = bytes(range(0xF0, 0x100))
MASK = (1 << 64) - 1
# Kinds of records, and states.
BLOB, REF, PIN, BLOB_TOMB, REF_TOMB, DURABLE_POINT = 1, 2, 3, 4, 5, 6
PENDING, PUBLISHED = 0x50, 0xA7
XXH3, BLAKE3 = 1, 2


def u16(value):
    return value.to_bytes(2, "little")


def u32(value):
    return value.to_bytes(4, "little")


def u64(value):
    return value.to_bytes(8, "little")


def number(content):
    return int.from_bytes(content, "little")


def xxh3_64(content, seed=0):
    import xxhash

    return xxhash.xxh3_64_intdigest(content, seed=seed)


def xxh3_128(content, seed=0):
    import xxhash

    return xxhash.xxh3_128_digest(content, seed=seed)


def summed(content):
    """The structure with the XXH3-64 of what stands before it in the last eight bytes."""
    assert len(content) == 56
    return content + u64(xxh3_64(content))


def superblock(hash, uuid, segment_bytes, created_ns):
    start = b"DRYSTONE" + u32(1) + bytes([hash, 0, 0, 0]) + uuid
    return summed(start + u64(segment_bytes) + u64(CHUNK_BYTES) + u64(created_ns))


def head(uuid, segment, created_ns):
    return summed(b"DRYSEG\r\n" + u32(1) + u32(0) + uuid + u64(segment) + u64(created_ns) + u64(0))


def header(uuid, segment, offset, kind, state, align_log2, body_len, sequence, digest):
    seed = xxh3_64(uuid, seed=segment) ^ (offset * 0x9E3779B97F4A7C15 & MASK)

    def with_state(state):
        start = b"DRYR" + bytes([kind, state, align_log2, 0])
        return start + u64(body_len) + u64(sequence) + digest

    return with_state(state) + u64(xxh3_64(with_state(0) + u64(0), seed=seed))


def entry(kind, state, align_log2, offset, body_len, sequence, digest, held):
    start = bytes([kind, state, align_log2, 0]) + u32(offset // 64)
    return start + u64(body_len) + u64(sequence) + digest + u64(held)


def trailer(segment, entries_offset, entries, durable_bytes):
    numbers = [number(entries[at + 16 : at + 24]) for at in range(0, len(entries), 64)]
    start = b"DRYEND\r\n" + u64(segment) + u64(entries_offset) + u64(len(numbers))
    return summed(start + u64(xxh3_64(entries)) + u64(max(numbers, default=0)) + u64(durable_bytes))


def pin(digest, held, created_ns):
    body = u64(held) + u64(created_ns)
    return body + u64(xxh3_64(body, seed=number(digest[:8])))


def ref_key(uuid, namespace, key):
    return xxh3_128(u64(len(namespace)) + namespace + key, seed=number(uuid[:8]))


def pin_key(uuid, hash, digest):
    text = "xxh3:" + digest[:16].hex() if hash == XXH3 else "b3:" + digest.hex()
    return ref_key(uuid, b"pins", text.encode())


def ref_body(namespace, key, blobs, inline, single, tags, metadata, created_ns, expires_ns):
    tagged = b"".join(bytes([len(tag)]) + tag for tag in tags)
    flags = (inline is not None) | single << 1
    start = u16(flags) + u16(len(namespace)) + u32(len(key)) + u32(len(blobs)) + u32(len(tagged))
    start += u32(len(metadata)) + u32(len(inline or b"")) + u64(created_ns) + u64(expires_ns)
    named = b"".join(digest + u64(held) for digest, held in blobs)
    return start + namespace + key + named + tagged + metadata + (inline or b"")


def ref_digest(key, body):
    return key + xxh3_128(body)


def round_up(value, to):
    return -(-value // to) * to


def record_bytes(kind, body_len, digest_bytes):
    chunks = -(-body_len // CHUNK_BYTES) if kind == BLOB and body_len > CHUNK_BYTES else 0
    return 64 + round_up(body_len, 64) + round_up(chunks * digest_bytes, 64)


def header_offset(tail, body_len):
    return round_up(tail + 64, 4096 if body_len >= 64 << 10 else 64) - 64


def shown(value):
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, list):
        return ",".join(
            f"{item[0].hex()}@{item[1]}" if isinstance(item, tuple) else item.hex() for item in value
        )
    return str(int(value))


def line(function, **arguments):
    """`name argument=value ... -> answer`; an argument that is absent is left out."""
    words = [f"{name}={shown(value)}" for name, value in arguments.items() if value is not None]
    return " ".join([function.__name__, *words, "->", shown(function(**arguments))])


def structures():
    yield "# Structures in bytes: name, arguments, answer; bytes in hexadecimal, numbers in decimal."
    yield "# spec/FORMAT.md has the sections: 2 superblock, 3 head, 4 header, 5 refs, 6 entry, trailer."
    wide = xxh3_128(b"wide") + xxh3_128(b"digest")
    narrow = xxh3_128(b"narrow") + bytes(16)
    big = MASK - 1
    yield line(superblock, hash=XXH3, uuid=UUID, segment_bytes=0, created_ns=1)
    yield line(superblock, hash=BLAKE3, uuid=OTHER_UUID, segment_bytes=1 << 30, created_ns=big)
    yield line(head, uuid=UUID, segment=0, created_ns=0)
    yield line(head, uuid=OTHER_UUID, segment=(1 << 28) - 1, created_ns=big)
    for uuid, segment, offset, kind, state, align_log2, body_len, sequence, digest in [
        (UUID, 0, 64, BLOB, PENDING, 6, 0, 1, narrow),
        (UUID, 3, 640, BLOB, PUBLISHED, 6, 65535, 42, wide),
        (UUID, 3, 4032, BLOB, PENDING, 12, 65536, 43, wide),
        (OTHER_UUID, (1 << 28) - 1, (1 << 30) - 64, BLOB, PUBLISHED, 12, 1 << 56, big, wide),
        (UUID, 7, 128, REF, PENDING, 6, 99, 7, wide),
        (UUID, 7, 128, PIN, PUBLISHED, 6, 24, 8, narrow),
        (UUID, 7, 192, BLOB_TOMB, PUBLISHED, 6, 0, 9, narrow),
        (UUID, 7, 256, REF_TOMB, PENDING, 6, 51, 10, wide),
        (UUID, 7, 320, DURABLE_POINT, PENDING, 6, 0, 0, u64(320) + bytes(24)),
    ]:
        yield line(
            header, uuid=uuid, segment=segment, offset=offset, kind=kind, state=state,
            align_log2=align_log2, body_len=body_len, sequence=sequence, digest=digest,
        )  # fmt: skip
    yield line(pin, digest=narrow, held=5, created_ns=6)
    yield line(pin, digest=wide, held=big, created_ns=big)
    for namespace, key in [(b"", b""), (b"steps", bytes([0, 255])), (b"n" * 255, b"k" * 1000)]:
        yield line(ref_key, uuid=UUID, namespace=namespace, key=key)
    # The length keeps names apart that run together.
    yield line(ref_key, uuid=UUID, namespace=b"ab", key=b"c")
    yield line(ref_key, uuid=UUID, namespace=b"a", key=b"bc")
    # Around the 240 bytes at which XXH3 changes its ways.
    for length in [119, 120, 121, 231, 232, 233]:
        yield line(ref_key, uuid=OTHER_UUID, namespace=b"", key=data(length))
    yield line(pin_key, uuid=UUID, hash=XXH3, digest=narrow)
    yield line(pin_key, uuid=UUID, hash=BLAKE3, digest=wide)
    bodies = [
        dict(namespace=b"", key=b"", blobs=[], inline=None, single=False, tags=[], metadata=b"",
             created_ns=0, expires_ns=0),
        dict(namespace=b"steps", key=b"\x00\xff", blobs=[(narrow, 5)], inline=None, single=True,
             tags=[], metadata=b"", created_ns=1, expires_ns=2),
        dict(namespace=b"steps", key=b"k", blobs=[(narrow, 5), (wide, big)], inline=None,
             single=False, tags=[b"a", b"", "\u00fcn\u00ef".encode()], metadata=data(10),
             created_ns=big, expires_ns=big),
        dict(namespace=b"memo", key=data(40), blobs=[], inline=b"", single=False, tags=[b"t" * 255],
             metadata=b"", created_ns=3, expires_ns=0),
        dict(namespace=b"memo", key=b"x", blobs=[], inline=data(300), single=False, tags=[],
             metadata=b"m", created_ns=3, expires_ns=0),
    ]  # fmt: skip
    for body in bodies:
        yield line(ref_body, **body)
    for body in bodies:
        key = ref_key(UUID, body["namespace"], body["key"])
        yield line(ref_digest, key=key, body=ref_body(**body))
    first = dict(kind=BLOB, state=PUBLISHED, align_log2=12, offset=4032, body_len=70000, sequence=9,
                 digest=wide, held=0)  # fmt: skip
    last = dict(kind=PIN, state=PENDING, align_log2=6, offset=74112, body_len=24, sequence=4,
                digest=narrow, held=9)  # fmt: skip
    yield line(entry, **first)
    yield line(entry, **last)
    yield line(trailer, segment=0, entries_offset=64, entries=b"", durable_bytes=0)
    entries = entry(**first) + entry(**last)
    yield line(trailer, segment=77, entries_offset=74240, entries=entries, durable_bytes=4032)
    for body_len in [0, 1, 64, 65, 65535, CHUNK_BYTES, CHUNK_BYTES + 1, 5 * CHUNK_BYTES, 1 << 40]:
        for digest_bytes in [16, 32]:
            yield line(record_bytes, kind=BLOB, body_len=body_len, digest_bytes=digest_bytes)
    yield line(record_bytes, kind=REF, body_len=3 * CHUNK_BYTES, digest_bytes=32)
    for tail in [64, 128, 4032, 4096, 4160]:
        for body_len in [0, 65535, 65536]:
            yield line(header_offset, tail=tail, body_len=body_len)


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


FILES = {"ids.txt": ids, "structures.txt": structures, "npy.txt": array_headers}


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
