"""Published figures and accepted bands, one TOML file a family of claims: README.md says what stands in them."""

from pathlib import Path

FOLDER = Path(__file__).parent
