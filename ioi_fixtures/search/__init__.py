"""The search for a circuit: `python -m ioi_fixtures.search MODEL`, which writes a circuit file."""
