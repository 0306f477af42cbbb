"""The other side of the training benchmark: the same Llama in plain torch, trained by the commands that come in on standard input.

Reads a Hugging Face folder and a PEFT adapter folder, so both sides start from the same numbers. LoRA and DoRA are written as PEFT writes
them (base(x) + B(A(x)) * scale; DoRA's norm is detached). Commands, one a line: "step N" trains N steps and answers with their seconds,
the seconds of processor time and the loss of the last; "quit" answers with the peak of resident memory. Answers are lines of JSON.
"""
import argparse
import json
import math
import struct
import sys
import time

import torch
import torch.nn.functional as F

MODULES = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]


def read_safetensors(path):
    with open(path, "rb") as file:
        header = json.loads(file.read(struct.unpack("<Q", file.read(8))[0]))
        start = file.tell()
        tensors = {}
        for name, entry in header.items():
            if name == "__metadata__":
                continue
            assert entry["dtype"] == "F32", entry["dtype"]
            begin, end = entry["data_offsets"]
            file.seek(start + begin)
            data = torch.frombuffer(bytearray(file.read(end - begin)), dtype=torch.float32)
            tensors[name] = data.reshape(entry["shape"])
    return tensors


class Linear(torch.nn.Module):
    def __init__(self, weight, method, a, b, magnitude, scale):
        super().__init__()
        self.weight = torch.nn.Parameter(weight, requires_grad=method == "full")
        self.method = method
        self.scale = scale
        if method != "full":
            self.a = torch.nn.Parameter(a)
            self.b = torch.nn.Parameter(b)
        if method == "dora":
            self.magnitude = torch.nn.Parameter(magnitude)

    def forward(self, x):
        base = F.linear(x, self.weight)
        if self.method == "full":
            return base
        change = F.linear(F.linear(x, self.a), self.b) * self.scale
        if self.method == "lora":
            return base + change
        norm = torch.linalg.norm(self.weight + self.scale * (self.b @ self.a).detach(), dim=1)
        return (self.magnitude / norm) * (base + change)


class RmsNorm(torch.nn.Module):
    def __init__(self, weight, epsilon, trained):
        super().__init__()
        self.weight = torch.nn.Parameter(weight, requires_grad=trained)
        self.epsilon = epsilon

    def forward(self, x):
        x = x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + self.epsilon)
        return self.weight * x


def rotate(x, cos, sin):
    half = x.shape[-1] // 2
    return x * cos + torch.cat((-x[..., half:], x[..., :half]), dim=-1) * sin


class Layer(torch.nn.Module):
    def __init__(self, config, weights, adapter, method, prefix, scale):
        super().__init__()
        self.heads = config["num_attention_heads"]
        for module in MODULES:
            path = prefix + ("self_attn." if len(module) == len("q_proj") else "mlp.") + module
            adapter_path = "base_model.model." + path
            setattr(self, module, Linear(
                weights.pop(path + ".weight"), method,
                *(adapter.pop(adapter_path + name, None) for name in (".lora_A.weight", ".lora_B.weight", ".lora_magnitude_vector")), scale))
        epsilon, trained = config["rms_norm_eps"], method == "full"
        self.norm1 = RmsNorm(weights.pop(prefix + "input_layernorm.weight"), epsilon, trained)
        self.norm2 = RmsNorm(weights.pop(prefix + "post_attention_layernorm.weight"), epsilon, trained)

    def forward(self, hidden, cos, sin, mask):
        batch, length, width = hidden.shape
        size = width // self.heads
        x = self.norm1(hidden)
        q, k, v = (project(x).view(batch, length, self.heads, size).transpose(1, 2) for project in (self.q_proj, self.k_proj, self.v_proj))
        q, k = rotate(q, cos, sin), rotate(k, cos, sin)
        scores = torch.matmul(q, k.transpose(2, 3)) / math.sqrt(size) + mask
        weights = torch.softmax(scores, dim=-1, dtype=torch.float32).to(q.dtype)
        attended = torch.matmul(weights, v).transpose(1, 2).reshape(batch, length, width)
        hidden = hidden + self.o_proj(attended)
        x = self.norm2(hidden)
        return hidden + self.down_proj(F.silu(self.gate_proj(x)) * self.up_proj(x))


class Llama(torch.nn.Module):
    def __init__(self, config, weights, adapter, method, scale):
        super().__init__()
        assert config["num_attention_heads"] == config["num_key_value_heads"]
        trained = method == "full"
        self.config = config
        self.embedding = torch.nn.Parameter(weights.pop("model.embed_tokens.weight"), requires_grad=trained)
        self.layers = torch.nn.ModuleList(
            Layer(config, weights, adapter, method, f"model.layers.{i}.", scale) for i in range(config["num_hidden_layers"]))
        self.norm = RmsNorm(weights.pop("model.norm.weight"), config["rms_norm_eps"], trained)
        self.head = torch.nn.Parameter(weights.pop("lm_head.weight"), requires_grad=trained)
        assert not weights and (trained or not adapter), "weights that nobody reads"

    def forward(self, tokens):
        length = tokens.shape[1]
        size = self.config["hidden_size"] // self.config["num_attention_heads"]
        frequencies = self.config["rope_theta"] ** (-torch.arange(0, size, 2).float() / size)
        angles = torch.outer(torch.arange(length).float(), frequencies)
        angles = torch.cat((angles, angles), dim=-1)
        mask = torch.full((length, length), float("-inf")).triu(1)
        hidden = F.embedding(tokens, self.embedding)
        for layer in self.layers:
            hidden = layer(hidden, angles.cos(), angles.sin(), mask)
        logits = F.linear(self.norm(hidden), self.head).float()
        return F.cross_entropy(logits[:, :-1].reshape(-1, logits.shape[-1]), tokens[:, 1:].reshape(-1))


def answer(**values):
    print(json.dumps(values), flush=True)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--model", required=True)
    parser.add_argument("--adapter", required=True)
    parser.add_argument("--method", choices=["lora", "dora", "full"], required=True)
    parser.add_argument("--tokens", required=True)
    parser.add_argument("--threads", type=int, required=True)
    parser.add_argument("--rate", type=float, required=True)
    parser.add_argument("--bf16", action="store_true")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    with open(options.model + "/config.json") as file:
        config = json.load(file)
    with open(options.adapter + "/adapter_config.json") as file:
        adapter_config = json.load(file)
    with open(options.tokens) as file:
        tokens = torch.tensor(json.load(file))
    adapter = {} if options.method == "full" else read_safetensors(options.adapter + "/adapter_model.safetensors")
    scale = adapter_config["lora_alpha"] / adapter_config["r"]
    model = Llama(config, read_safetensors(options.model + "/model.safetensors"), adapter, options.method, scale)
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=options.rate, weight_decay=0.01, foreach=True)
    answer(version=torch.__version__, trained=sum(parameter.numel() for parameter in trained))
    for line in sys.stdin:
        command = line.split()
        if command[0] == "quit":
            break
        start, cpu = time.perf_counter(), time.process_time()
        for _ in range(int(command[1])):
            optimizer.zero_grad(set_to_none=True)
            with torch.autocast("cpu", dtype=torch.bfloat16, enabled=options.bf16):
                loss = model(tokens)
            loss.backward()
            optimizer.step()
        answer(seconds=time.perf_counter() - start, cpu=time.process_time() - cpu, loss=loss.item())
    with open("/proc/self/status") as file:
        answer(peak=next(int(line.split()[1]) * 1024 for line in file if line.startswith("VmHWM")))


if __name__ == "__main__":
    main()
