"""Writers of GGUF and safetensors: the names and shapes first, then the tensors in any order."""
import json
import struct

import numpy as np

from number_formats import GGML


class I32(int):
    """A signed number in GGUF's header; a plain int is unsigned."""


class F32(float):
    """A float in GGUF's header."""


def _text(value):
    raw = value.encode()
    return struct.pack("<Q", len(raw)) + raw


def _value(value):
    """GGUF's number of a value's type, and the value."""
    if isinstance(value, bool):
        return 7, struct.pack("<?", value)
    if isinstance(value, I32):
        return 5, struct.pack("<i", value)
    if isinstance(value, float):
        return 6, struct.pack("<f", value)
    if isinstance(value, int):
        return 4, struct.pack("<I", value)
    if isinstance(value, str):
        return 8, _text(value)
    if isinstance(value, list):
        kind, _ = _value(value[0])
        return 9, struct.pack("<IQ", kind, len(value)) + b"".join(_value(item)[1] for item in value)
    raise TypeError(type(value))


def interleave_heads(rows, heads):
    """Rows of a rotated matrix in GGUF's order: Hugging Face turns x[i] with x[i + D/2], llama.cpp x[2i] with x[2i + 1]."""
    return rows.reshape(heads, 2, rows.shape[0] // heads // 2, -1).swapaxes(1, 2).reshape(rows.shape)


class GgufWriter:
    """header: pairs of key and value; tensors: name, shape as numpy has it, format."""

    ALIGNMENT = 32

    def __init__(self, path, header, tensors):
        self._file = open(path, "wb")
        self._tensors = {}
        parts = [b"GGUF", struct.pack("<IQQ", 3, len(tensors), len(header))]
        for key, value in header:
            kind, raw = _value(value)
            parts += [_text(key), struct.pack("<I", kind), raw]
        offset = 0
        for name, shape, kind in tensors:
            size = GGML[kind][2](int(np.prod(shape)))
            dimensions = b"".join(struct.pack("<Q", length) for length in reversed(shape))
            parts += [_text(name), struct.pack("<I", len(shape)), dimensions, struct.pack("<IQ", GGML[kind][0], offset)]
            self._tensors[name] = (offset, size, kind)
            offset += (size + self.ALIGNMENT - 1) // self.ALIGNMENT * self.ALIGNMENT
        head = b"".join(parts)
        head += b"\0" * (-len(head) % self.ALIGNMENT)
        self._base = len(head)
        self._file.write(head)
        self._file.truncate(self._base + offset)

    def write(self, name, x):
        offset, size, kind = self._tensors[name]
        raw = GGML[kind][3](x)
        assert len(raw) == size, (name, len(raw), size)
        self._file.seek(self._base + offset)
        self._file.write(raw)

    def close(self):
        self._file.close()


class SafetensorsWriter:
    """tensors: name, shape, format (F32, F16 or BF16)."""

    def __init__(self, path, tensors):
        self._file = open(path, "wb")
        self._tensors = {}
        header = {"__metadata__": {"format": "pt"}}
        offset = 0
        for name, shape, kind in tensors:
            size = GGML[kind][2](int(np.prod(shape)))
            header[name] = dict(dtype=kind, shape=list(shape), data_offsets=[offset, offset + size])
            self._tensors[name] = (offset, size, kind)
            offset += size
        raw = json.dumps(header, separators=(",", ":")).encode()
        raw += b" " * (-len(raw) % 8)
        self._base = 8 + len(raw)
        self._file.write(struct.pack("<Q", len(raw)) + raw)
        self._file.truncate(self._base + offset)

    def write(self, name, x):
        offset, size, kind = self._tensors[name]
        raw = GGML[kind][3](x)
        assert len(raw) == size, (name, len(raw), size)
        self._file.seek(self._base + offset)
        self._file.write(raw)

    def close(self):
        self._file.close()
