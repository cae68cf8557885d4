"""`trained`: a small model of GPT-2's architecture, really trained on sentences of this kind. Nobody put a circuit in.

`planted` shows that the instruments find what was built; this one shows that they work on weights that gradient
descent left. `sentences` is what it learns from, `train` makes the weights, `find` looks for the circuit and writes
circuit.toml, which is also the worked example of claims for one's own model (README).

Not GPT-2: it knows a few hundred words and sentences of one kind. What is found here is true of this model alone.
"""

from pathlib import Path

DIRECTORY = Path(__file__).parent
