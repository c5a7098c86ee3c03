"""Every tensor of a forward pass of LlamaForCausalLM, in the order it was made: hooks on modules, wrappers around two functions."""

from collections.abc import Callable
from contextlib import contextmanager
from typing import Any, Iterator

import torch
from torch import nn
from transformers.models.llama import modeling_llama as llama

# name, operation, weight, tensor without its batch axis
Record = Callable[[str, str, str, torch.Tensor], None]

OUTPUTS = (nn.Embedding, nn.Linear, llama.LlamaRMSNorm, llama.LlamaDecoderLayer)
# What goes into these is made by no module of its own: attention's context, the residual sum, activation * up.
INPUTS = ("o_proj", "post_attention_layernorm", "down_proj")


def hook_modules(model: llama.LlamaForCausalLM, record: Record) -> None:
    """Names are module paths; `.input` is what went into a module."""
    for name, module in model.named_modules():
        weight = f"{name}.weight" if hasattr(module, "weight") else ""
        if name.endswith(INPUTS):

            def before(_: nn.Module, inputs: tuple[torch.Tensor, ...], name: str = name) -> None:
                record(f"{name}.input", "input", "", inputs[0][0])

            module.register_forward_pre_hook(before)
        if isinstance(module, OUTPUTS):

            def after(m: nn.Module, _: Any, output: torch.Tensor, name: str = name, weight: str = weight) -> None:
                record(name, type(m).__name__, weight, output[0])

            module.register_forward_hook(after)

    def rotary(_: nn.Module, __: Any, output: tuple[torch.Tensor, torch.Tensor]) -> None:
        for name, table in zip(("cos", "sin"), output):
            record(f"model.rotary_emb.{name}", "LlamaRotaryEmbedding", "", table[0])

    model.model.rotary_emb.register_forward_hook(rotary)


@contextmanager
def wrapped_attention(model: llama.LlamaForCausalLM, record: Record) -> Iterator[None]:
    """Rotated q and k, scores before the mask, and probabilities live inside functions, not modules."""
    rotate, attend = llama.apply_rotary_pos_emb, llama.eager_attention_forward
    names = {module: name for name, module in model.named_modules()}
    current = [""]

    def enter(module: nn.Module, *_: Any) -> None:
        current[0] = names[module]

    def rotate_recorded(*args: Any, **kwargs: Any) -> tuple[torch.Tensor, torch.Tensor]:
        q, k = rotate(*args, **kwargs)
        record(f"{current[0]}.q_rope", "apply_rotary_pos_emb", "", q[0])
        record(f"{current[0]}.k_rope", "apply_rotary_pos_emb", "", k[0])
        return q, k

    def attend_recorded(
        module: nn.Module, query: torch.Tensor, key: torch.Tensor, *args: Any, scaling: float, **kwargs: Any
    ) -> tuple[torch.Tensor, torch.Tensor]:
        # The same expression as in eager_attention_forward, which adds the mask to it in the next line.
        keys = llama.repeat_kv(key, module.num_key_value_groups)
        record(f"{names[module]}.scores", "matmul", "", (torch.matmul(query, keys.transpose(2, 3)) * scaling)[0])
        context, probabilities = attend(module, query, key, *args, scaling=scaling, **kwargs)
        record(f"{names[module]}.probs", "softmax", "", probabilities[0])
        return context, probabilities

    entered = [layer.self_attn.register_forward_pre_hook(enter) for layer in model.model.layers]
    llama.apply_rotary_pos_emb, llama.eager_attention_forward = rotate_recorded, attend_recorded
    try:
        yield
    finally:
        llama.apply_rotary_pos_emb, llama.eager_attention_forward = rotate, attend
        for hook in entered:
            hook.remove()
