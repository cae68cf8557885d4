"""Figures of one model's own: read by id, chosen by step, and put in place of those of GPT-2 small."""

import pytest

from ioi_fixtures.circuits.circuit_file import read_circuit
from ioi_fixtures.circuits.own_figures import at_step, heads_of, of_kind, read_figures
from ioi_fixtures.published import FOLDER
from ioi_fixtures.pytest_fixtures.circuit_fixtures import with_stated_bands
from lib.judging.references import read_references
from lib.models.heads import Head
from lib.schedules import step_of

FIGURE = '["{}"]\nsays = "{}"\nsource = "somebody"\nhow = "somehow"\naccept = {{ above = 0.5 }}\nwhy = "as published"\n'


def figures(folder, *ids):
    path = folder / "published.toml"
    path.write_text("\n".join(FIGURE.format(id, id) for id in ids), encoding="utf-8")
    return read_figures(path)


def test_figures_of_heads_and_layers_are_asked_one_by_one(tmp_path):
    found = figures(
        tmp_path, "attribution/8.10", "leads-against/20.1", "leads/3.1", "logit-lens/9", "behaviour/accuracy"
    )
    assert [(one.id, one.address) for one in of_kind(found, "attribution")] == [("attribution/8.10", Head(8, 10))]
    assert [(str(one), one.sign) for one in of_kind(found, "leads-against")] == [("20.1", -1)]
    assert [(str(one), one.sign) for one in of_kind(found, "leads")] == [("3.1", 1)]
    assert [one.address for one in of_kind(found, "logit-lens")] == [9]
    assert heads_of(found) == [Head(8, 10), Head(20, 1), Head(3, 1), Head(8, 0)]  # layer 8 has to be there


@pytest.mark.parametrize(("id", "says"), [("attribution/8", "'8' is not a head"), ("logit-lens/x", "'x' is no layer")])
def test_an_address_that_is_none_is_named(id, says, tmp_path):
    with pytest.raises(ValueError, match=rf"published.toml: \['{id}'\]: {says}"):
        figures(tmp_path, id)


@pytest.mark.parametrize(
    ("step", "says"),
    [
        (None, "a"),
        (512, "a"),
        (1000, "a @ step1000"),
        (2000, "a"),
        (10000, "a @ step10000-"),
        (143000, "a @ step143000"),
    ],
)
def test_what_is_published_of_a_step_is_asked_at_that_step(step, says, tmp_path):
    ids = ("a @ step10000-", "a @ step143000", "a", "a @ step1000", "b @ step1000")
    chosen = at_step(figures(tmp_path, *ids), step)
    assert (chosen["a"].id, chosen["a"].says) == ("a", says)
    assert ("b" in chosen) == (step == 1000)


@pytest.mark.parametrize(
    ("name", "step"),
    [
        ("EleutherAI/pythia-160m@step1000", 1000),
        ("stanford-crfm/alias-gpt2-small-x21@checkpoint-400000", 400000),
        ("/runs/step=64", 64),
        ("EleutherAI/pythia-160m", None),
        ("a/step-by-step", None),
    ],
)
def test_a_models_name_says_its_step(name, step):
    assert step_of(name) == step


def with_figures(folder, *ids, circuit='published = "published.toml"\n'):
    figures(folder, *ids)
    (folder / "circuit.toml").write_text(circuit, encoding="utf-8")
    return read_circuit(folder / "circuit.toml")


def test_a_figure_of_the_model_stands_in_place_of_gpt2_smalls(tmp_path):
    published = read_references(FOLDER)
    own = with_stated_bands(published, with_figures(tmp_path, "behaviour/accuracy", "attribution/8.10"))
    assert own["behaviour/accuracy"].source == own["attribution/8.10"].source == "somebody"
    assert own["circuit-file/edge"] == published["circuit-file/edge"]
    with pytest.raises(ValueError, match=r"'behaviour/acuracy'\] is of no claim .* did you mean 'behaviour/accuracy'"):
        with_stated_bands(published, with_figures(tmp_path, "behaviour/acuracy"))


def test_a_file_names_its_figures_and_needs_no_classes_then(tmp_path):
    assert with_figures(tmp_path, "attribution/8.10").heads == (Head(8, 10),)
    with pytest.raises(ValueError, match=r"complete: 'no' is neither true nor false"):
        with_figures(tmp_path, "attribution/8.10", circuit='published = "published.toml"\ncomplete = "no"\n')
    with pytest.raises(OSError, match=r"mine\.toml"):
        with_figures(tmp_path, "attribution/8.10", circuit='published = "mine.toml"\n')
