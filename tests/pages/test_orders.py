"""Products that add up in another order are the same but for rounding, and are not the same bits."""

import pytest
import torch

from benchmarks.pages.orders import ORDERS, VARIABLE, OtherOrder
from tests.support.rounding import agree, rounding

pytest_plugins = ["pytester"]


@pytest.mark.parametrize("order", ORDERS)
def test_every_product_differs_by_rounding_alone(order):
    generator = torch.Generator().manual_seed(0)
    x, w = (torch.randn(3, 40, 40, generator=generator) for _ in range(2))
    products = {
        "mm": lambda: x[0] @ w[0],
        "bmm": lambda: x @ w,
        "linear": lambda: torch.nn.functional.linear(x, w[0], w[1, 0]),
        "addmm": lambda: torch.addmm(x[1], x[0], w[0]),
        "baddbmm": lambda: torch.baddbmm(w, x, w),
        "einsum": lambda: torch.einsum("bij,bjk->ik", x, w),
    }
    for name, product in products.items():
        with OtherOrder(order):
            other = product()
        # a row and a column of up to 120 numbers, by Cauchy and Schwarz, and what is added to them
        assert agree(product(), other, rounding(torch.float32, terms=121, size=200.0)), name
        assert not torch.equal(product(), other), name


def test_the_plugin_holds_for_a_session_and_no_longer(pytester, monkeypatch):
    monkeypatch.setenv(VARIABLE, "backwards")
    x = torch.randn(40, 40, generator=torch.Generator().manual_seed(0))
    before = x @ x
    pytester.makepyfile(
        "import torch\ndef test_order():\n    x = torch.randn(40, 40, generator=torch.Generator().manual_seed(0))\n"
        f"    assert float((x @ x).sum().double()) != {float(before.sum().double())!r}\n"
        f"    assert torch.equal(x @ x, x.flip(1) @ x.flip(0)) is False\n"
    )
    pytester.runpytest("-p", "benchmarks.pages.orders").assert_outcomes(passed=1)
    assert torch.equal(x @ x, before)
