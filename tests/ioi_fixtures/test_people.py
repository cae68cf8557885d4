"""Who else is named in a prompt: third people are seen, and places, shops, days and other capitals are none."""

import pytest

from ioi_fixtures.sentences.people import other_people
from ioi_fixtures.sentences.prompts import make_prompts
from ioi_fixtures.sentences.words import NAMES, OTHER_NAMES

KNOWN = {*NAMES, *OTHER_NAMES}


@pytest.mark.parametrize(
    ("clause", "others"),
    [
        ("Once Mary, Paul and Adam had arrived, Paul gave a ring to", ["Adam"]),
        ("Once Mary, Paul, and Adam had arrived, Paul gave a ring to", ["Adam"]),
        ("Once Mary and Paul and Adam had arrived, Paul gave a ring to", ["Adam"]),
        ("Once Adam, Mary and Paul had arrived, Paul gave a ring to", ["Adam"]),
        ("Once Mary, Adam, Paul and Zoe had arrived, Paul gave a ring to", ["Adam", "Zoe"]),
        ("Once Mary and Paul met Adam, Paul gave a ring to", ["Adam"]),
        ("Once Mary and Paul had talked about Adam, Paul gave a ring to", ["Adam"]),
        ("Once Mary and Paul had arrived, Paul and Adam gave a ring to", ["Adam"]),
        ("Adam saw how Mary and Paul arrived, and Paul gave a ring to", ["Adam"]),
        # names that no list holds
        ("Once Mary, Paul and Quillon had arrived, Paul gave a ring to", ["Quillon"]),
        ("Once Quillon, Mary and Paul had arrived, Paul gave a ring to", ["Quillon"]),
        ("Once Quillon and Mary and Paul had arrived, Paul gave a ring to", ["Quillon"]),
        ("Quillon & Mary met Paul, and Paul gave a ring to", ["Quillon"]),
        ("Once Mary and Paul had arrived, Paul or Quillon gave a ring to", ["Quillon"]),
        ("Once Mary and Paul and their friend Quillon had arrived, Paul gave a ring to", ["Quillon"]),
        ("Once Mary and Paul had met Mrs. Quillon, Paul gave a ring to", ["Quillon"]),
    ],
)
def test_a_third_person_is_named(clause, others):
    assert other_people(clause, "Mary", "Paul", KNOWN) == others


@pytest.mark.parametrize(
    "text",
    [
        "Then, Mary and Paul went to Starbucks. Paul gave a latte to",
        "When Mary and Paul went to Starbucks and Paul gave a latte to",
        "After Mary and Paul left Trader Joe's, Paul gave a ring to",
        "At Starbucks, Mary and Paul had a snack, and Paul gave it to",
        "In New York City, Mary and Paul met, and Paul gave a ring to",
        "Last Friday, Mary and Paul met, and Paul gave a ring to",
        "After Christmas, Mary and Paul met, and Paul gave a ring to",
        "Then Monday, Mary and Paul met, and Paul gave a ring to",
        "Afterwards Mary and Paul went to San Jose, and Paul, I think, gave a ring to",
        "Friends Mary and Paul found an Italian bar in Georgia, and Paul gave a ring to",
        "The restaurant Mary and Paul went to had a menu, and Paul gave it to",
        "After the lunch, Mary and Paul walked to the Empire State Building; Paul gave a Kodak camera to",
        "While Mary and Paul were near Thomas, Paul gave a ring to",
    ],
)
def test_places_days_and_other_capitals_are_no_people(text):
    assert other_people(text, "Mary", "Paul", KNOWN) == []


def test_none_of_our_own_prompts_names_a_third():
    assert [one.text for one in make_prompts(500, seed=0) if other_people(one.text, one.io, one.s1, KNOWN)] == []
