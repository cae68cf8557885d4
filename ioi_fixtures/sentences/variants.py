"""The same prompts with other names or the other order: the reference and patching data of Wang et al. 2022.

Every function takes prompts and gives prompts with the same templates and lengths, in the same order. Answers stay
those of the original, so a variant is scored on the question the original asked. Name positions stay too, except
where `flip_order` exchanges IO and S1. Fresh names are drawn from `names`: those that the tokenizer knows.

What S2 tells the heads that read it, as signals about the original prompt (Wang et al. 2022, App. A): the *token*
signal says which name is repeated, the *position* signal where it stood before.

| variant                     | token    | position |
|-----------------------------|----------|----------|
| (the original)              | original | original |
| `fresh_names`               | random   | original |
| `swap_names`                | inverted | original |
| `flip_order`                | original | inverted |
| `fresh_names` + `flip_order`| random   | inverted |
| `swap_s2`                   | inverted | inverted |
| `random_s2`, `abc`          | random   | none: nothing is repeated |

Out of scope: drawing prompts (`prompts`), patching anything.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace

from ioi_fixtures.sentences.prompts import Prompt, draw, stream
from ioi_fixtures.sentences.words import NAMES


def abc(prompts: Iterable[Prompt], *, seed: int, names: Sequence[str] = NAMES) -> tuple[Prompt, ...]:
    """Three fresh names for IO, S1 and S2: the prompts of p_ABC, which hold no answer (Wang et al. 2022, §2).

    The three differ from each other and from every name of the original (the published code draws them one by one, and
    they may collide).
    """
    uniform = stream("abc", seed)
    return tuple(_rename(prompt, _fresh(uniform, prompt, 3, names)) for prompt in prompts)


def random_s2(prompts: Iterable[Prompt], *, seed: int) -> tuple[Prompt, ...]:
    """A fresh third name at S2: nothing is repeated, IO and S1 stay."""
    uniform = stream("random_s2", seed)
    return tuple(replace(prompt, s2=_fresh(uniform, prompt, 1, NAMES)[0]) for prompt in prompts)


def fresh_names(prompts: Iterable[Prompt], *, seed: int, names: Sequence[str] = NAMES) -> tuple[Prompt, ...]:
    """Fresh names with the same structure: names that were equal stay equal. Token random, position original."""
    uniform = stream("fresh_names", seed)
    renamed = []
    for prompt in prompts:
        old = tuple(dict.fromkeys((prompt.io, prompt.s1, prompt.s2)))
        new = dict(zip(old, _fresh(uniform, prompt, len(old), names), strict=True))
        renamed.append(_rename(prompt, (new[prompt.io], new[prompt.s1], new[prompt.s2])))
    return tuple(renamed)


def swap_s2(prompts: Iterable[Prompt]) -> tuple[Prompt, ...]:
    """IO at S2, so that the model should answer S. Token inverted, position inverted."""
    return tuple(replace(prompt, s2=prompt.io) for prompt in prompts)


def swap_names(prompts: Iterable[Prompt]) -> tuple[Prompt, ...]:
    """IO and S exchanged everywhere. Token inverted, position original; on an IOI prompt, its own inverse."""
    swapped = []
    for prompt in prompts:
        new = {prompt.io: prompt.s1, prompt.s1: prompt.io}
        swapped.append(_rename(prompt, (prompt.s1, prompt.io, new.get(prompt.s2, prompt.s2))))
    return tuple(swapped)


def flip_order(prompts: Iterable[Prompt]) -> tuple[Prompt, ...]:
    """ABBA to BABA and back: IO and S1 change places. Token original, position inverted; its own inverse."""
    return tuple(replace(prompt, order="BABA" if prompt.order == "ABBA" else "ABBA") for prompt in prompts)


def _rename(prompt: Prompt, names: Sequence[str]) -> Prompt:
    io, s1, s2 = names
    return replace(prompt, io=io, s1=s1, s2=s2)


def _fresh(uniform: Callable[[], float], prompt: Prompt, count: int, names: Sequence[str]) -> list[str]:
    """`count` different names that the prompt neither holds nor is scored with."""
    taken = [prompt.io, prompt.s1, prompt.s2, *prompt.answers]
    fresh: list[str] = []
    for _ in range(count):
        fresh.append(draw(uniform, names, excluding=(*taken, *fresh)))
    return fresh
