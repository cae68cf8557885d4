"""Batches within a memory budget: the same values, in the same order, and no silence when a GPU runs out."""

import pytest
import torch

from lib.models.budget import ENOUGH_ROWS, BatchHalved, in_batches, memory_size, on_disk, room_for, within


def doubled(sizes, *, fits=100):
    """A measurement that notes its batch sizes, and runs out of memory above `fits` prompts."""

    def measure(prompts):
        sizes.append(len(prompts))
        if len(prompts) > fits:
            raise torch.cuda.OutOfMemoryError("CUDA out of memory")
        return torch.stack([prompts, prompts * 2])

    return measure


def test_batches_stay_within_the_budget_and_keep_their_order():
    sizes = []
    values = in_batches(doubled(sizes), torch.arange(10), rows=5, row_bytes=8, budget=130)
    assert values.tolist() == [list(range(10)), [2 * i for i in range(10)]]
    assert sizes == [3, 3, 3, 1]


def test_more_memory_than_matrix_products_profit_from_is_not_used():
    sizes = []
    in_batches(doubled(sizes), torch.arange(3), rows=ENOUGH_ROWS, row_bytes=1, budget=None)
    assert sizes == [1, 1, 1]


def test_a_gpu_that_runs_out_of_memory_halves_the_batch_and_says_so():
    sizes = []
    with pytest.warns(BatchHalved, match="going on with 2 prompts at once"):
        values = in_batches(doubled(sizes, fits=2), torch.arange(6), rows=1, row_bytes=1, budget=5)
    assert values[0].tolist() == list(range(6))
    assert sizes == [5, 2, 2, 2]


def test_one_prompt_too_many_is_an_error_that_says_what_to_do():
    with pytest.raises(ValueError, match="a budget of 39 bytes does not hold one prompt: give at least 40"):
        in_batches(doubled([]), torch.arange(2), rows=5, row_bytes=8, budget=39)
    with pytest.warns(BatchHalved), pytest.raises(ValueError, match="does not hold the work on one prompt"):
        in_batches(doubled([], fits=0), torch.arange(2), rows=1, row_bytes=1, budget=2)


@pytest.mark.parametrize(
    ("text", "size"), [("1B", 1), ("2GB", 2 * 10**9), ("512MiB", 2**29), ("1.5 gib", 3 * 2**29), ("7kb", 7000)]
)
def test_a_memory_size_is_a_number_with_a_unit(text, size):
    assert memory_size(text) == size


@pytest.mark.parametrize("text", ["", "2", "GB", "-1GB", "0MB", "0.1B", "1e9B", "2 GBs", "two GB", "nanGB"])
def test_anything_else_is_no_memory_size(text):
    with pytest.raises(ValueError, match="is no memory size: give a number and one of B, kB, "):
        memory_size(text)


def sizes_used(n, **arguments):
    """How many of `n` prompts at once a measurement gets."""
    sizes = []
    in_batches(doubled(sizes), torch.arange(n), rows=5, row_bytes=8, **{"budget": None, **arguments})
    return sizes


def test_a_session_limit_holds_where_no_budget_is_given_and_ends_with_its_block():
    with within(130):
        assert sizes_used(10) == [3, 3, 3, 1]
        assert sizes_used(10, budget=400) == [10]
        with within(80):
            assert sizes_used(4) == [2, 2]
        assert sizes_used(4) == [3, 1]
        with pytest.raises(ValueError, match="does not hold one prompt"), within(8):
            sizes_used(4)
        assert sizes_used(4) == [3, 1]
    assert sizes_used(10) == [10]


def test_half_of_the_free_memory_is_shared_among_processes(monkeypatch):
    monkeypatch.setattr("lib.models.budget.free_memory", lambda device: 960)
    with within(processes=1):  # there may be several that run these tests, and so share what is free
        assert sizes_used(12) == [12]
    with within(processes=3):
        assert sizes_used(12) == [4, 4, 4]
    with within(120, processes=3):
        assert sizes_used(12) == [3, 3, 3, 3]


@pytest.mark.parametrize(("budget", "kept_on_disk"), [(47, True), (48, False), (1000, False)])
def test_what_half_of_the_budget_does_not_hold_is_kept_on_disk(budget, kept_on_disk, monkeypatch):
    """Six numbers of four bytes: 24 of 48."""
    asked = []
    monkeypatch.setattr("lib.models.budget.on_disk", lambda *file: asked.append(file) or on_disk(*file))
    with within(budget):
        room, filled = room_for((2, 3), torch.zeros(5))
    room.fill_(7)
    filled()
    assert float(room.sum()) == 42
    assert (room.shape, room.dtype) == ((2, 3), torch.float32)
    assert asked == ([((2, 3), torch.float32)] if kept_on_disk else [])
