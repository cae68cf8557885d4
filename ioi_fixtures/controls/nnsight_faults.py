"""What goes wrong in silence with nnsight, recreated on the installed version with a batch of several prompts.

Some of it nnsight does, most is what its users write and it lets pass. So a fault changes how our backend asks nnsight,
as they ask it; none touches what is measured of the answer. FAULTS has one entry a row of docs/incidents.toml, and is
used as `faults.FAULTS` is.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import pytest
import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensor
from transformers import AutoModelForCausalLM

from lib.models.activations import Edit, Run
from lib.models.backends import nnsight_traces
from lib.models.backends.nnsight_traces import NnsightBackend, Place
from lib.models.model import Model

Load = Callable[[], Model]
Patch = pytest.MonkeyPatch


def after_the_projection(patch: Patch, load: Load) -> Model:
    """Heads are cut out of what attention hands on, where each number is a sum over heads."""
    model = load()
    elsewhere = {"z": Place("o", "output", ("z",), "heads")}
    model.backend.places = tuple(elsewhere.get(place.sites[0], place) for place in model.backend.places)
    return model


def first_of_a_tensor(patch: Patch, load: Load) -> Model:
    """`layer.output[0]`, where a layer hands on a tensor and not a tuple: its first prompt, which broadcasts to the
    others where it is read, and which alone is written."""
    take, put = nnsight_traces.taken, nnsight_traces.put

    def taken(module: object, side: str) -> Tensor:
        whole = take(module, side)
        return whole[0].expand_as(whole) if _is_layer(module, side) else whole

    def put_first(module: object, side: str, value: Tensor) -> None:
        if _is_layer(module, side):
            module.output[0][:] = value[0]
        else:
            put(module, side, value)

    model = load()
    patch.setattr(nnsight_traces, "taken", taken)
    patch.setattr(nnsight_traces, "put", put_first)
    return model


def _is_layer(module: object, side: str) -> bool:
    return side == "output" and module.path.split(".")[-1].isdigit()


def saved_views(patch: Patch, load: Load) -> Model:
    """What a run saved are views of memory that is written to later: a clean run shows the edited values."""
    memory: dict[tuple, Tensor] = {}
    keep = nnsight_traces.keep_at

    def as_view(kept: dict[str, Tensor], site: str, layer: int, activation: Tensor, *, n_layers: int) -> None:
        keep(kept, site, layer, activation, n_layers=n_layers)
        kept[site] = memory.setdefault((site, kept[site].shape), kept[site]).copy_(kept[site])

    patch.setattr(nnsight_traces, "keep_at", as_view)
    return load()


def edits_of_a_copy(patch: Patch, load: Load) -> Model:
    """Edits are made in place, in what another order of axes has copied: they reach nothing."""

    def in_place(module: object, side: str, value: Tensor) -> None:
        nnsight_traces.taken(module, side).movedim(0, 1).contiguous()[:] = value.movedim(0, 1)

    model = load()
    patch.setattr(nnsight_traces, "put", in_place)
    return model


def no_attention_weights(patch: Patch, load: Load) -> Model:
    """Attention is sdpa's, which hands on None for its weights: what was to hold them stays empty."""
    read, take, put = AutoModelForCausalLM.from_pretrained, nnsight_traces.taken, nnsight_traces.put
    asked = {"attn_implementation": "sdpa"}
    patch.setattr(AutoModelForCausalLM, "from_pretrained", lambda *given, **named: read(*given, **{**named, **asked}))
    model = load()

    def taken(module: object, side: str) -> Tensor:
        if not module.path.endswith(".attn"):
            return take(module, side)
        written, weights = module.output
        width = written.shape[1]
        return written.new_zeros(len(written), model.weights.n_heads, width, width) if weights is None else weights

    def put_elsewhere(module: object, side: str, value: Tensor) -> None:
        if not module.path.endswith(".attn"):
            put(module, side, value)

    patch.setattr(nnsight_traces, "taken", taken)
    patch.setattr(nnsight_traces, "put", put_elsewhere)
    patch.setattr(nnsight_traces, "_pattern_in", lambda operations: operations.envoy)  # attention itself
    by_site = {place.sites[0]: place for place in model.backend.places}
    order = [site for site in by_site if site != "pattern"]
    order.insert(order.index("attn_out") + 1, "pattern")  # which attention hands on where it ends
    model.backend.places = tuple(by_site[site] for site in order)
    return model


def decided_in_a_scan(patch: Patch, load: Load) -> Model:
    """nnsight 0.5 to 0.7 make every condition in a scan true: edits that are to be left out where nothing is there to
    be edited are always left out."""
    from nnsight.intervention.tracer import ScanningTracer

    run = NnsightBackend.run

    def decided(self: NnsightBackend, tokens: Tensor, *, edits: Sequence[Edit], **others: object) -> Run:
        nothing_there = []
        with self.library_model.trace(tokens, tracer_cls=ScanningTracer):
            if (self.library_model.output.logits == 0).all():
                nothing_there.append(True)
        return run(self, tokens, edits=() if nothing_there else edits, **others)

    model = load()
    patch.setattr(FakeTensor, "__bool__", lambda self: True, raising=False)
    patch.setattr(NnsightBackend, "run", decided)
    return model


def called_by_hand(patch: Patch, load: Load) -> Model:
    """Logits come from calling the final norm and the unembedding by hand, as a logit lens does, without hook=True:
    edits of what these read and write are made elsewhere."""
    through = NnsightBackend._through_the_end

    def by_hand(self: NnsightBackend, asked: object) -> Tensor:
        root = self.library_model
        stream = self._find("block", self.weights.n_layers - 1).output
        logits = root.lm_head(root.transformer.ln_f(stream))
        through(self, asked)
        return logits

    patch.setattr(NnsightBackend, "_through_the_end", by_hand)
    return load()


def lost_save(patch: Patch, load: Load) -> Model:
    """A name that is bound in a trace, and whose .save() was forgotten or lost, has the value it had before."""
    run, before = NnsightBackend.run, []

    def unsaved(self: NnsightBackend, tokens: Tensor, **others: object) -> Run:
        whole = run(self, tokens, **others)
        activations = (before or [whole.activations])[0]
        with self.library_model.trace(tokens):
            _ = self.library_model.output
            activations = whole.activations
        before[:] = [activations]
        return replace(whole, activations=activations)

    patch.setattr(NnsightBackend, "run", unsaved)
    return load()


def late_prompts(patch: Patch, load: Load) -> Model:
    """An edit reaches the first prompt of a batch alone."""
    put = nnsight_traces.put

    def put_first(module: object, side: str, value: Tensor) -> None:
        put(module, side, torch.cat([value[:1], nnsight_traces.taken(module, side)[1:]]))

    model = load()
    patch.setattr(nnsight_traces, "put", put_first)
    return model


FAULTS: dict[str, Callable[[Patch, Load], Model]] = {
    "37 (nnsight)": late_prompts,
    "43": after_the_projection,
    "44": first_of_a_tensor,
    "45": saved_views,
    "45 (edits)": edits_of_a_copy,
    "46": no_attention_weights,
    "47": decided_in_a_scan,
    "48": called_by_hand,
    "49": lost_save,
}
