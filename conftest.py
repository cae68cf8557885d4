"""Names the plugins; everything else is in them."""

pytest_plugins = [
    "ioi_fixtures.pytest_fixtures.model_option",  # first: before what takes long to import
    "lib.plugin.pytest_plugin",
    "ioi_fixtures.pytest_fixtures.prompt_fixtures",
    "ioi_fixtures.pytest_fixtures.fixtures",
    "ioi_fixtures.pytest_fixtures.shares",
    "ioi_fixtures.pytest_fixtures.experiments",
    "ioi_fixtures.pytest_fixtures.circuit_fixtures",
    "ioi_fixtures.pytest_fixtures.copying_fixtures",
    "ioi_fixtures.pytest_fixtures.drawings",
    "ioi_fixtures.pytest_fixtures.stated_graph",
    "ioi_fixtures.pytest_fixtures.outline",
]
