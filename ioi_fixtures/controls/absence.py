"""Which claims hold on a model that has nothing: those that something is weak, unmoved or absent."""

# Words in the names of such claims. Instruments' own work on any model.
OF_ABSENCE = (
    "test_instruments.py",
    "on_any_prompt",
    "do_not_wake_up",
    "late_backups_hardly_move",
    "is_not_in_the_residual_stream",
    "induction-5.8",
    "induction-5.9",
    "duplicate-0.10",
    "paper-9.6]",  # removing it does next to nothing, of either sign
    "ARENA-9.6]",
    *(f"ARENA-{head}]" for head in ("9.0", "11.2", "11.9")),  # barely needed
)
