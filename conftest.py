"""Names the plugins; everything else is in them."""

pytest_plugins = [
    "lib.plugin.pytest_plugin",
    "ioi_fixtures.fixtures",
    "ioi_fixtures.experiments",
    "ioi_fixtures.circuit_fixtures",
    "ioi_fixtures.drawings",
    "ioi_fixtures.outline",
]
