"""Random LoRA adapters on all linear modules of a shape, the same values (rounded to bf16) in PEFT's form and in GGUF.

    make_adapters.py SHAPE FOLDER [--rank 16] [--count 16] [--seed 1000]

writes FOLDER/SHAPE-rR-I/{adapter_config.json,adapter_model.safetensors} in bf16 and FOLDER/SHAPE-rR-I.gguf in f16."""
import argparse
import json
import os
import time

import numpy as np

from containers import F32, GgufWriter, SafetensorsWriter, interleave_heads
from number_formats import GGML, random_stream, round_to_bf16
from shapes import PROJECTIONS, SHAPES, dimensions, rotated_heads


def modules_of(shape):
    """PEFT's name, GGUF's name, outputs, inputs, heads to interleave."""
    size = dimensions(shape)
    return [
        (f"base_model.model.model.layers.{layer}.{name}", f"blk.{layer}.{gguf}.weight", size[outputs], size[inputs], rotated_heads(shape, gguf))
        for layer in range(shape["layers"]) for name, (gguf, outputs, inputs) in PROJECTIONS.items()]


def write_adapter(path, shape_name, modules, rank, seed):
    alpha = 2.0 * rank
    header = [
        ("general.architecture", "llama"), ("general.type", "adapter"), ("general.name", os.path.basename(path)),
        ("general.file_type", GGML["F16"][1]), ("adapter.type", "lora"), ("adapter.lora.alpha", F32(alpha))]
    gguf = GgufWriter(path + ".gguf", header, [
        tensor for _, name, outputs, inputs, _ in modules
        for tensor in ((name + ".lora_a", (rank, inputs), "F16"), (name + ".lora_b", (outputs, rank), "F16"))])
    os.makedirs(path, exist_ok=True)
    with open(path + "/adapter_config.json", "w", encoding="utf-8") as file:
        json.dump(dict(
            peft_type="LORA", task_type="CAUSAL_LM", base_model_name_or_path=shape_name, r=rank, lora_alpha=alpha, lora_dropout=0.0,
            bias="none", fan_in_fan_out=False, inference_mode=True, target_modules=[name.split(".")[1] for name in PROJECTIONS]), file, indent=1)
    peft = SafetensorsWriter(path + "/adapter_model.safetensors", [
        tensor for name, _, outputs, inputs, _ in modules
        for tensor in ((name + ".lora_A.weight", (rank, inputs), "BF16"), (name + ".lora_B.weight", (outputs, rank), "BF16"))])
    count = 0
    for name, gguf_name, outputs, inputs, heads in modules:
        random = random_stream(seed, f"{name}.r{rank}")
        a = round_to_bf16(random.standard_normal((rank, inputs), dtype=np.float32) / inputs**0.5)
        b = round_to_bf16(random.standard_normal((outputs, rank), dtype=np.float32) * (0.1 / rank**0.5))
        count += a.size + b.size
        peft.write(name + ".lora_A.weight", a)
        peft.write(name + ".lora_B.weight", b)
        gguf.write(gguf_name + ".lora_a", a)
        gguf.write(gguf_name + ".lora_b", interleave_heads(b, heads) if heads else b)
    gguf.close()
    peft.close()
    return count


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("shape", choices=SHAPES)
    parser.add_argument("folder")
    parser.add_argument("--rank", type=int, default=16)
    parser.add_argument("--count", type=int, default=16)
    parser.add_argument("--seed", type=int, default=1000)
    chosen = parser.parse_args()
    os.makedirs(chosen.folder, exist_ok=True)
    started, parameters = time.time(), 0
    for i in range(chosen.count):
        path = f"{chosen.folder}/{chosen.shape}-r{chosen.rank}-{i}"
        parameters = write_adapter(path, chosen.shape, modules_of(SHAPES[chosen.shape]), chosen.rank, chosen.seed + i)
    print(f"{chosen.shape} rank {chosen.rank}: {chosen.count} adapters, {parameters / 1e6:.2f} million parameters each, {time.time() - started:.0f} s")


main()
