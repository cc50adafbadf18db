import numpy as np
import pytest

from jaxcnn.report.values import column, shown


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (None, "–"),
        (True, "yes"),
        (np.bool_(False), "no"),
        (20260, "20,260"),
        (np.int64(1234), "1,234"),
        (0.123456, "0.1235"),
        (np.float32(0.001), "0.001"),
        (123456.7, "123,457"),
        (1e-9, "1e-09"),
        (float("nan"), "nan"),
        ("SAME", "SAME"),
        ((3, 3), "(3, 3)"),
    ],
)
def test_shown(value, words):
    assert shown(value) == words


def test_plain_values_have_no_thousands():
    assert (shown(20261123, plain=True), shown(12345.0, plain=True)) == ("20261123", "1.234e+04")


@pytest.mark.parametrize(
    ("values", "cells", "numeric"),
    [
        ([1, 2000], ["1", "2,000"], True),
        ([0.9, 0.98, None], ["0.90", "0.98", "–"], True),
        ([1.909, 0.03502], ["1.909", "0.035"], True),
        ([1.909, 0.0002345], ["1.90900", "0.00023"], True),
        ([0.0009973, 2.739e-06, 0.0], ["0.0009973", "0.0000027", "0"], True),
        ([1.0, 2.5, float("nan"), float("inf")], ["1.0", "2.5", "nan", "inf"], True),
        ([123456.7, 0.5], ["123,457", "0.5"], True),
        (["a", 0.123456], ["a", "0.1235"], False),
        ([True, 1], ["yes", "1"], False),
    ],
)
def test_columns_line_up_at_the_decimal_point(values, cells, numeric):
    assert column(values) == (cells, numeric)
