"""bf16 and the block formats of ggml, over numpy arrays of f32."""
import zlib

import numpy as np


def random_stream(seed, name):
    """One independent stream for each tensor, so that their order does not matter."""
    return np.random.default_rng([seed, zlib.crc32(name.encode())])


def bf16_bits(x):
    """The upper halves, rounded to nearest even."""
    bits = np.ascontiguousarray(x, np.float32).view(np.uint32)
    rounded = bits >> 16
    rounded &= 1
    rounded += 0x7FFF
    rounded += bits
    rounded >>= 16
    return rounded.astype(np.uint16)


def round_to_bf16(x):
    wide = bf16_bits(x.astype(np.float32)).astype(np.uint32)
    wide <<= 16
    return wide.view(np.float32)


def q8_0(x):
    """Blocks of 32: an f16 scale, then 32 signed bytes."""
    blocks = x.reshape(-1, 32)
    scale = (np.abs(blocks).max(axis=1) / 127.0).astype(np.float32)
    inverse = np.where(scale > 0, 1.0 / np.where(scale > 0, scale, 1), 0).astype(np.float32)
    out = np.empty((blocks.shape[0], 34), np.uint8)
    out[:, :2] = scale.astype(np.float16).view(np.uint8).reshape(-1, 2)
    out[:, 2:] = np.rint(blocks * inverse[:, None]).astype(np.int8).view(np.uint8)
    return out.tobytes()


def q4_0(x):
    """Blocks of 32: an f16 scale that maps the value of largest size to -8, then 16 bytes of two codes, the second half of a block above."""
    blocks = x.reshape(-1, 32)
    extreme = blocks[np.arange(blocks.shape[0]), np.abs(blocks).argmax(axis=1)]
    scale = (extreme / -8.0).astype(np.float32)
    inverse = np.where(scale != 0, 1.0 / np.where(scale != 0, scale, 1), 0).astype(np.float32)
    # Truncated after adding a half and bounded, as ggml does it.
    codes = np.clip(blocks * inverse[:, None] + 8.5, 0, 15).astype(np.uint8)
    out = np.empty((blocks.shape[0], 18), np.uint8)
    out[:, :2] = scale.astype(np.float16).view(np.uint8).reshape(-1, 2)
    out[:, 2:] = codes[:, :16] | (codes[:, 16:] << 4)
    return out.tobytes()


# Name: ggml's number of the type, general.file_type, bytes of n elements, encoder.
GGML = {
    "F32": (0, 0, lambda n: 4 * n, lambda x: np.ascontiguousarray(x, np.float32).tobytes()),
    "F16": (1, 1, lambda n: 2 * n, lambda x: x.astype(np.float16).tobytes()),
    "BF16": (30, 32, lambda n: 2 * n, lambda x: bf16_bits(x).tobytes()),
    "Q8_0": (8, 7, lambda n: n // 32 * 34, q8_0),
    "Q4_0": (2, 2, lambda n: n // 32 * 18, q4_0),
}
