"""A llama engine as one writes it in an afternoon: numpy, F16 and F32 weights, a KV cache. It has a bug.

    python tiny_engine.py MODEL TOKENS STEPS [DUMP]    # DUMP: a folder for the output of every op (docs/writing-a-dumper.md)
"""

import json
import os
import struct
import sys

import numpy as np


def read_gguf(path):
    """Metadata and tensors of a GGUF file; float types only."""
    with open(path, "rb") as file:
        data = file.read()
    at = 8  # magic and version

    def number(form):
        nonlocal at
        at += struct.calcsize("<" + form)
        return struct.unpack_from("<" + form, data, at - struct.calcsize("<" + form))[0]

    def text():
        nonlocal at
        size = number("Q")
        at += size
        return data[at - size : at].decode("utf-8", "replace")

    def value(kind):
        if kind == 8:
            return text()
        if kind == 9:
            item, count = number("I"), number("Q")
            return [value(item) for _ in range(count)]
        return number("BbHhIif?__Qqd"[kind])

    tensors, keys = number("Q"), number("Q")
    facts = {}
    for _ in range(keys):
        name = text()
        facts[name] = value(number("I"))
    places = []
    for _ in range(tensors):
        name = text()
        shape = [number("Q") for _ in range(number("I"))][::-1]
        places.append((name, shape, number("I"), number("Q")))
    start = -(-at // 32) * 32
    return facts, {
        name: np.frombuffer(data, ("<f4", "<f2")[kind], int(np.prod(shape)), start + offset).reshape(shape).astype("f4")
        for name, shape, kind, offset in places
    }


class Engine:
    def __init__(self, path, note):
        self.facts, self.weights = read_gguf(path)
        self.note = note  # called with the name of a tap and its array, wherever one is at hand
        self.layers, self.base = self.fact("block_count"), self.fact("rope.freq_base")
        self.heads, self.kv_heads = self.fact("attention.head_count"), self.fact("attention.head_count_kv")
        self.eps = np.float32(self.fact("attention.layer_norm_rms_epsilon"))
        self.caches = [([], []) for _ in range(self.layers)]

    def fact(self, name):
        return self.facts[f"llama.{name}"]

    def tap(self, layer, name, value):
        self.note(f"blk.{layer}.{name}", value)
        return value

    def norm(self, x, weight):
        return x / np.sqrt((x * x).mean(-1, keepdims=True) + self.eps) * self.weights[weight]

    def rope(self, x, positions):
        """x: token x head x head_dim; pairs are neighbours."""
        size = x.shape[-1]
        angles = np.outer(positions, self.base ** (-np.arange(0, size, 2) / size))[:, None]
        even, odd = x[..., 0::2], x[..., 1::2]
        turned = [even * np.cos(angles) - odd * np.sin(angles), even * np.sin(angles) + odd * np.cos(angles)]
        return np.stack(turned, -1).reshape(x.shape).astype("f4")

    def attend(self, layer, q, k, v):
        keys, values = self.caches[layer]
        keys.append(k)
        values.append(v)
        k, v = np.concatenate(keys), np.concatenate(values)
        kv_head = [head % self.kv_heads for head in range(self.heads)]
        scores = np.einsum("thd,shd->hts", q, k[:, kv_head]) / np.sqrt(np.float32(q.shape[-1]))
        seen = np.arange(len(k)) <= np.arange(len(k) - len(q), len(k))[:, None]
        self.tap(layer, "attn_scores", np.where(seen, scores, 0))
        scores = np.where(seen, scores, -np.inf)
        probs = np.exp(scores - scores.max(-1, keepdims=True))
        probs = self.tap(layer, "attn_probs", probs / probs.sum(-1, keepdims=True))
        return np.einsum("hts,shd->thd", probs, v[:, kv_head]).reshape(len(q), -1)

    def layer(self, i, x, positions):
        tap = lambda name, value: self.tap(i, name, value)
        times = lambda y, name: y @ self.weights[f"blk.{i}.{name}.weight"].T
        y = tap("attn_norm", self.norm(x, f"blk.{i}.attn_norm.weight"))
        q, k, v = (tap(f"{name}_proj", times(y, f"attn_{name}")) for name in "qkv")
        split = (len(x), -1, q.shape[1] // self.heads)
        q, k = self.rope(q.reshape(split), positions), self.rope(k.reshape(split), positions)
        tap("q_rope", q.reshape(len(x), -1))
        tap("k_rope", k.reshape(len(x), -1))
        ctx = tap("attn_ctx", self.attend(i, q, k, v.reshape(split)))
        x = tap("attn_residual", x + tap("attn_out", times(ctx, "attn_output")))
        y = tap("ffn_norm", self.norm(x, f"blk.{i}.ffn_norm.weight"))
        gate, up = tap("ffn_gate", times(y, "ffn_gate")), tap("ffn_up", times(y, "ffn_up"))
        y = tap("ffn_act", gate / (1 + np.exp(-gate)) * up)
        return tap("output", x + tap("ffn_down", times(y, "ffn_down")))

    def forward(self, position, tokens):
        """Runs `tokens` from `position` on; the likeliest next token."""
        table = self.weights["token_embd.weight"]
        x = table[tokens]
        self.note("embed", x)
        for i in range(self.layers):
            x = self.layer(i, x, np.arange(position, position + len(tokens)))
        x = self.norm(x, "output_norm.weight")
        self.note("final_norm", x)
        logits = x @ self.weights.get("output.weight", table).T
        self.note("logits", logits)
        return int(logits[-1].argmax())


class Dump:
    """A dump folder: an array a tap and pass, and dump.json last."""

    def __init__(self, folder):
        self.folder, self.steps, self.tensors = folder, [], []
        os.makedirs(folder)

    def note(self, name, value):
        file = f"{len(self.tensors):06}.npy"
        np.save(os.path.join(self.folder, file), value.astype("f4"))
        self.tensors.append({"seq": len(self.tensors), "step": len(self.steps) - 1, "name": name, "file": file})

    def close(self, model):
        facts = {"faultline_dump": 1, "producer": {"name": "tiny-engine"}, "names": "canonical"}
        facts |= {"model": {"file": os.path.basename(model)}, "steps": self.steps, "tensors": self.tensors}
        with open(os.path.join(self.folder, "dump.json"), "w") as file:
            json.dump(facts, file)


def main(path, tokens, steps, folder=None):
    dump = None if folder is None else Dump(folder)
    engine = Engine(path, (lambda *_: None) if dump is None else dump.note)
    tokens, position, text = [int(each) for each in tokens.split(",")], 0, []
    for _ in range(int(steps)):
        if dump is not None:
            dump.steps.append({"pos_start": position, "tokens": tokens})
        token = engine.forward(position, tokens)
        position += len(tokens)
        tokens = [token]
        text.append(engine.facts["tokenizer.ggml.tokens"][token])
    if dump is not None:
        dump.close(path)
    print("".join(text).replace("\u0120", " "))  # byte-level BPE writes a space so


if __name__ == "__main__":
    main(*sys.argv[1:])
