#!/usr/bin/env python3
# /// script
# requires-python = ">=3.11"
# dependencies = [
#   "torch==2.13.0",
#   "transformers==5.23.0",
#   "gguf==0.19.0",
#   "accelerate==1.15.0",
#   "numpy==2.4.6",
#   "nvidia-cuda-runtime==13.0.96; platform_system == 'Linux'",
# ]
#
# [tool.uv]
# override-dependencies = [ # 2.4 GB that a CPU has no use for; see cpu_torch.py
#   "cuda-bindings; python_version < '0'",
#   "cuda-toolkit; python_version < '0'",
#   "nvidia-cudnn-cu13; python_version < '0'",
#   "nvidia-cusparselt-cu13; python_version < '0'",
#   "nvidia-nccl-cu13; python_version < '0'",
#   "nvidia-nvshmem-cu13; python_version < '0'",
#   "triton; python_version < '0'",
# ]
# ///
"""Dumps every tensor of a llama model run by HuggingFace Transformers: eager attention, f32, CPU, KV cache.

    dump.py --model model.gguf --out folder --step 1,2,3 --step 4 --greedy 2

Writes one .npy per tensor, in transformers' own names and layouts (the batch axis dropped), and dump.json last: a folder without
it is not finished. references/maps/hf-llama.json translates. Progress goes to stdout; an error is one line on stderr, status 2.
"""

import argparse
import json
import os
import signal
import sys
from pathlib import Path
from typing import Any, NoReturn

signal.signal(signal.SIGINT, signal.SIG_DFL)  # an interrupt ends it without a traceback, imports included

import cpu_torch

cpu_torch.prepare()
os.environ["TQDM_DISABLE"] = "1"

import numpy as np
import torch
import transformers
from transformers import AutoTokenizer, DynamicCache, LlamaConfig, LlamaForCausalLM

from capture import hook_modules, wrapped_attention
from gguf_llama import ModelError, check_loading, load_gguf

THREADS = 1


class Dump:
    """A dump folder that is being written."""

    def __init__(self, folder: Path, logits_only: bool) -> None:
        self.folder = folder
        self.logits_only = logits_only
        self.steps: list[dict[str, Any]] = []
        self.tensors: list[dict[str, Any]] = []
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "dump.json").unlink(missing_ok=True)

    def record(self, name: str, op: str, weight: str, tensor: torch.Tensor) -> None:
        if self.logits_only and name != "lm_head":
            return
        seq = len(self.tensors)
        file = f"{seq:06d}.npy"
        np.save(self.folder / file, np.ascontiguousarray(tensor.numpy(), dtype=np.float32))
        step = len(self.steps) - 1
        self.tensors.append(
            {"seq": seq, "step": step, "name": name, "op": op, "weight": weight, "file": file, "dtype": "f32"}
        )

    def finish(self, head: dict[str, Any]) -> None:
        partial = self.folder / "dump.json.partial"
        partial.write_text(json.dumps({"faultline_dump": 1} | head | {"steps": self.steps, "tensors": self.tensors}))
        os.replace(partial, self.folder / "dump.json")


def load_folder(path: Path) -> tuple[LlamaForCausalLM, dict[str, Any]]:
    if not (path / "config.json").is_file():
        raise ModelError("no config.json in the folder; give a folder of HuggingFace Transformers or a GGUF file")
    kind = json.loads((path / "config.json").read_text()).get("model_type")
    if kind != "llama":
        raise ModelError(f'model_type "{kind}"; the HuggingFace reference runs llama')
    if not any(path.glob("*.safetensors")) and not any(path.glob("*.bin")):
        raise ModelError("no weights in the folder (*.safetensors); download the model whole")
    model, info = LlamaForCausalLM.from_pretrained(
        path,
        config=LlamaConfig.from_pretrained(path),
        dtype=torch.float32,
        attn_implementation="eager",
        output_loading_info=True,
    )
    check_loading(info)
    return model, {}


def settings(model: LlamaForCausalLM, repaired: dict[str, Any]) -> dict[str, Any]:
    rope = {key.removeprefix("rope_"): value for key, value in model.config.rope_parameters.items()}
    scalars = {f"rope_{key}": value for key, value in rope.items() if isinstance(value, (str, int, float, bool))}
    return {
        "torch": torch.__version__,
        "attn_implementation": model.config._attn_implementation,
        "threads": torch.get_num_threads(),
        **scalars,
        **repaired,
    }


def check_steps(model: LlamaForCausalLM, steps: list[list[int]], greedy: int) -> None:
    vocabulary, context = model.config.vocab_size, model.config.max_position_embeddings
    count = sum(len(tokens) for tokens in steps) + greedy
    if not steps:
        raise ModelError("nothing to run; give --step 1,2,3 or --prompt TEXT")
    if count > context:
        raise ModelError(f"{count} tokens, but the model's context is {context}; give fewer")
    for token in (token for tokens in steps for token in tokens if not 0 <= token < vocabulary):
        raise ModelError(f"token {token} is not in the vocabulary of {vocabulary}; give ids from 0 to {vocabulary - 1}")


@torch.no_grad()
def run(model: LlamaForCausalLM, steps: list[list[int]], greedy: int, dump: Dump) -> None:
    hook_modules(model, dump.record)
    cache = DynamicCache(config=model.config)
    passes = len(steps) + greedy
    tokens: list[int] = []
    with wrapped_attention(model, dump.record):
        for index in range(passes):
            tokens = steps[index] if index < len(steps) else tokens
            position = cache.get_seq_length()
            dump.steps.append({"pos_start": position, "tokens": tokens})
            logits = model(input_ids=torch.tensor([tokens]), past_key_values=cache, use_cache=True).logits
            # numpy's argmax is the first of equal ones; torch promises no order.
            tokens = [int(np.argmax(logits[0, -1].numpy()))]
            print(f"pass {index + 1} of {passes}", flush=True)


class Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        self.exit(2, f"hf: {message}; see dump.py --help\n")


def parse_arguments() -> argparse.Namespace:
    def ids(text: str) -> list[int]:
        return [int(part) for part in text.split(",")]

    def count(text: str) -> int:
        if int(text) < 0:
            raise ValueError
        return int(text)

    parser = Parser(description="Dumps every tensor of a llama model run by HuggingFace Transformers")
    parser.add_argument("--model", type=Path, required=True, help="GGUF file or HuggingFace folder")
    parser.add_argument("--out", type=Path, required=True, help="folder to write")
    parser.add_argument("--step", type=ids, action="append", default=[], help="tokens of one forward pass: 1,2,3")
    parser.add_argument("--greedy", type=count, default=0, help="further passes, each fed the likeliest token")
    parser.add_argument("--prompt", help="text of the first pass (folders with a tokenizer)")
    parser.add_argument("--logits-only", action="store_true")
    return parser.parse_args()


def main(arguments: argparse.Namespace) -> None:
    path: Path = arguments.model
    if not path.exists():
        raise ModelError("no such file or folder")
    steps: list[list[int]] = arguments.step
    if arguments.prompt is not None:
        if not path.is_dir() or not any(path.glob("tokenizer*")):
            raise ModelError("--prompt needs a HuggingFace folder with a tokenizer; give --step with token ids")
        steps = [AutoTokenizer.from_pretrained(path)(arguments.prompt)["input_ids"], *steps]
    print("loading", flush=True)
    model, repaired = load_folder(path) if path.is_dir() else load_gguf(path)
    model.eval()
    check_steps(model, steps, arguments.greedy)
    dump = Dump(arguments.out, arguments.logits_only)
    run(model, steps, arguments.greedy, dump)
    dump.finish(
        {
            "producer": {
                "name": "transformers",
                "version": transformers.__version__,
                "device": "cpu",
                "dtype": "f32",
                "settings": settings(model, repaired),
            },
            "names": "hf-llama",
            "model": {"file": path.resolve().name, "architecture": "llama"},
            "prompt": arguments.prompt,
        }
    )


if __name__ == "__main__":
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    torch.set_num_threads(THREADS)
    options = parse_arguments()
    try:
        main(options)
    except Exception as error:  # whatever a package throws at a damaged model is the user's to know, in one line
        reason = str(error) if isinstance(error, ModelError) else f"{type(error).__name__}: {error}"
        print(f"hf: {options.model.name}: {' '.join(reason.split())[:400]}", file=sys.stderr)
        sys.exit(2)
