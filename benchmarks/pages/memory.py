"""What a run takes, by arithmetic: docs/evidence/MEMORY.md. Run: python -m benchmarks.pages.memory

Sizes of tensors follow from a model's architecture; tests compare them with those of models that are loaded. What is
computed on the way and let go of again is not in it: that is the budget's (--claims-memory).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from math import prod

from benchmarks.pages import evidence
from ioi_fixtures.pytest_fixtures.fixtures import EVERYTHING
from lib.models.activations import SITES

NAME = "MEMORY.md"
PROMPTS, TOKENS = 100, 21  # of the longest template
OF_ABC = ("z", "pattern", "mlp_out")  # what is kept of the ABC prompts
BYTES = {"float32": 4, "bfloat16": 2}


@dataclass(frozen=True)
class Sizes:
    """What memory depends on, of a decoder."""

    n_layers: int
    d_model: int
    n_heads: int
    n_kv_heads: int
    d_head: int
    d_mlp: int
    d_vocab: int
    matrices_of_mlp: int = 3  # two where it is not gated

    def weights(self) -> int:
        """Numbers in the matrices that instruments read; biases are a thousandth of them."""
        attention = self.d_model * self.d_head * 2 * (self.n_heads + self.n_kv_heads)
        return self.n_layers * (attention + self.matrices_of_mlp * self.d_model * self.d_mlp) + self.embeddings()

    def embeddings(self) -> int:
        """Numbers in embedding and unembedding, each its own since the final norm's gain is folded into one."""
        return 2 * self.d_vocab * self.d_model

    def joined(self) -> int:
        """Numbers in q, k and v matrices that each layer's block has side by side while an instrument runs."""
        return self.n_layers * self.d_model * self.d_head * (self.n_heads + 2 * self.n_kv_heads)

    def block(self) -> int:
        """Numbers in one layer's matrices."""
        return (self.weights() - self.embeddings()) // self.n_layers

    def kept(self, sites: Iterable[str], prompts: int = PROMPTS, tokens: int = TOKENS) -> int:
        """Numbers in a run that keeps these sites."""
        axes = {
            "layer": self.n_layers,
            "batch": prompts,
            **dict.fromkeys(("pos", "query", "key"), tokens),
            "head": self.n_heads,
            "kv_head": self.n_kv_heads,
            "d_head": self.d_head,
            "d_model": self.d_model,
            "1": 1,
        }
        return sum(prod(axes[axis] for axis in SITES[site].split()) for site in sites)


# As their config.json files say: meta-llama/Llama-3.1-8B, HuggingFaceTB/SmolLM2-135M, openai-community/gpt2.
MODELS = {
    "Llama-3.1-8B": Sizes(32, 4096, 32, 8, 128, 14336, 128256),
    "SmolLM2-135M": Sizes(30, 576, 9, 3, 64, 1536, 49152),
    "GPT-2 small": Sizes(12, 768, 12, 12, 64, 3072, 50257, matrices_of_mlp=2),
}


def parts(sizes: Sizes, dtype: str) -> dict[str, int]:
    """Bytes that are there at once, by what they are, of weights kept in `dtype`: what is computed is float32."""
    size, wide = BYTES[dtype], BYTES["float32"]
    made = sizes.joined() if size == wide else 2 * sizes.block() + sizes.embeddings() // 2
    return {
        "the hooking library's weights": sizes.weights() * size,
        "the weights that instruments read": sizes.weights() * size,
        "float32 made of them: all q, k and v side by side; of bfloat16 two layers and the unembedding": made * wide,
        "the run on IOI prompts": sizes.kept(EVERYTHING) * wide,
        "the run on ABC prompts": sizes.kept(OF_ABC) * wide,
        "means over ABC prompts": sizes.kept(["z"]) * wide,
    }


def page() -> str:
    """The whole of MEMORY.md."""
    lines = [
        "# What a run takes",
        "",
        f"By arithmetic, not measured: tensors that are there at once with {PROMPTS} prompts of {TOKENS} tokens, as "
        "the longest has, in GB. What exceeds half of the budget (`--claims-memory`) of the runs is not kept but "
        "computed again when a claim asks for it, or lies in temporary files; batches are made to fit what is left.",
        "",
        f"| | {' | '.join(f'{model}, {dtype}' for model in MODELS for dtype in BYTES)} |",
        f"|---|{'---|' * len(MODELS) * len(BYTES)}",
    ]
    columns = [parts(sizes, dtype) for sizes in MODELS.values() for dtype in BYTES]
    for part in columns[0]:
        lines.append(f"| {part} | {' | '.join(f'{found[part] / 1e9:.2f}' for found in columns)} |")
    total = [f"**{sum(found.values()) / 1e9:.1f}**" for found in columns]
    witness = [f"{sizes.weights() * 8 / 1e9:.1f}" for sizes in MODELS.values() for _ in BYTES]
    llama = {dtype: parts(MODELS["Llama-3.1-8B"], dtype) for dtype in BYTES}
    whole = {dtype: sum(found.values()) / 1e9 for dtype, found in llama.items()}
    plain = {dtype: whole[dtype] - found["the hooking library's weights"] / 1e9 for dtype, found in llama.items()}
    lines += [
        f"| together | {' | '.join(total)} |",
        f"| test_instruments.py besides: the witness, in float64 | {' | '.join(witness)} |",
        "",
        f"So Llama-3.1-8B fits one GPU of 80 GB with weights in bfloat16 ({whole['bfloat16']:.0f} GB, and "
        f"{plain['bfloat16']:.0f} GB with `--claims-backend plain`, which has no second copy of the weights), and in "
        f"float32 with that backend alone ({plain['float32']:.0f} GB; with the other {whole['float32']:.0f}). The "
        "claims about the tools hold the model against one in float64, which does not fit beside it: ask it the "
        "circuit file's claims alone. Nobody has run any of that here.",
        "",
        "Weights in bfloat16 or float16 are computed with in float32, a layer at a time, as are the model's own passes "
        "with `--claims-backend plain`. A hooking library's passes are in the number type of the weights; what that "
        "does to figures is in [TOLERANCES.md](TOLERANCES.md).",
    ]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    evidence.write(NAME, page(), command="make docs", of="other things")
