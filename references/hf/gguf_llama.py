"""A llama GGUF as a LlamaForCausalLM. The weights come through transformers' own loader; what that loader leaves out or guesses
is read from the metadata here: rotary scaling (`llama.rope.scaling.*`, `rope_freqs.weight`), head size, biases, vocabulary."""

import math
import re
from pathlib import Path
from typing import Any

import torch
from gguf import GGUFReader, ReaderTensor, dequantize
from transformers import LlamaConfig, LlamaForCausalLM

PROJECTIONS = "attn_q|attn_k|attn_v|attn_output|ffn_gate|ffn_up|ffn_down"
KNOWN_TENSOR = re.compile(
    rf"(token_embd|output|output_norm|rope_freqs)\.weight|blk\.\d+\.(({PROJECTIONS})\.(weight|bias)|(attn|ffn)_norm\.weight)"
)


class ModelError(Exception):
    """A model that cannot be run: one line with the thing and the remedy."""


class Metadata:
    """Numbers and names of a GGUF's `llama.*` keys."""

    def __init__(self, reader: GGUFReader) -> None:
        self.reader = reader

    def get(self, key: str, default: Any = None) -> Any:
        field = self.reader.fields.get(key)
        return default if field is None else field.contents()

    def number(self, key: str, default: float | None = None) -> Any:
        value = self.get(f"llama.{key}", default)
        if not isinstance(value, (int, float)):
            raise ModelError(f"llama.{key} is {value!r}, one number is needed; convert the model again")
        return value


def rope_parameters(metadata: Metadata) -> dict[str, Any]:
    """The scaling in transformers' words. GGUF takes a missing type for linear, and a factor of 0 for none."""
    parameters: dict[str, Any] = {"rope_type": "default", "rope_theta": float(metadata.number("rope.freq_base", 10000.0))}
    kind = metadata.get("llama.rope.scaling.type", "linear")
    factor = float(metadata.number("rope.scaling.factor", metadata.number("rope.scale_linear", 1.0)) or 1.0)
    if kind == "none" or (kind == "linear" and factor == 1.0):
        return parameters
    if kind == "linear":
        return parameters | {"rope_type": "linear", "factor": factor}
    if kind == "yarn":
        # YaRN's own growth of cosine and sine, times what the file asks for.
        growth = 1.0 + 0.1 * math.log(factor) if factor > 1.0 else 1.0
        return parameters | {
            "rope_type": "yarn",
            "factor": factor,
            "original_max_position_embeddings": int(
                metadata.number("rope.scaling.original_context_length", metadata.number("context_length"))
            ),
            "beta_fast": float(metadata.number("rope.scaling.yarn_beta_fast", 32.0)),
            "beta_slow": float(metadata.number("rope.scaling.yarn_beta_slow", 1.0)),
            "attention_factor": growth * float(metadata.number("rope.scaling.attn_factor", 1.0)),
        }
    raise ModelError(f'llama.rope.scaling.type is "{kind}"; none, linear and yarn can be run')


def llama_config(metadata: Metadata, tensors: dict[str, ReaderTensor]) -> LlamaConfig:
    number = metadata.number
    # The loader puts the rows of q and k into transformers' order only where the file states this.
    if metadata.get("llama.attention.head_count_kv") is None:
        raise ModelError("llama.attention.head_count_kv is missing; transformers' loader needs it, convert the model again")
    heads = number("attention.head_count")
    head_dim = number("attention.key_length", number("embedding_length") // heads)
    if number("rope.dimension_count", head_dim) != head_dim or number("attention.value_length", head_dim) != head_dim:
        raise ModelError(f"the head size is {head_dim}; rotary and value sizes must be the same")

    def biased(block: str) -> bool:
        return any(re.fullmatch(rf"blk\.\d+\.{block}_\w+\.bias", name) for name in tensors)

    return LlamaConfig(
        vocab_size=int(tensors["token_embd.weight"].shape[1]),
        hidden_size=number("embedding_length"),
        intermediate_size=number("feed_forward_length"),
        num_hidden_layers=number("block_count"),
        num_attention_heads=heads,
        num_key_value_heads=number("attention.head_count_kv"),
        head_dim=head_dim,
        max_position_embeddings=number("context_length"),
        rms_norm_eps=number("attention.layer_norm_rms_epsilon"),
        rope_parameters=rope_parameters(metadata),
        attention_bias=biased("attn"),
        mlp_bias=biased("ffn"),
        tie_word_embeddings="output.weight" not in tensors,
        bos_token_id=None,
        eos_token_id=None,
        pad_token_id=None,
    )


def load_gguf(path: Path) -> tuple[LlamaForCausalLM, dict[str, Any]]:
    """The model in f32, and what was repaired, for the dump's settings."""
    reader = GGUFReader(path)
    metadata = Metadata(reader)
    architecture = metadata.get("general.architecture")
    if architecture != "llama":
        raise ModelError(f'architecture "{architecture}"; the HuggingFace reference runs llama')
    tensors = {tensor.name: tensor for tensor in reader.tensors}
    if "token_embd.weight" not in tensors:
        raise ModelError("token_embd.weight is missing: the file holds no weights")
    unknown = [name for name in tensors if not KNOWN_TENSOR.fullmatch(name)]
    if unknown:
        raise ModelError(f"{unknown[0]} has no place in transformers' LlamaForCausalLM ({len(unknown)} such tensors)")

    model, info = LlamaForCausalLM.from_pretrained(
        path.parent,
        gguf_file=path.name,
        config=llama_config(metadata, tensors),
        dtype=torch.float32,
        attn_implementation="eager",
        output_loading_info=True,
    )
    zeroed = zero_missing_biases(model, info)
    check_loading(info)
    factors = tensors.get("rope_freqs.weight")
    if factors is not None:
        divisors = torch.from_numpy(dequantize(factors.data, factors.tensor_type).copy())
        model.model.rotary_emb.inv_freq.div_(divisors)
    return model, {"rope_freqs": factors is not None, "zeroed_biases": zeroed}


def zero_missing_biases(model: LlamaForCausalLM, info: dict[str, Any]) -> int:
    """Transformers gives all projections of attention a bias or none; a file with some gets zeros for the rest."""
    missing = [key for key in info["missing_keys"] if key.endswith("_proj.bias")]
    for key in missing:
        torch.nn.init.zeros_(model.get_parameter(key))
    info["missing_keys"] = set(info["missing_keys"]) - set(missing)
    return len(missing)


def check_loading(info: dict[str, Any]) -> None:
    """Refuses a model of which a weight was made up, left over or of another shape."""
    faults = {
        "missing": info["missing_keys"],
        "not used": info["unexpected_keys"],
        "of another shape": [key for key, *_ in info["mismatched_keys"]],
    }
    for fault, keys in faults.items():
        if keys:
            raise ModelError(f"{sorted(keys)[0]} is {fault} ({len(keys)} such weights); the model is incomplete or damaged")
