"""A random model of Llama's architecture, the same weights (rounded to bf16) in every file.

    make_model.py SHAPE FOLDER [--seed 1] [--gguf BF16,Q8_0,Q4_0]

writes FOLDER/SHAPE-FORMAT.gguf and FOLDER/SHAPE-hf as Hugging Face lays it out."""
import argparse
import json
import os
import time

import numpy as np

from containers import F32, GgufWriter, I32, SafetensorsWriter, interleave_heads
from number_formats import GGML, random_stream, round_to_bf16
from shapes import PROJECTIONS, SHAPES, dimensions, rotated_heads, vocabulary

TEMPLATE = (
    "{% for m in messages %}[{{ m.role }}] {{ m.content }}\n{% endfor %}{% if add_generation_prompt %}[assistant] {% endif %}"
)


def tensors_of(shape):
    """Hugging Face's name, GGUF's name, shape, standard deviation (None for a norm), heads to interleave."""
    size = dimensions(shape)
    hidden = size["h"]
    wide = (shape["vocab"], hidden)
    tensors = [("model.embed_tokens.weight", "token_embd.weight", wide, 4 / hidden**0.5, 0)]
    for layer in range(shape["layers"]):
        ours, theirs = f"model.layers.{layer}.", f"blk.{layer}."
        tensors.append((ours + "input_layernorm.weight", theirs + "attn_norm.weight", (hidden,), None, 0))
        for name, (gguf, outputs, inputs) in PROJECTIONS.items():
            dims = (size[outputs], size[inputs])
            tensors.append((f"{ours}{name}.weight", f"{theirs}{gguf}.weight", dims, 0.7 / dims[1] ** 0.5, rotated_heads(shape, gguf)))
        tensors.append((ours + "post_attention_layernorm.weight", theirs + "ffn_norm.weight", (hidden,), None, 0))
    tensors.append(("model.norm.weight", "output_norm.weight", (hidden,), None, 0))
    if not shape["tied"]:
        tensors.append(("lm_head.weight", "output.weight", wide, 4 / hidden**0.5, 0))
    return tensors


def gguf_header(name, shape, kind, tokens, merges):
    size = dimensions(shape)
    return [
        ("general.architecture", "llama"),
        ("general.type", "model"),
        ("general.name", name),
        ("general.file_type", GGML[kind][1]),
        ("general.quantization_version", 2),
        ("llama.block_count", shape["layers"]),
        ("llama.context_length", shape["ctx"]),
        ("llama.embedding_length", size["h"]),
        ("llama.feed_forward_length", size["f"]),
        ("llama.attention.head_count", shape["heads"]),
        ("llama.attention.head_count_kv", shape["kv"]),
        ("llama.rope.freq_base", F32(shape["theta"])),
        ("llama.rope.dimension_count", size["head"]),
        ("llama.attention.layer_norm_rms_epsilon", F32(shape["eps"])),
        ("llama.vocab_size", shape["vocab"]),
        ("tokenizer.ggml.model", "gpt2"),
        ("tokenizer.ggml.pre", "gpt-2"),
        ("tokenizer.ggml.tokens", tokens),
        ("tokenizer.ggml.token_type", [I32(2), I32(3), I32(3)] + [I32(1)] * (len(tokens) - 3)),
        ("tokenizer.ggml.merges", [f"{a} {b}" for a, b in merges]),
        ("tokenizer.ggml.unknown_token_id", 0),
        ("tokenizer.ggml.bos_token_id", 1),
        ("tokenizer.ggml.eos_token_id", 2),
        ("tokenizer.ggml.add_bos_token", True),
        ("tokenizer.ggml.add_eos_token", False),
        ("tokenizer.chat_template", TEMPLATE),
    ]


def write_json(folder, name, value):
    with open(f"{folder}/{name}", "w", encoding="utf-8") as file:
        json.dump(value, file, ensure_ascii=False, indent=1)


def write_hugging_face(folder, shape, tokens, merges):
    """Everything beside the weights."""
    size = dimensions(shape)
    write_json(folder, "config.json", dict(
        architectures=["LlamaForCausalLM"], model_type="llama", hidden_size=size["h"], intermediate_size=size["f"],
        num_hidden_layers=shape["layers"], num_attention_heads=shape["heads"], num_key_value_heads=shape["kv"], head_dim=size["head"],
        vocab_size=shape["vocab"], max_position_embeddings=shape["ctx"], rms_norm_eps=shape["eps"], rope_theta=shape["theta"],
        rope_scaling=None, hidden_act="silu", attention_bias=False, mlp_bias=False, tie_word_embeddings=shape["tied"],
        bos_token_id=1, eos_token_id=2, torch_dtype="bfloat16"))
    write_json(folder, "generation_config.json", dict(bos_token_id=1, eos_token_id=2))
    special = [
        dict(id=i, content=text, single_word=False, lstrip=False, rstrip=False, normalized=False, special=True)
        for i, text in enumerate(tokens[:3])]
    byte_level = dict(type="ByteLevel", add_prefix_space=False, trim_offsets=True, use_regex=True)
    start = {"SpecialToken": {"id": "<s>", "type_id": 0}}
    first, second = {"Sequence": {"id": "A", "type_id": 0}}, {"Sequence": {"id": "B", "type_id": 1}}
    write_json(folder, "tokenizer.json", dict(
        version="1.0", truncation=None, padding=None, added_tokens=special, normalizer=None, pre_tokenizer=byte_level,
        post_processor=dict(
            type="TemplateProcessing", single=[start, first], pair=[start, first, second],
            special_tokens={"<s>": dict(id="<s>", ids=[1], tokens=["<s>"])}),
        decoder=byte_level,
        model=dict(
            type="BPE", dropout=None, unk_token=None, continuing_subword_prefix=None, end_of_word_suffix=None, fuse_unk=False,
            byte_fallback=False, ignore_merges=False, vocab={token: i for i, token in enumerate(tokens)},
            merges=[f"{a} {b}" for a, b in merges])))
    write_json(folder, "tokenizer_config.json", dict(
        tokenizer_class="PreTrainedTokenizerFast", bos_token="<s>", eos_token="</s>", unk_token="<unk>", add_bos_token=True,
        add_eos_token=False, model_max_length=shape["ctx"], chat_template=TEMPLATE))


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("shape", choices=SHAPES)
    parser.add_argument("folder")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--gguf", default="BF16,Q8_0,Q4_0")
    chosen = parser.parse_args()
    shape, started = SHAPES[chosen.shape], time.time()
    tokens, merges = vocabulary(shape["vocab"])
    tensors = tensors_of(shape)
    folder = f"{chosen.folder}/{chosen.shape}-hf"
    os.makedirs(folder, exist_ok=True)
    write_hugging_face(folder, shape, tokens, merges)
    safetensors = SafetensorsWriter(f"{folder}/model.safetensors", [(name, dims, "BF16") for name, _, dims, _, _ in tensors])
    ggufs = [
        GgufWriter(
            f"{chosen.folder}/{chosen.shape}-{kind}.gguf", gguf_header(f"random-{chosen.shape}", shape, kind, tokens, merges),
            [(name, dims, "F32" if deviation is None else kind) for _, name, dims, deviation, _ in tensors])
        for kind in chosen.gguf.split(",") if kind]
    count = 0
    for name, gguf_name, dims, deviation, heads in tensors:
        x = random_stream(chosen.seed, name).standard_normal(dims, dtype=np.float32)
        x = round_to_bf16(1 + 0.1 * x if deviation is None else x * np.float32(deviation))
        count += x.size
        safetensors.write(name, x)
        y = interleave_heads(x, heads) if heads else x
        for gguf in ggufs:
            gguf.write(gguf_name, y)
    for writer in [safetensors, *ggufs]:
        writer.close()
    print(f"{chosen.shape}: {count / 1e6:.1f} million parameters, {time.time() - started:.0f} s")


main()
