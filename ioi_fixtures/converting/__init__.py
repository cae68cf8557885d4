"""Circuits in other tools' files, as circuit files: `circuit-claims convert FILE`."""
