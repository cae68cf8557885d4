"""Who else is in the text of a prompt: an IOI prompt has two people, and the answer is the one named once.

Two signs tell a person from a place, a shop or a day, which ordinary prompts name too ("went to Starbucks"): a name
that is known as a first name, and a capitalised word that stands in one list with the two ("Mary, Paul and Adam").
Names in the possessive take no part ("at Trader Joe's"). Out of scope: people without a name.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator

WORD = r"[^\W\d_](?:[\w'’-]*\w)?"
PLACE_BEFORE = re.compile(r"\b(?:[Aa]t|[Ii]n|[Nn]ear|[Ii]nside|[Oo]utside|[Tt]he|[Aa]n?|St\.?|San|Santa|Lake|Mount) $")
# What begins a clause, so that what follows is its subject; and what is said before somebody's name.
BEGINS = r"(?:while|when|whenever|once|as|because|if|though|although|then|and|that|friends|people)"
CALLED = r"(?:friends?|brothers?|sisters?|cousins?|uncle|aunt|colleagues?|neighbou?rs?|mr\.?|mrs\.?|ms\.?)"
EITHER = "\0"  # stands for either of the two names
LISTED = tuple(
    re.compile(pattern)
    for pattern in (
        rf"{EITHER}(?=(?:,? (?:and|or|&) |, )({WORD}))",  # Mary, Paul and Adam
        rf"^[^{EITHER}]*?(?<!\w)({WORD})(?:,? (?:and|or|&) ){EITHER}",  # Adam and Mary
        rf"^[^{EITHER}]*\b(?i:{BEGINS}) ({WORD})(?:, {WORD})*,(?: and)? {EITHER}",  # While Adam, Mary and Paul
        rf"\b(?i:{CALLED}) ({WORD})",  # their friend Adam
    )
)
NO_PERSON = frozenset(
    """
    I Monday Tuesday Wednesday Thursday Friday Saturday Sunday January February March April May June July August
    September October November December Christmas Easter Thanksgiving Halloween
    """.split()
)


def other_people(text: str, io: str, s: str, known: Collection[str]) -> list[str]:
    """Names of people in `text` besides `io` and `s`, in the order of the alphabet; `known` are first names."""
    found = {*_known(text, known), *_listed(text, io, s)}
    return sorted(found - {io, s} - NO_PERSON)


def _known(text: str, known: Collection[str]) -> Iterator[str]:
    for match in re.finditer(WORD, text):
        if match[0] in known and not PLACE_BEFORE.search(text[: match.start()]):
            yield match[0]


def _listed(text: str, io: str, s: str) -> Iterator[str]:
    """Capitalised words that are joined to one of the two names, or said to be somebody's."""
    for pattern in LISTED:
        for match in pattern.finditer(re.sub(rf"(?<!\w)(?:{re.escape(io)}|{re.escape(s)})(?!\w)", EITHER, text)):
            word = match[1]
            if word[0].isupper() and not re.search(r"['’]", word):
                yield word
