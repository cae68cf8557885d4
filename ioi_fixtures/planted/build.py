"""From the table of heads to the tensors of a `GPT2LMHeadModel`.

Reading weights are written as acting on the residual stream at its nominal norm, then un-folded through the LayerNorm
they stand behind (random gain and bias), so folding recovers them. Everything is numpy in float64 from one seed, and
every weight is rounded to a grid of 2^-16 at the end, so that the linear algebra library cannot change a bit.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ioi_fixtures.planted import codes, tokenizer
from ioi_fixtures.planted.heads import ALWAYS, Design, Gains, Move, Saturate
from ioi_fixtures.planted.layout import D_MODEL, Layout
from lib.models.heads import Head

N_LAYERS, N_HEADS, D_HEAD, N_CTX, N_INNER = 12, 12, 64, 160, 144
GRID = 2.0**-16
# The residual stream's length entering each layer and the final LayerNorm: the mean over names, S1+1 and END of IOI
# prompts, measured. Reading weights count on it, and are wrong by a few per cent wherever a position differs.
NORMS = (12.21, 12.31, 12.36, 12.47, 12.57, 12.75, 12.94, 13.13, 13.36, 13.7, 14.7, 14.95, 15.5)
# Values of noise heads fade from one dimension to the next, so their composition scores scatter more. If they did not,
# S-inhibition heads would lead by chance at more heads outside the circuit than a control allows: one model in sixteen.
FADING = 0.97 ** np.arange(D_HEAD)
FADING = FADING / np.sqrt((FADING**2).mean())
GROWTH = 0.6  # how much each MLP's bias adds to the direction "growth"


def tensors(design: Design, seed: int) -> dict[str, np.ndarray]:
    """Every tensor of the model by its name in `transformers`. float32."""
    builder = _Builder(design, np.random.default_rng(seed))
    rounded = {name: (np.round(value / GRID) * GRID).astype(np.float32) for name, value in builder.build().items()}
    return {name: np.ascontiguousarray(value) for name, value in rounded.items()}  # else they are stored transposed


def config() -> dict:
    """config.json."""
    return {
        "architectures": ["GPT2LMHeadModel"],
        "model_type": "gpt2",
        "activation_function": "gelu_new",
        "n_layer": N_LAYERS,
        "n_head": N_HEADS,
        "n_embd": D_MODEL,
        "n_positions": N_CTX,
        "n_ctx": N_CTX,
        "n_inner": N_INNER,
        "vocab_size": len(tokenizer.vocabulary()),
        "layer_norm_epsilon": 1e-5,
        "tie_word_embeddings": False,
        "attn_pdrop": 0.0,
        "embd_pdrop": 0.0,
        "resid_pdrop": 0.0,
        "bos_token_id": 0,
        "eos_token_id": 0,
        "pad_token_id": 0,
        "torch_dtype": "float32",
    }


@dataclass
class _Builder:
    design: Design
    rng: np.random.Generator

    def __post_init__(self) -> None:
        self.layout = Layout.random(self.rng)
        self.names = np.array(tokenizer.name_ids())
        self.codes = codes.token_codes(len(tokenizer.vocabulary()))
        first = tokenizer.first_word_ids()
        self.codes[first, : codes.HALF], self.codes[first, codes.HALF :] = (
            0,
            self.codes[first, codes.HALF :] * np.sqrt(2),
        )
        self.strength = 1 + self._noise(len(self.names), size=0.04)  # some names are weaker than others

    def build(self) -> dict[str, np.ndarray]:
        values = {
            "transformer.wte.weight": self._token_embedding(),
            "transformer.wpe.weight": self._position_embedding(),
        }
        for layer in range(N_LAYERS):
            prefix = f"transformer.h.{layer}."
            values |= {prefix + name: value for name, value in self._block(layer).items()}
        gain, bias = self._layer_norm()
        unembedding, _ = self._behind(gain, bias, NORMS[N_LAYERS], self._unembedding())
        values |= {"transformer.ln_f.weight": gain, "transformer.ln_f.bias": bias, "lm_head.weight": unembedding.T}
        return values

    def _noise(self, *shape: int, size: float) -> np.ndarray:
        """Uniform in +-size. Uniform, because its bits are the least likely to change with numpy's version."""
        return (2 * self.rng.random(shape) - 1) * size

    def _writes_noise(self, *rows: int, size: float) -> np.ndarray:
        return self.layout.scatter(self._noise(*rows, D_MODEL - 1, size=size))

    def _reads(self, gains: Gains) -> np.ndarray:
        return sum(gain * self.layout.read(name) for name, gain in gains.items())

    # ---- embeddings

    def _token_embedding(self) -> np.ndarray:
        count = len(tokenizer.vocabulary())
        junk = self._noise(count, 100, size=np.sqrt(3) * 0.08) * (0.5 + 2 * self.rng.random((count, 1)))
        embedding = self.codes @ self.layout.write("raw") + junk @ self.layout.write("junk")
        embedding[self.names] += self.strength[:, None] * self.layout.write("raw_name")
        heft = 0.2 + 0.8 * self.rng.random((len(self.names), 1))
        embedding[self.names] += heft * self.layout.write("heft")
        return embedding

    def _position_embedding(self) -> np.ndarray:
        embedding = codes.position_codes(N_CTX) @ self.layout.write("position") + self.layout.write("ballast")
        embedding[0] += self.layout.write("sink")[0]
        return embedding

    def _unembedding(self) -> np.ndarray:
        count = len(tokenizer.vocabulary())
        return self.layout.read("out") @ self.codes.T + self._noise(D_MODEL, count, size=0.002)

    # ---- blocks

    def _layer_norm(self) -> tuple[np.ndarray, np.ndarray]:
        return 1 + self._noise(D_MODEL, size=0.2), self._noise(D_MODEL, size=0.1)

    @staticmethod
    def _behind(gain: np.ndarray, bias: np.ndarray, norm: float, weight: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Weights that read, behind a LayerNorm, what `weight` reads of a residual stream of length `norm`.

        Returns the weight, and the bias that takes away what the LayerNorm's bias adds.
        """
        weight = weight * (norm / np.sqrt(D_MODEL)) / gain[:, None]
        return weight, -bias @ weight

    def _block(self, layer: int) -> dict[str, np.ndarray]:
        heads = [self._head(layer, index) for index in range(N_HEADS)]
        read = np.concatenate([np.concatenate([head[part] for head in heads], axis=1) for part in range(3)], axis=1)
        gain_1, bias_1 = self._layer_norm()
        gain_2, bias_2 = self._layer_norm()
        read, unbias = self._behind(gain_1, bias_1, NORMS[layer], read)
        into, out, b_out = self._mlp(layer)
        into, unbias_mlp = self._behind(gain_2, bias_2, NORMS[layer], into)
        return {
            "ln_1.weight": gain_1,
            "ln_1.bias": bias_1,
            "attn.c_attn.weight": read,
            "attn.c_attn.bias": unbias + self._noise(3 * D_MODEL, size=0.015),
            "attn.c_proj.weight": np.concatenate([head[3] for head in heads]),
            "attn.c_proj.bias": self._writes_noise(size=0.01),
            "ln_2.weight": gain_2,
            "ln_2.bias": bias_2,
            "mlp.c_fc.weight": into,
            "mlp.c_fc.bias": unbias_mlp + self._noise(N_INNER, size=0.005),
            "mlp.c_proj.weight": out,
            "mlp.c_proj.bias": b_out,
        }

    # ---- attention

    def _head(self, layer: int, index: int) -> tuple[np.ndarray, ...]:
        """What one head's query, key and value read of the residual stream, and what it writes."""
        wiring = self.design.heads.get(Head(layer, index))
        if wiring is None:
            return self._noise_head()
        query, key, value = (np.zeros((D_MODEL, D_HEAD)) for _ in range(3))
        output = np.zeros((D_HEAD, D_MODEL))
        column = 0
        for match in wiring.matches:
            reads_query, reads_key = self._reads(match.query), self._reads(match.key)
            span = slice(column, column + reads_query.shape[1])
            balance = np.sqrt(np.linalg.norm(reads_key) / max(np.linalg.norm(reads_query), 1e-9))
            query[:, span] = reads_query * balance * np.sqrt(np.sqrt(D_HEAD))
            key[:, span] = reads_key / balance * np.sqrt(np.sqrt(D_HEAD))
            column = span.stop
        column = 0
        for move in wiring.moves:
            reads_value = self._reads(move.value)
            span = slice(column, column + reads_value.shape[1])
            value[:, span] = reads_value
            output[span] = self.layout.write(move.into)
            column = span.stop
        return tuple(matrix + self._noise(*matrix.shape, size=5e-4) for matrix in (query, key, value, output))

    def _noise_head(self) -> tuple[np.ndarray, ...]:
        """A head outside the table: a sink, weak random attention beside it, and a small random output."""
        query, key = (self._noise(D_MODEL, D_HEAD, size=0.06) for _ in range(2))
        sink = np.sqrt(D_HEAD) * (1 + 5 * self.rng.random())
        query[:, :1] += self.layout.read("ballast") * np.sqrt(sink)
        key[:, :1] += self.layout.read("sink") * np.sqrt(sink)
        value = self._noise(D_MODEL, D_HEAD, size=0.04) * FADING
        output = self._writes_noise(D_HEAD, size=0.0035)
        return query, key, value, output

    # ---- MLPs

    def _mlp(self, layer: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """What the hidden units read of the residual stream, what they write, and the output bias."""
        into = self._noise(D_MODEL, N_INNER, size=0.1)
        out = self._writes_noise(N_INNER, size=0.004)
        bias = self._writes_noise(size=0.01) + GROWTH * self.layout.write("growth")[0]
        used = 0
        for added in self.design.mlps.get(layer, ()):
            add = self._saturate if isinstance(added, Saturate) else self._move
            used += add(added, into[:, used:], out[used:])
        return into, out, bias

    def _move(self, move: Move, into: np.ndarray, out: np.ndarray) -> int:
        """Add what a move reads to where it goes, with the first hidden units; returns how many it took.

        Two units a coordinate, since gelu(x) - gelu(-x) = x. At position 0, 5 is subtracted in both, so both vanish.
        """
        gate = 5 * self.layout.read("sink")
        [(source, gain)] = move.value.items()
        reads, writes = self.layout.read(source), gain * self.layout.write(move.into)
        count = 2 * reads.shape[1]
        into[:, :count] = np.concatenate([reads - gate, -reads - gate], axis=1)
        out[:count] = np.concatenate([writes, -writes])
        return count

    def _saturate(self, saturate: Saturate, into: np.ndarray, out: np.ndarray) -> int:
        """The same with a flag. Two units: gelu(x - low) - gelu(x - high) is constant below `low` and above `high`."""
        steepness = 100.0
        reads, writes = self._reads(saturate.value), saturate.share * self.layout.write(saturate.into)
        into[:, :1] = steepness * (reads - saturate.low * self._reads(ALWAYS))
        into[:, 1:2] = steepness * (reads - saturate.high * self._reads(ALWAYS))
        out[:1] = writes / (steepness * (saturate.high - saturate.low))
        out[1:2] = -out[:1]
        return 2
