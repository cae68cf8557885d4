"""The families of decoders, each as a row: nothing else in this suite asks for a model's type.

Keys and tensor names are those of `transformers`, from whose configurations and forward passes they are taken. Adding a
family is a row here and a model of it in ioi_fixtures/controls/random_families.py, of which every test of families then
is. Out of scope: what is said of a value that is not supported (`config`), and what becomes of these rows
(`architecture`, `checkpoint`).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from types import MappingProxyType

from lib.models.family import SIZES, Config, Family, Turns

GPT2_SIZES = {
    "n_ctx": "n_positions",
    "d_model": "n_embd",
    "n_layers": "n_layer",
    "n_heads": "n_head",
    "d_mlp": "n_inner",
}
# The keys of GPT2Config that change what the model computes, or that say its sizes, and their defaults.
GPT2_DEFAULTS: Mapping[str, object] = MappingProxyType(
    {
        "vocab_size": 50257,
        "n_positions": 1024,
        "n_embd": 768,
        "n_layer": 12,
        "n_head": 12,
        "n_inner": None,
        "activation_function": "gelu_new",
        "layer_norm_epsilon": 1e-5,
        "scale_attn_weights": True,
        "scale_attn_by_inverse_layer_idx": False,
        "reorder_and_upcast_attn": False,
        "add_cross_attention": False,
        "tie_word_embeddings": True,
        # of every configuration
        "is_causal": True,
        "is_encoder_decoder": False,
        "return_dict": True,
        "pruned_heads": None,
        "quantization_config": None,
    }
)
# How attention scores are computed. Two say the scale, which is multiplied into queries (`folding`); the third says in
# which precision, and in mixed precision alone, where here that is the caller's choice.
GPT2_SCORES = ("scale_attn_weights", "scale_attn_by_inverse_layer_idx", "reorder_and_upcast_attn")
GROUPED = {"n_kv_heads": "num_key_value_heads", "d_head": "head_dim"}
LLAMA_PARTS = {
    "embed": "embed_tokens",
    "norm_1": "layers.{}.input_layernorm",
    "q": "layers.{}.self_attn.q_proj",
    "k": "layers.{}.self_attn.k_proj",
    "v": "layers.{}.self_attn.v_proj",
    "o": "layers.{}.self_attn.o_proj",
    "norm_2": "layers.{}.post_attention_layernorm",
    "gate": "layers.{}.mlp.gate_proj",
    "in": "layers.{}.mlp.up_proj",
    "out": "layers.{}.mlp.down_proj",
    "norm_final": "norm",
}
QK_NORM_PARTS = {"q_norm": "layers.{}.self_attn.q_norm", "k_norm": "layers.{}.self_attn.k_norm"}
GEMMA_PARTS = {
    **LLAMA_PARTS,
    "norm_2": "layers.{}.pre_feedforward_layernorm",
    "post_1": "layers.{}.post_attention_layernorm",
    "post_2": "layers.{}.post_feedforward_layernorm",
}
GPT_PARTS = {
    "embed": "wte",
    "norm_1": "h.{}.ln_1",
    "q": "h.{}.attn.q_proj",
    "k": "h.{}.attn.k_proj",
    "v": "h.{}.attn.v_proj",
    "o": "h.{}.attn.out_proj",
    "norm_2": "h.{}.ln_2",
    "in": "h.{}.mlp.c_fc",
    "out": "h.{}.mlp.c_proj",
    "norm_final": "ln_f",
}
NORMS = frozenset(("norm_1", "norm_2", "norm_final"))
ALL = NORMS | {"q", "k", "v", "o", "in", "out"}


def query_factors(config: Config) -> list[float]:
    """What each layer's queries are multiplied by, so that q.k / sqrt(d_head) is what a GPT-2's own scale makes of it:
    scale_attn_weights (whether to divide by sqrt(d_head)) and scale_attn_by_inverse_layer_idx (GPT2Attention)."""
    whole = 1.0 if config["scale_attn_weights"] else math.sqrt(config["n_embd"] // config["n_head"])
    inverse = config["scale_attn_by_inverse_layer_idx"]
    return [whole / (layer + 1 if inverse else 1) for layer in range(config["n_layer"])]


def _rope(config: Config, d_head: int) -> list[Turns]:
    parameters = config["rope_parameters"]
    return [(parameters, int(d_head * parameters.get("partial_rotary_factor", 1.0)))] * config["num_hidden_layers"]


def _rope_by_layer(config: Config, d_head: int) -> list[Turns]:
    return [(config["rope_parameters"][kind], d_head) for kind in config["layer_types"]]


def _rope_of_gptj(config: Config, d_head: int) -> list[Turns]:
    return [({"rope_theta": 10000, "rope_type": "default"}, config["rotary_dim"] or d_head)] * config["n_layer"]


def _windows_by_layer(config: Config) -> tuple[int | None, ...]:
    kinds = config["layer_types"]
    return tuple(config["sliding_window"] if kind == "sliding_attention" else None for kind in kinds)


def _biased(key: str, *parts: str) -> Callable[[Config], frozenset[str]]:
    return lambda config: frozenset(parts) if config[key] else frozenset()


_LLAMA = {
    "prefix": "model.",
    "parts": LLAMA_PARTS,
    "norm": "RMSNorm",
    "norm_eps": "rms_norm_eps",
    "activation": "hidden_act",
    "sizes": GROUPED,
    "rotary": _rope,
    "recomputed": ("final_scale",),
}
_GEMMA = {
    **_LLAMA,
    "activation": "hidden_activation",
    "gain_offset": 1.0,
    "biases": _biased("attention_bias", "q", "k", "v", "o"),
    "embedding_scale": lambda config: config["hidden_size"] ** 0.5,
    "scale": lambda config, d_head: config["query_pre_attn_scalar"] ** -0.5,
    "windows": _windows_by_layer,
    "caps": ("attn_logit_softcapping", "final_logit_softcapping"),
    "supported": {"attention_bias": (False, True), "use_bidirectional_attention": (None, False)},
}
_GPT = {
    "prefix": "transformer.",
    "parts": GPT_PARTS,
    "norm": "LayerNorm",
    "norm_eps": "layer_norm_epsilon",
    "activation": "activation_function",
}

FAMILIES: Mapping[str, Family] = MappingProxyType(
    {
        "gpt2": Family(
            **{**_GPT, "parts": {"positions": "wpe", "qkv": "h.{}.attn.c_attn", **GPT_PARTS, "o": "h.{}.attn.c_proj"}},
            sizes=GPT2_SIZES,
            defaults=GPT2_DEFAULTS,
            aliases={key: GPT2_SIZES[ours] for ours, key in SIZES.items() if ours in GPT2_SIZES and ours != "d_mlp"},
            supported={**{key: (True, False) for key in GPT2_SCORES}, "add_cross_attention": (False,)},
            biases=lambda config: ALL | {"qkv"},
            fused="thirds",
            transposed=True,
            query_factors=query_factors,
            hooked=True,
            as_stored={"reorder_and_upcast_attn": False},
            as_processed={key: GPT2_DEFAULTS[key] for key in GPT2_SCORES},
        ),
        "gpt_neo": Family(
            **{
                **_GPT,
                "parts": {
                    "positions": "wpe",
                    **GPT_PARTS,
                    **{part: f"h.{{}}.attn.attention.{part}_proj" for part in "qkv"},
                    "o": "h.{}.attn.attention.out_proj",
                    "pattern": "h.{}.attn.attention.attn_dropout",
                },
            },
            sizes={"n_layers": "num_layers", "n_heads": "num_heads"},
            read_only=("pattern",),
            biases=lambda config: ALL - frozenset("qkv"),
            scale=lambda config, d_head: 1.0,
            windows=lambda config: tuple(
                config["window_size"] if kind == "local" else None for kind in config["attention_layers"]
            ),
        ),
        "gptj": Family(
            **{
                **_GPT,
                "parts": {
                    **{**GPT_PARTS, "norm_2": "h.{}.ln_1", "in": "h.{}.mlp.fc_in", "out": "h.{}.mlp.fc_out"},
                    "pattern": "h.{}.attn.attn_dropout",
                },
            },
            sizes=GPT2_SIZES,
            read_only=("pattern",),
            biases=lambda config: NORMS | {"in", "out", "head"},
            rotary=_rope_of_gptj,
            pairing="adjacent",
            parallel=lambda config: True,
        ),
        "gpt_neox": Family(
            prefix="gpt_neox.",
            parts={
                "embed": "embed_in",
                "norm_1": "layers.{}.input_layernorm",
                "qkv": "layers.{}.attention.query_key_value",
                "o": "layers.{}.attention.dense",
                "norm_2": "layers.{}.post_attention_layernorm",
                "in": "layers.{}.mlp.dense_h_to_4h",
                "out": "layers.{}.mlp.dense_4h_to_h",
                "norm_final": "final_layer_norm",
            },
            head="embed_out",
            recomputed=("final_scale",),
            norm="LayerNorm",
            norm_eps="layer_norm_eps",
            activation="hidden_act",
            biases=lambda config: NORMS | {"in", "out"} | ({"qkv", "o"} if config["attention_bias"] else set()),
            fused="by head",
            rotary=_rope,
            parallel=lambda config: config["use_parallel_residual"],
            supported={"attention_bias": (True, False), "use_parallel_residual": (True, False)},
        ),
        "opt": Family(
            prefix="model.decoder.",
            parts={
                "embed": "embed_tokens",
                "positions": "embed_positions",
                "norm_1": "layers.{}.self_attn_layer_norm",
                **{part: f"layers.{{}}.self_attn.{part}_proj" for part in "qkv"},
                "o": "layers.{}.self_attn.out_proj",
                "norm_2": "layers.{}.final_layer_norm",
                "in": "layers.{}.fc1",
                "out": "layers.{}.fc2",
                "norm_final": "final_layer_norm",
            },
            norm="LayerNorm",
            norm_eps=1e-5,
            activation="activation_function",
            sizes={"d_mlp": "ffn_dim"},
            read_only=("pattern",),
            biases=lambda config: ALL,
            position_offset=2,
            recomputed=("final_scale",),
            supported={
                "do_layer_norm_before": (True,),
                "_remove_final_layer_norm": (False,),
                "enable_bias": (True,),
                "layer_norm_elementwise_affine": (True,),
            },
            equal={"word_embed_proj_dim": "hidden_size"},
        ),
        "phi": Family(
            **{
                **_LLAMA,
                "parts": {
                    **{part: LLAMA_PARTS[part] for part in ("embed", "norm_1", "q", "k", "v")},
                    "o": "layers.{}.self_attn.dense",
                    "norm_2": "layers.{}.input_layernorm",
                    "in": "layers.{}.mlp.fc1",
                    "out": "layers.{}.mlp.fc2",
                    "norm_final": "final_layernorm",
                },
                "norm": "LayerNorm",
                "norm_eps": "layer_norm_eps",
            },
            biases=lambda config: ALL | {"head"},
            parallel=lambda config: True,
            supported={"qk_layernorm": (False,)},
        ),
        "llama": Family(
            **_LLAMA,
            biases=_biased("attention_bias", "q", "k", "v", "o"),
            supported={"attention_bias": (False, True), "mlp_bias": (False,), "pretraining_tp": (1,)},
        ),
        "mistral": Family(**_LLAMA, windows=lambda config: (config["sliding_window"],) * config["num_hidden_layers"]),
        "qwen2": Family(**_LLAMA, biases=lambda config: frozenset("qkv"), windows=_windows_by_layer),
        "qwen3": Family(
            **{**_LLAMA, "parts": {**LLAMA_PARTS, **QK_NORM_PARTS}},
            biases=_biased("attention_bias", "q", "k", "v", "o"),
            windows=_windows_by_layer,
            supported={"attention_bias": (False, True)},
        ),
        "gemma2": Family(**{**_GEMMA, "parts": GEMMA_PARTS}),
        "gemma3_text": Family(**{**_GEMMA, "parts": {**GEMMA_PARTS, **QK_NORM_PARTS}, "rotary": _rope_by_layer}),
    }
)
