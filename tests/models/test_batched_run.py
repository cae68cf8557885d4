"""Runs within a memory budget: the same values however many prompts go at once and wherever they are kept."""

from types import SimpleNamespace

import psutil
import pytest
import torch

from benchmarks.device import peak_bytes
from ioi_fixtures.sentences.prompts import encode, make_prompts
from ioi_fixtures.trained import DIRECTORY
from lib.models.activations import Edit, OnDemand
from lib.models.budget import on_disk, within
from lib.models.model import load
from tests.support.rounding import agree, of_logits

MIB = 2**20
SOME = ("resid_pre", "z", "pattern", "resid_final", "final_scale")  # of every shape
# Everything in one pass; some prompts at a time, put together in memory; some at a time, each site in a file.
BUDGETS = {"one pass": 1024 * MIB, "in memory": 24 * MIB, "on disk": 3 * MIB}


@pytest.fixture(scope="module")
def case():
    """A model in float64, its runs of 36 prompts under each budget, and how many prompts each pass took."""
    model = load(DIRECTORY, device="cpu", dtype="float64", backend="plain")
    batch = encode(make_prompts(36, seed=0), model.tokenizer, prepend_bos=False)
    runs = {}
    for name, budget in BUDGETS.items():
        with within(budget):
            runs[name] = model.run(batch.tokens, last=batch.positions["END"], keep=SOME)
            for site in SOME:
                runs[name][site]
    tolerance = of_logits(model.weights, positions=batch.tokens.shape[1])
    return SimpleNamespace(model=model, batch=batch, runs=runs, tolerance=tolerance)


def sizes_of_passes(model, monkeypatch):
    """The list to which every pass of the model adds how many prompts it took, and what it kept."""
    sizes, run = [], model.backend.run
    monkeypatch.setattr(
        model.backend,
        "run",
        lambda tokens, **more: sizes.append((len(tokens), tuple(more["keep"]))) or run(tokens, **more),
    )
    return sizes


@pytest.mark.parametrize("name", ["in memory", "on disk"])
def test_a_budget_changes_no_value(case, name):
    whole, split = case.runs["one pass"], case.runs[name]
    assert agree(split.logits, whole.logits, case.tolerance)
    for site in SOME:
        assert split[site].shape == whole[site].shape
        assert agree(split[site], whole[site], case.tolerance), site
    for n in (1, 24, 36):
        assert torch.equal(split.first(n)["z"], split["z"][:, :n])
        assert torch.equal(split.first(n)["resid_final"], split["resid_final"][:n])


def test_each_budget_leads_to_its_own_way(case, monkeypatch):
    kinds = {name: type(run.activations) for name, run in case.runs.items()}
    assert kinds == {"one pass": dict, "in memory": dict, "on disk": OnDemand}
    sizes = sizes_of_passes(case.model, monkeypatch)
    for name, budget in BUDGETS.items():
        sizes.clear()
        with within(budget):
            case.model.run(case.batch.tokens, last=case.batch.positions["END"], keep=("z", "pattern"))
        assert sum(size for size, _ in sizes) == 36
        assert (len(sizes) == 1) == (name == "one pass"), name


def test_what_is_not_asked_for_is_never_run_for_where_memory_is_short(case, monkeypatch):
    sizes = sizes_of_passes(case.model, monkeypatch)
    with within(BUDGETS["on disk"]):
        run = case.model.run(case.batch.tokens, last=case.batch.positions["END"], keep=SOME)
        assert {kept for _, kept in sizes} == {()}
        run.first(10)["z"]
        run["z"]
    assert sum(size for size, kept in sizes if kept == ("z",)) == 36
    assert {kept for _, kept in sizes} == {(), ("z",)}
    with pytest.raises(KeyError, match="not 'nothing'"):
        run["nothing"]


@pytest.mark.parametrize("name", BUDGETS)
def test_edits_of_some_prompts_are_those_of_all(case, name):
    values = torch.arange(36, dtype=torch.float64)[:, None, None, None]
    settings = {"last": case.batch.positions["END"], "keep": ("z",)}
    all_at_once = case.model.run(case.batch.tokens, edits=[Edit("z", 1, lambda z: z * values)], **settings)
    with within(BUDGETS[name]):
        edits = lambda some: [Edit("z", 1, lambda z: z * values[some])]  # noqa: E731
        split = case.model.run(case.batch.tokens, edits=edits, **settings)
        assert agree(split["z"], all_at_once["z"], 36 * case.tolerance)
        assert agree(split.logits, all_at_once.logits, case.tolerance)
    plain = case.runs["one pass"].logits
    assert (split.logits - plain).abs().max() > 1e-3


@pytest.mark.parametrize("budget", [2 * MIB, 4 * MIB])
@pytest.mark.parametrize("backend", ["bridge", "plain"])
def test_a_run_keeps_to_its_memory_budget(backend, budget):
    model = load(DIRECTORY, device="cpu", backend=backend)
    batch = encode(make_prompts(48, seed=0), model.tokenizer, prepend_bos=False)

    def taken(keep):
        return peak_bytes(lambda: model.run(batch.tokens, last=batch.positions["END"], keep=keep), torch.device("cpu"))

    with within(1024 * MIB):
        assert taken(SOME) > 1.5 * budget  # else nothing was limited
    with within(budget):
        assert taken(()) <= budget
        assert taken(SOME) <= budget


def test_a_tensor_on_disk_is_a_tensor():
    for dtype in (torch.float32, torch.float64, torch.bfloat16):
        tensor, forget = on_disk((2, 3, 5), dtype)
        assert (tensor.shape, tensor.dtype, float(tensor.double().abs().sum())) == ((2, 3, 5), dtype, 0.0)
        tensor[1, 2] = 7
        forget()
        assert float(tensor.double().sum()) == 35
    assert on_disk((2, 0), torch.float32)[0].shape == (2, 0)


@pytest.mark.skipif(not psutil.LINUX, reason="counted as Linux counts a process's pages of files")
def test_what_is_on_disk_and_done_with_takes_no_memory():
    process = psutil.Process()
    tensor, forget = on_disk((64 * MIB,), torch.uint8)
    before = process.memory_info().shared
    tensor.fill_(7)
    assert process.memory_info().shared - before > 60 * MIB
    forget()
    assert process.memory_info().shared - before < 4 * MIB
    assert int(tensor[12345]) == 7


def test_a_run_on_disk_is_done_with_after_each_pass(case, monkeypatch):
    done = []

    def counted(*file):
        tensor, forget = on_disk(*file)
        return tensor, lambda: (done.append(tensor.shape), forget())

    monkeypatch.setattr("lib.models.batched_run.on_disk", counted)
    sizes = sizes_of_passes(case.model, monkeypatch)
    with within(BUDGETS["on disk"]):
        run = case.model.run(case.batch.tokens, last=case.batch.positions["END"], keep=SOME)
        assert not done
        assert torch.equal(run["z"], case.runs["on disk"]["z"])
    assert done == [run["z"].shape] * sum(kept == ("z",) for _, kept in sizes)


def test_a_disk_without_room_is_named_with_the_remedy(monkeypatch):
    monkeypatch.setattr("lib.models.budget.shutil.disk_usage", lambda folder: SimpleNamespace(free=100))
    with pytest.raises(
        OSError, match=r"0.0 GiB of activations .* use fewer prompts, a larger --claims-memory, or .*TMPDIR"
    ):
        on_disk((26,), torch.float32)
    assert len(on_disk((25,), torch.float32)[0]) == 25
