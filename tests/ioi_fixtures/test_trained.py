"""The trained model is what its training record says, on sentences it never saw, and its circuit is what is found."""

import json
import math
import re

import torch

from ioi_fixtures.circuits.circuit_file import read_circuit
from ioi_fixtures.controls.random_model import one_thread
from ioi_fixtures.planted.tokenizer import vocabulary
from ioi_fixtures.search.steps import check, find
from ioi_fixtures.sentences.words import NAMES, TEMPLATES
from ioi_fixtures.trained import DIRECTORY
from ioi_fixtures.trained.sentences import Sentences, is_kept_back, kept_back, patterns
from ioi_fixtures.trained.train import evaluate, losses, train
from lib.models.model import hash_weights, load
from tests.support.rounding import EQUAL, agree

RECORD = json.loads((DIRECTORY / "training.json").read_text(encoding="utf-8"))
MEGABYTE = 1_000_000


def test_the_weights_are_those_of_the_record_and_small():
    assert hash_weights(DIRECTORY) == RECORD["weights"]
    assert (DIRECTORY / "model.safetensors").stat().st_size < 5 * MEGABYTE


def test_it_learned():
    curve = [point["answers"] for point in RECORD["loss"]]
    assert curve[0] > 4  # of log(293) = 5.7 for a guess among all words
    assert curve[-1] < curve[0] / 4


def test_it_answers_prompts_whose_templates_and_names_it_never_saw():
    found = evaluate(DIRECTORY)
    assert found["prompts"] >= 100
    assert found["accuracy"] > 0.95
    assert found == RECORD["held out"]  # as rounded there, of a model that is run in float64


def test_no_template_of_the_claims_is_trained_on():
    drawn = {re.sub(r" +", " ", "".join(pattern)) for pattern in patterns()}
    assert len(drawn) == len(TEMPLATES) * (len(TEMPLATES) - 1)
    assert not drawn & set(TEMPLATES)


def test_no_pair_that_was_kept_back_is_trained_on():
    words, sentences = vocabulary(), Sentences(0)
    for _ in range(300):
        tokens = [words[i].removeprefix(" ") for i in sentences.one()]
        first, second, *_ = (token for token in tokens if token in NAMES)
        assert not is_kept_back(first, second)
    assert kept_back(200, seed=0)


def test_the_answer_is_a_name_of_the_first_clause_that_is_not_the_subject():
    words, sentences, repeated = vocabulary(), Sentences(1), 0
    for _ in range(300):
        tokens = [words[i].removeprefix(" ") for i in sentences.one()]
        first, second, subject, answer = (token for token in tokens if token in NAMES)
        assert answer in {first, second} - {subject}
        repeated += subject in (first, second)
    assert 180 < repeated < 270  # three quarters


def test_the_loss_of_the_answer_is_that_of_the_last_token():
    class Knows(torch.nn.Module):
        """Knows the last token of a row, and nothing else."""

        def forward(self, tokens):
            logits = torch.zeros(*tokens.shape, 7, dtype=torch.float64)
            logits[0, 1, 3] = logits[1, 2, 4] = 50.0
            return type("Output", (), {"logits": logits})

    tokens, lengths = torch.tensor([[1, 2, 3, 0], [1, 2, 5, 4]]), torch.tensor([3, 4])
    answers, others = losses(Knows(), tokens, lengths)
    assert agree(answers, 0.0, EQUAL)
    assert agree(others, math.log(7), EQUAL)


def test_training_again_gives_the_same_weights():
    with one_thread():
        (first, curve), (second, _) = train(steps=2), train(steps=2)
    assert curve[-1]["step"] == 2
    for one, other in zip(first.parameters(), second.parameters(), strict=True):
        assert torch.equal(one, other)


def test_the_search_finds_a_circuit_with_the_same_heads_at_its_end():
    """Another search found the one in the file. Both have the heads that write, and those that find the other name."""
    search = find(load(DIRECTORY, device="cpu"), prompts=3000, seed=1)
    assert check(search).n == 1000  # or it would have raised NothingFound
    kept = read_circuit(DIRECTORY / "circuit.toml")
    for name in ("subject suppressor", "S2 to S2", "S2 to elsewhere"):
        [places] = [one.places for one in kept.classes if one.name == name]
        assert places <= search.found
    assert len(search.found) < len(kept.places) + 5
