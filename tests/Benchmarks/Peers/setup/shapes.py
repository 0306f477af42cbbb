"""The shapes of the models, and the vocabulary that all of them share the beginning of."""

SHAPES = {
    "llama-110m": dict(hidden=768, layers=12, heads=12, kv=12, ffn=2048, vocab=32000, ctx=2048, theta=10000.0, eps=1e-5, tied=False),
    "tinyllama-1.1b": dict(hidden=2048, layers=22, heads=32, kv=4, ffn=5632, vocab=32000, ctx=2048, theta=10000.0, eps=1e-5, tied=False),
    # Qwen2.5-0.5B's sizes in Llama's architecture, with the vocabulary cut down: its 152 thousand rows would be measured and not its layers.
    "qwen-0.5b": dict(hidden=896, layers=24, heads=14, kv=2, ffn=4864, vocab=32000, ctx=4096, theta=1000000.0, eps=1e-6, tied=True),
    "tiny-test": dict(hidden=128, layers=2, heads=4, kv=2, ffn=256, vocab=1024, ctx=2048, theta=10000.0, eps=1e-5, tied=False),
}

# Hugging Face's name of a projection: GGUF's name, and which dimensions are its outputs and inputs.
PROJECTIONS = {
    "self_attn.q_proj": ("attn_q", "q", "h"),
    "self_attn.k_proj": ("attn_k", "kv", "h"),
    "self_attn.v_proj": ("attn_v", "kv", "h"),
    "self_attn.o_proj": ("attn_output", "h", "q"),
    "mlp.gate_proj": ("ffn_gate", "f", "h"),
    "mlp.up_proj": ("ffn_up", "f", "h"),
    "mlp.down_proj": ("ffn_down", "h", "f"),
}


def dimensions(shape):
    head = shape["hidden"] // shape["heads"]
    return dict(h=shape["hidden"], q=shape["heads"] * head, kv=shape["kv"] * head, f=shape["ffn"], head=head)


def rotated_heads(shape, gguf_name):
    """Heads whose rows GGUF orders otherwise (see gguf.interleave_heads); 0 for a matrix without a rotary embedding behind it."""
    return {"attn_q": shape["heads"], "attn_k": shape["kv"]}.get(gguf_name, 0)


def byte_letters():
    """GPT-2's letter for each byte."""
    shown = list(range(33, 127)) + list(range(161, 173)) + list(range(174, 256))
    letters = {byte: chr(byte) for byte in shown}
    hidden = [byte for byte in range(256) if byte not in letters]
    letters.update({byte: chr(256 + i) for i, byte in enumerate(hidden)})
    return [letters[byte] for byte in range(256)]


def vocabulary(size):
    """Tokens and merges of a byte-level BPE: three special tokens, the bytes, then merges of the letters a to z until there are enough."""
    tokens = ["<unk>", "<s>", "</s>"] + byte_letters()
    alphabet = "abcdefghijklmnopqrstuvwxyz"
    pairs = [("\u0120", a) for a in alphabet]
    pairs += [(a, b) for a in alphabet for b in alphabet]
    pairs += [("\u0120" + a, b) for a in alphabet for b in alphabet]
    pairs += [(a + b, c) for a in alphabet for b in alphabet for c in alphabet]
    pairs += [("\u0120" + a + b, c) for a in alphabet for b in alphabet for c in alphabet]
    merges = pairs[: size - len(tokens)]
    tokens += [a + b for a, b in merges]
    assert len(tokens) == size == len(set(tokens))
    return tokens, merges
