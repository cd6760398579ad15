"""Making a file of another: damage of single bytes and lengths, and content that keeps the form."""

from __future__ import annotations

import base64
import io
import json
import struct
import zipfile
import zlib
from collections.abc import Callable, Sequence
from random import Random
from typing import Any

__all__ = [
    "Mutate",
    "damaged",
    "damaged_json",
    "damaged_mask_string",
    "damaged_png",
    "damaged_safetensors",
    "damaged_text",
    "damaged_zip",
]

Mutate = Callable[[Random, bytes, Sequence[bytes]], bytes]

SIZES = (
    0,
    1,
    2,
    7,
    255,
    256,
    4096,
    32_768,
    32_769,
    65_535,
    65_536,
    100_000,
    2**24,
    2**31 - 1,
    2**31,
    2**32 - 1,
)
LONG_SIZES = (*SIZES, 2**33, 2**40, 2**62, 2**63 - 1, 2**64 - 1)
TOKENS = (
    *(
        "",
        "0",
        "-1",
        "1e400",
        "nan",
        "inf",
        "99999999999999999999",
        "0.5",
        "100000",
        "1_000",
        "\x00",
        "\ud800",
    ),
    *("../x", "/etc/passwd", "a" * 300, "nul", "=1+1", "'", '"', ",", "|", " ", "\n", "\r", "<b>", "é", "２"),
)
VALUES: tuple[Any, ...] = (
    *(None, True, 0, -1, 10**6, 10**400, 0.5, 1e308, float("nan"), "", "x" * 300, "hf-hub:a/b", "../x"),
    *([], {}, [0] * 300, {"a": []}, [[[[]]]], [10**9] * 4, "NaN", "\x00"),
)


def damaged(random: Random, data: bytes, others: Sequence[bytes]) -> bytes:
    """A few changes of bytes and of the numbers that they may be."""
    content = bytearray(data)
    for _ in range(random.choice((1, 1, 1, 2, 3, 8))):
        at = (
            random.randrange(len(content) + 1)
            if random.random() < 0.6
            else random.randrange(min(len(content), 200) + 1)
        )
        match random.randrange(9):
            case 0 if content:
                content[at % len(content)] ^= 1 << random.randrange(8)
            case 1 if content:
                content[at % len(content)] = random.choice((0, 1, 127, 128, 255, random.randrange(256)))
            case 2:
                del content[at:]
            case 3:
                del content[at : at + random.choice((1, 2, 4, 8, 64))]
            case 4:
                content[at:at] = content[: random.choice((1, 4, 16, 256))]
            case 5:
                other = random.choice(others)
                start = random.randrange(len(other) + 1)
                content[at:] = other[start:]
            case 6:
                content[at : at + 4] = struct.pack(random.choice("<>") + "I", random.choice(SIZES))
            case 7:
                content[at : at + 2] = struct.pack(random.choice("<>") + "H", random.choice(SIZES) & 0xFFFF)
            case _:
                content[at : at + 8] = struct.pack(random.choice("<>") + "Q", random.choice(LONG_SIZES))
    return bytes(content)


def damaged_png(random: Random, data: bytes, others: Sequence[bytes]) -> bytes:
    """Damage below the checksums: in most runs they are made right again, and so may be the packed pixels."""
    if random.random() < 0.3:
        return damaged(random, data, others)
    chunks, at = [], 8
    while at + 12 <= len(data):
        (length,) = struct.unpack(">I", data[at : at + 4])
        chunks.append((data[at + 4 : at + 8], data[at + 8 : at + 8 + length]))
        at += 12 + length
    place = random.randrange(len(chunks))
    name, content = chunks[place]
    if name == b"IDAT" and random.random() < 0.5:
        content = zlib.compress(damaged(random, zlib.decompress(content), [data]))
    elif random.random() < 0.8:
        content = damaged(random, content, [data])
    else:
        chunks.insert(random.randrange(len(chunks)), (name, content))
        name = random.choice(
            (name, b"pHYs", b"PLTE", b"tRNS", b"acTL", b"fcTL", b"fdAT", b"zTXt", b"iCCP", b"eXIf")
        )
    chunks[place] = (name, content)
    parts = [
        struct.pack(">I", len(each)) + kind + each + struct.pack(">I", zlib.crc32(kind + each))
        for kind, each in chunks
    ]
    return data[:8] + b"".join(parts)


def damaged_zip(random: Random, data: bytes, others: Sequence[bytes]) -> bytes:
    """Damage of the archive, or a whole archive with a damaged member or another name."""
    if random.random() < 0.4:
        return damaged(random, data, others)
    made = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(data)) as old, zipfile.ZipFile(made, "w") as new:
        chosen = random.choice(old.namelist())
        for info in old.infolist():
            content = old.read(info)
            name = info.filename
            if name == chosen and random.random() < 0.8:
                content = damaged(random, content, [content])
            elif name == chosen:
                name = random.choice(TOKENS[12:]).encode("utf-8", "replace").decode() + name
            new.writestr(name, content, random.choice((zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)))
    return made.getvalue()


def damaged_text(random: Random, data: bytes, others: Sequence[bytes]) -> bytes:
    """Damage of a text of words: one becomes another, or a hostile one."""
    if random.random() < 0.3:
        return damaged(random, data, others)
    text = data.decode("utf-8", "replace")
    for _ in range(random.choice((1, 1, 2, 4))):
        at = random.randrange(len(text) + 1)
        stop = at
        while stop < len(text) and text[stop] not in ', |"\n<>=':
            stop += 1
        word = random.choice(TOKENS) if random.random() < 0.7 else text[:at][-random.randrange(1, 40) :]
        text = text[:at] + word + text[stop:]
    return text.encode("utf-8", "surrogatepass")


def damaged_json(random: Random, data: bytes, others: Sequence[bytes]) -> bytes:
    """A value anywhere becomes another, is lost or gets company; or the text is damaged; or it is very deep."""
    draw = random.random()
    if draw < 0.15:
        return damaged(random, data, others)
    if draw < 0.18:
        return random.choice((b"[", b'{"a":')) * random.choice((500, 5000, 100_000))
    content = json.loads(data)
    places = list(_places(content))
    for _ in range(random.choice((1, 1, 2))):
        holder, key = random.choice(places)
        if random.random() < 0.15 and isinstance(holder, dict):
            holder.pop(key, None)
        elif random.random() < 0.15 and isinstance(holder, dict):
            holder[random.choice(("checkpoint_path", "pretrained", "img_size", "x", ""))] = random.choice(
                VALUES
            )
        elif isinstance(holder, dict) or key < len(holder):
            holder[key] = random.choice(VALUES)
    return json.dumps(content).encode("utf-8", "surrogatepass")


def damaged_safetensors(random: Random, data: bytes, others: Sequence[bytes]) -> bytes:
    """Damage of the numbers, or of what the header says of them, its length made right."""
    if random.random() < 0.4:
        return damaged(random, data, others)
    length = int.from_bytes(data[:8], "little")
    header = damaged_json(random, data[8 : 8 + length], [data[8 : 8 + length]])
    return len(header).to_bytes(8, "little") + header + data[8 + length :]


def damaged_mask_string(random: Random, data: bytes, others: Sequence[bytes]) -> bytes:
    """Damage of the text, of what is packed in it, or of the run lengths in that."""
    if random.random() < 0.4:
        return damaged_text(random, data, others)
    packed = base64.b64decode(data)
    if random.random() < 0.5:
        return base64.b64encode(damaged(random, packed, [packed]))
    counts = zlib.decompress(packed)
    return base64.b64encode(zlib.compress(damaged(random, counts, [counts, b"0" * 100_000])))


def _places(content: Any) -> list[tuple[Any, Any]]:
    keys = (
        list(content)
        if isinstance(content, dict)
        else range(len(content))
        if isinstance(content, list)
        else ()
    )
    return [each for key in keys for each in ((content, key), *_places(content[key]))]
