"""Where things are: the repository, and what lies beside it."""

from pathlib import Path

ROOT = Path(__file__).parents[2]
CLAIMS = ROOT / "claims"
BASELINE = ROOT / "reports" / "baselines" / "planted.json"
PARTIAL = ROOT.parent / "shared" / "gpt2-small-partial"  # GPT-2 small's tokenizer, config and attention weights
