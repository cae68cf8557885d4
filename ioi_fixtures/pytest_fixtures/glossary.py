"""What a reader who has never seen the project has to be told: the task, and the words of the claims."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

TASK = (
    "Indirect object identification: after “When Mary and John went to the store, John gave a drink to”, a language "
    "model continues with “Mary”. Wang et al. 2022 published how GPT-2 small does it, head by head. Each claim is one "
    "such statement, measured here; each control is about what must not be found."
)

# The words as claims write them. Longer ones win over words within them.
GLOSSARY: Mapping[str, str] = MappingProxyType(
    {
        "IO": "the indirect object, the name that is the answer: “ Mary”; also the place in the prompt where it stands",
        "S1": "the first place of the subject, the name that is repeated: “ John”",
        "S1+1": "the token after S1",
        "S2": "the second place of the subject",
        "END": "the last token of the prompt, after which the model answers",
        "ABC": "the same prompt with three other names, so that none is the answer: where patches and means are from",
        "logit difference": "the logit of the indirect object less that of the subject, at END: above zero, the model "
        "prefers the right name",
        "name mover": "a head that attends from END to a name and writes that name into the output",
        "negative name mover": "a head that attends to a name and writes against it",
        "backup name mover": "a head that takes over when name movers are removed",
        "S-inhibition": "heads that tell name movers, at END, not to attend to the subject",
        "induction": "heads that attend from a repeated token to the token after its first place",
        "duplicate token": "heads that attend from a token to its earlier place",
        "previous token": "heads that attend to the token before",
        "mean ablation": "a head's output replaced by its mean over ABC prompts of the same template",
        "patching": "an activation of one run put into another, to see what depends on it",
        "direct attribution": "what a head writes straight into the logit difference, later layers left out",
        "copy score": "how often a head, given a name, puts that name among the five likeliest tokens",
        "circuit": "the heads that are said to do the task, each at its place",
        "resid_pre": "the residual stream as it enters a layer",
        "resid_post": "the residual stream as it leaves a layer",
        "bridge": "TransformerLens' way to run a transformers model with hooks",
    }
)
