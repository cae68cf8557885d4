"""The canaries' data, and their claims run from end to end on a model on which they must fail.

GPT-2 small's weights are not here. So everything but the printed figures is checked: tokens by GPT-2's own tokenizer,
and each kind of measurement against hooked forward passes written from its definition.
"""

import json
import os
import shutil

import pytest
import torch
from transformers import AutoTokenizer, GPT2Config, GPT2LMHeadModel

from ioi_fixtures.circuits import canaries as data
from ioi_fixtures.circuits.canaries import CANARIES, as_printed, wrong_tokens
from ioi_fixtures.controls import hook_loops
from ioi_fixtures.controls.random_model import one_thread
from ioi_fixtures.published import FOLDER
from ioi_fixtures.sentences.prompts import encode
from ioi_fixtures.sentences.variants import swap_s2
from lib.instruments.readout import probability_of, recovered
from lib.judging.references import read_references
from lib.judging.statistics import exact
from lib.models.activations import Run
from lib.models.heads import Head
from lib.models.model import Edit, load
from tests.support.places import ROOT
from tests.support.rounding import EQUAL, agree
from tests.support.warm_process import run_module

TOKENIZER_FILES = ("vocab.json", "merges.txt", "tokenizer_config.json")
END, S2 = 14, 10


@pytest.fixture(scope="module")
def tokenizer(real_gpt2_files):
    return AutoTokenizer.from_pretrained(real_gpt2_files)


@pytest.fixture(scope="module")
def batch(tokenizer):
    return encode(CANARIES, tokenizer, prepend_bos=True)


def test_gpt2_s_tokenizer_gives_the_golden_tokens(tokenizer, batch):
    assert batch.tokens.tolist() == [list(row) for row in data.GOLDEN_TOKENS]
    assert wrong_tokens(CANARIES, data.GOLDEN_TOKENS, tokenizer) == 0
    assert wrong_tokens(data.BOTTLE_OF_MILK, data.GOLDEN_BOTTLE_OF_MILK, tokenizer) == 0


def test_another_tokenization_has_wrong_tokens(tokenizer, real_gpt2_files):
    prefixed = AutoTokenizer.from_pretrained(real_gpt2_files, add_prefix_space=True)
    assert wrong_tokens(CANARIES, data.GOLDEN_TOKENS, prefixed) == 8  # " When" for "When", " After" for "After"
    assert wrong_tokens(CANARIES[::-1], data.GOLDEN_TOKENS, tokenizer) > 8
    assert wrong_tokens(data.BOTTLE_OF_MILK, (data.GOLDEN_BOTTLE_OF_MILK[0][:-1],), tokenizer) == 1


def test_the_prompts_are_aligned(batch):
    assert batch.tokens.shape == (8, 15)
    assert set(batch.positions["S2"].tolist()) == {S2}
    assert set(batch.positions["END"].tolist()) == {END}
    assert [prompt.order for prompt in CANARIES] == ["BABA", "ABBA", "ABBA", "BABA", "ABBA", "BABA", "ABBA", "BABA"]


def test_each_prompt_s_corrupted_partner_is_its_neighbour(batch, tokenizer):
    corrupted = encode(swap_s2(CANARIES), tokenizer, prepend_bos=True)
    assert torch.equal(corrupted.tokens, batch.tokens.unflatten(0, (4, 2)).flip(1).flatten(0, 1))
    assert torch.equal(corrupted.answers, batch.answers)
    assert torch.equal(batch.answers[::2], batch.answers[1::2].flip(1))


def test_the_printed_figures_agree_with_each_other():
    assert sum(data.LOGIT_DIFFERENCES.values()) / 8 == pytest.approx(data.MEAN_LOGIT_DIFFERENCE, abs=1e-4)
    by_layer, lens = data.LAYER_ATTRIBUTIONS, data.LOGIT_LENS
    for layer in (9, 10):
        written = by_layer["attention", layer] + by_layer["mlp", layer]
        assert lens[layer + 1] - lens[layer] == pytest.approx(written, abs=2e-3)
    written = by_layer["attention", 11] + by_layer["mlp", 11]
    assert data.MEAN_LOGIT_DIFFERENCE - lens[11] == pytest.approx(written, abs=2e-3)
    left = data.MEAN_LOGIT_DIFFERENCE - data.HEAD_ATTRIBUTIONS[data.ABLATED]
    assert left == pytest.approx(0.566, abs=1e-3)  # printed as the naive prediction of the ablation
    assert len(data.HEAD_ATTRIBUTIONS) == 25
    assert sum(map(len, data.RECOVERED_BY_HEAD.values())) == 19 + 7 + 4 + 6 + 7


def test_a_printed_figure_s_band_is_around_it():
    family = read_references(FOLDER)["canaries/head-attribution"]
    claim = as_printed(family, -1.899)
    assert claim.says == "-1.899"
    assert claim.source == family.source
    for value, accepted in ((-1.899, True), (-1.8977, True), (-1.8973, False), (-1.9007, False), (1.899, False)):
        assert (exact(value) in claim) == accepted


def test_recovered_is_0_for_the_corrupted_run_and_1_for_the_clean_one():
    corrupted, clean = torch.tensor([-3.0, -1.0]), torch.tensor([2.0, 4.0])
    patched = torch.stack([corrupted, clean, torch.tensor([0.5, 0.5])])
    assert recovered(patched, corrupted, clean).tolist() == [0.0, 1.0, 0.5]


def test_a_probability_is_the_softmax_of_the_logits():
    run = Run(torch.zeros(1, 1), torch.zeros(1), torch.tensor([[1.0, 2.0, 3.0]]), {})
    exponentials = torch.tensor([1.0, 2.0, 3.0]).exp()
    assert probability_of(run, torch.tensor([1])).item() == pytest.approx(float(exponentials[1] / exponentials.sum()))


@pytest.fixture(scope="module")
def impostor(real_gpt2_files, tmp_path_factory):
    """A random model, as deep as GPT-2 small but narrow, with its name and tokenizer. Its heads do have effects."""
    directory = tmp_path_factory.mktemp("impostor") / "gpt2-small"
    torch.manual_seed(0)
    plain = GPT2LMHeadModel(GPT2Config(n_positions=32, n_embd=48, n_inner=48))
    with torch.no_grad():
        for name, weight in plain.named_parameters():
            if weight.ndim == 2:
                weight.copy_(torch.randn_like(weight) * (0.3 if "c_attn" in name else 0.2))
    plain.save_pretrained(directory)
    for file in TOKENIZER_FILES:
        shutil.copy(real_gpt2_files / file, directory)
    return directory


@pytest.fixture(scope="module")
def session(impostor, tmp_path_factory):
    """What the canary claims report on the impostor: label -> figure, and all claims."""
    folder = tmp_path_factory.mktemp("report")
    command = ["pytest", "claims/test_canaries.py", "-p", "no:cacheprovider", "-q"]
    command += ["--claims-model", str(impostor), "--claims-report", str(folder)]
    command += ["--claims-device", "cpu", "--claims-dtype", "float64"]
    done = run_module(*command, folder=ROOT, environment=os.environ)
    assert done.returncode == pytest.ExitCode.TESTS_FAILED, done.stdout[-3000:] + done.stderr[-3000:]
    return json.loads((folder / "claims.json").read_text())


def test_every_canary_fails_on_another_model_and_says_why(session):
    assert len(session["claims"]) == 2 + 8 + 1 + 1 + 5 + 25 + 8 + 11 + 43 + 7 + 19 + 1 + 1 + 12
    for claim in session["claims"]:
        if any(nothing in claim["test"] for nothing in ("9.0-0.003", "9.7-0.001")):
            continue  # next to no change is printed for these, and a model without backups has none either
        passes = "golden_tokens" in claim["test"]
        assert claim["outcome"] == ("passed" if passes else "failed"), (claim["test"], claim["reason"])
        assert "{" not in claim["sentence"]
        assert passes or all(word in claim["reason"] for word in ("measured", "accepted", "published"))


def test_every_canary_measures_what_hooked_passes_measure(session, impostor):
    figures = {figure["label"]: figure["value"] for claim in session["claims"] for figure in claim["measurements"]}
    with one_thread():
        expected = _measured_by_hooks(load(impostor, device="cpu", dtype="float64"))
    for label, value in expected.items():
        assert abs(value) > 3e-4, f"{label} is too small to tell anything"
        assert agree(figures[label], value, EQUAL), label


def _measured_by_hooks(model):
    """A figure of every kind, by its label, from hooked passes and the definitions."""
    clean_batch = encode(CANARIES, model.tokenizer, prepend_bos=True)
    bad_batch = encode(swap_s2(CANARIES), model.tokenizer, prepend_bos=True)
    answers, sites = clean_batch.answers, ("resid_pre", "attn_out", "mlp_out", "q", "k", "v", "z", "pattern")
    clean, bad = (
        model.run(one.tokens, last=torch.full((8,), END), keep=(*sites, "final_scale", "resid_final"))
        for one in (clean_batch, bad_batch)
    )
    floor, ceiling = (run.logit_difference(answers).mean() for run in (bad, clean))

    def share(patched):
        return float((patched.mean() - floor) / (ceiling - floor))

    expected = {
        "mean logit difference": float(ceiling),
        "logit difference of prompt 5": float(_difference(clean, 5, answers)),
    }
    for site, head in (("z", "9.9"), ("q", "10.7"), ("k", "5.9"), ("v", "8.6"), ("pattern", "6.9")):
        patched = hook_loops.patch_head(model, bad, clean, answers, site, Head.parse(head))
        expected[f"recovered by {site} of {head}"] = share(patched)
    for position, head, column in (("END", "8.6", END), ("S2", "5.5", S2)):
        at = torch.full((8,), column)
        patched = hook_loops.patch_head(model, bad, clean, answers, "z", Head.parse(head), at)
        expected[f"recovered by {head} at {position}"] = share(patched)
    for site, layer, position, column in (
        ("resid_pre", 7, "S2", S2),
        ("attn_out", 8, "END", END),
        ("mlp_out", 0, "S2", S2),
    ):
        patched = hook_loops.patch_stream(model, bad, clean, answers, site, layer, column)
        expected[f"recovered by {site} {layer} at {position}"] = share(patched)

    edits = [Edit("z", 9, hook_loops.put(torch.tensor(0.0), (slice(None), END, 9)))]
    ablated = model.run(clean.tokens, last=clean.last, keep=("z", "final_scale"), edits=edits)
    scales = [run["final_scale"][:, END, 0] for run in (clean, ablated)]
    expected["logit difference with 9.9 zeroed"] = float(ablated.logit_difference(answers).mean())
    expected["final scale before over after"] = float((scales[0] / scales[1]).mean())
    direction = (model.weights.W_U[:, answers[:, 0]] - model.weights.W_U[:, answers[:, 1]]).T
    written = [
        ((run["z"][10, :, END, 7] @ model.weights.W_O[10, 7]) * direction).sum(-1) / scale
        for run, scale in zip((clean, ablated), scales, strict=True)
    ]
    expected["direct logit attribution of 10.7"] = float(written[0].mean())
    expected["change of the attribution of 10.7"] = float((written[1] - written[0]).mean())
    for kind, site in (("attention", "attn_out"), ("mlp", "mlp_out")):
        added = (clean[site][10][:, END] * direction).sum(-1) / scales[0]
        expected[f"direct logit attribution of {kind} 10"] = float(added.mean())
    lens = (clean["resid_pre"][9][:, END] * direction).sum(-1) / scales[0]
    expected["logit difference entering layer 9"] = float(lens.mean())  # b_U cancels: answers come in swapped pairs
    return expected


def _difference(run, prompt, answers):
    right, wrong = answers[prompt]
    return run.logits[prompt, right] - run.logits[prompt, wrong]
