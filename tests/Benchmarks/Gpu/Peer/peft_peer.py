"""The other side of the GPU benchmark: a model of the same dimensions with random weights in transformers, its adapters in PEFT.

Commands come in on standard input, one JSON object a line, and each is answered by one line; the first line is said without being asked, when the
model stands. {"do": "generate", "adapters": [...], "prompt": n, "new": m}: a batch with a row for each adapter's number, -1 for the base;
all rows the same number or all -1 take PEFT's path for one adapter or none. {"do": "train", "steps": n}: steps of fine-tuning.
{"do": "memory"}: peak of what torch took on the device. {"do": "quit"}.
"""
import argparse
import json
import sys
import time

MODULES = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
TINY = {
    "model_type": "llama", "hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2,
    "head_dim": 16, "vocab_size": 512, "max_position_embeddings": 1024, "rms_norm_eps": 1e-5, "rope_theta": 10000.0, "hidden_act": "silu",
    "tie_word_embeddings": False,
}


def answer(**values):
    print(json.dumps(values), flush=True)


def synchronize(device):
    if device == "cuda":
        import torch
        torch.cuda.synchronize()


def make_model(fields, device, rank, adapters, trains):
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import AutoConfig, AutoModelForCausalLM

    # Versions of transformers differ in how they name the others, which speed does not depend on.
    fields = {name: value for name, value in fields.items() if name not in ("architectures", "torch_dtype", "bos_token_id", "eos_token_id", "rope_theta")}
    config = AutoConfig.for_model(fields.pop("model_type"), **fields)
    config.eos_token_id = None
    config.pad_token_id = 0
    torch.manual_seed(1)
    torch.set_default_dtype(torch.bfloat16)
    with torch.device(device):
        model = AutoModelForCausalLM.from_config(config)
    torch.set_default_dtype(torch.float32)
    model = model.to(device, torch.bfloat16)
    recipe = LoraConfig(
        r=rank, lora_alpha=rank, lora_dropout=0.0, target_modules=MODULES, init_lora_weights=trains, bias="none", task_type="CAUSAL_LM")
    with torch.device(device):
        model = get_peft_model(model, recipe, adapter_name="tenant_0")
        for number in range(1, adapters):
            model.add_adapter(f"tenant_{number}", recipe)
    model = model.to(device)
    if not trains:
        # PEFT keeps adapters in f32 by itself; a base in bf16 is served faster with adapters in bf16.
        model = model.to(torch.bfloat16)
    return model


class Peer:
    def __init__(self, options, fields):
        import torch
        self.torch = torch
        self.options = options
        self.vocabulary = fields["vocab_size"]
        self.model = make_model(dict(fields), options.device, options.rank, options.adapters, options.train)
        if options.train:
            self.model.train()
            parameters = [parameter for parameter in self.model.parameters() if parameter.requires_grad]
            self.trained = sum(parameter.numel() for parameter in parameters)
            self.optimizer = torch.optim.AdamW(parameters, lr=1e-4, **({"fused": True} if options.device == "cuda" else {}))
            self.tokens = torch.randint(0, self.vocabulary, (options.sequences, options.length), device=options.device)
        else:
            self.trained = 0
            self.model.eval()

    def generate(self, adapters, prompt, new):
        torch, device = self.torch, self.options.device
        tokens = torch.randint(0, self.vocabulary, (len(adapters), prompt), device=device)
        how = dict(
            input_ids=tokens, attention_mask=torch.ones_like(tokens), max_new_tokens=new, min_new_tokens=new, do_sample=False, use_cache=True,
            pad_token_id=0)
        synchronize(device)
        start = time.perf_counter()
        with torch.inference_mode():
            if all(number < 0 for number in adapters):
                with self.model.disable_adapter():
                    output = self.model.generate(**how)
            elif len(set(adapters)) == 1:
                self.model.set_adapter(f"tenant_{adapters[0]}")
                output = self.model.generate(**how)
            else:
                names = ["__base__" if number < 0 else f"tenant_{number}" for number in adapters]
                output = self.model.generate(adapter_names=names, **how)
        synchronize(device)
        return dict(seconds=time.perf_counter() - start, tokens=int(output.shape[0] * (output.shape[1] - prompt)))

    def train(self, steps):
        synchronize(self.options.device)
        start = time.perf_counter()
        for _ in range(steps):
            self.optimizer.zero_grad(set_to_none=True)
            loss = self.model(input_ids=self.tokens, labels=self.tokens, use_cache=False).loss
            loss.backward()
            self.optimizer.step()
        synchronize(self.options.device)
        return dict(seconds=time.perf_counter() - start, loss=float(loss))

    def memory(self):
        return dict(bytes=self.torch.cuda.max_memory_allocated() if self.options.device == "cuda" else 0)


def run(peer, command):
    if command["do"] == "generate":
        return peer.generate(command["adapters"], command["prompt"], command["new"])
    if command["do"] == "train":
        return peer.train(command["steps"])
    if command["do"] == "memory":
        return peer.memory()
    raise ValueError(f"no such command: {command['do']}")


def dry_run(options):
    """Both kinds of work once with a tiny model."""
    options.adapters, options.sequences, options.length = 3, 2, 16
    for options.train in (False, True):
        peer = Peer(options, TINY)
        commands = [{"do": "train", "steps": 2}] if options.train else [
            {"do": "generate", "adapters": numbers, "prompt": 4, "new": 3} for numbers in ([-1, -1, -1], [1, 1, 1], [0, 1, 2])]
        for command in [*commands, {"do": "memory"}]:
            answer(command=command["do"], **run(peer, command))


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--config", help="config.json of the model")
    parser.add_argument("--device", choices=["cuda", "cpu"], default="cuda")
    parser.add_argument("--adapters", type=int, default=1)
    parser.add_argument("--rank", type=int, default=16)
    parser.add_argument("--train", action="store_true")
    parser.add_argument("--sequences", type=int, default=8)
    parser.add_argument("--length", type=int, default=512)
    parser.add_argument("--dry-run", action="store_true")
    options = parser.parse_args()
    try:
        import peft
        import torch
        import transformers
    except ImportError as error:
        answer(missing=str(error))
        return
    if options.device == "cuda" and not torch.cuda.is_available():
        answer(missing="torch sees no CUDA device")
        return
    if options.dry_run:
        dry_run(options)
        return
    with open(options.config) as file:
        fields = json.load(file)
    peer = Peer(options, fields)
    versions = f"torch {torch.__version__}, transformers {transformers.__version__}, PEFT {peft.__version__}"
    answer(ready=versions, trained=peer.trained)
    for line in sys.stdin:
        command = json.loads(line)
        if command["do"] == "quit":
            break
        answer(**run(peer, command))


if __name__ == "__main__":
    main()
