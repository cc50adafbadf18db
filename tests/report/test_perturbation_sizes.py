import numpy as np
import pytest

from jaxcnn.report.perturbation_sizes import BINS, perturbation_sizes


def test_a_panel_an_attack_with_the_median_of_all_images():
    sizes = {"one": np.array([0.0, 0.1, 0.2, np.nan, 0.4]), "two": np.array([0.1, np.inf, np.nan])}
    one, two = perturbation_sizes(sizes, quantity="change").axes
    assert [bar.get_height() for bar in one.patches if bar.get_height()] == [1, 1, 1, 1]
    assert len(one.patches) == len(two.patches) == BINS
    assert one.get_xlim() == two.get_xlim() == (0, 0.4)
    (median,) = one.lines
    assert list(median.get_xdata()) == [0.2, 0.2]
    assert one.get_title("right") == "median 0.2 · 1 of 5 not fooled"
    assert not two.lines  # more than half were not fooled
    assert two.get_title("right") == "2 of 3 not fooled"
    assert (one.get_title("left"), two.get_xlabel()) == ("one", "change")


@pytest.mark.slow
def test_nothing_but_zeros_and_nothing_at_all():
    perturbation_sizes({"a": np.zeros(3), "b": np.full(3, np.nan)}).draw_without_rendering()


@pytest.mark.parametrize("sizes", [{}, {"a": np.zeros(0)}, {"a": np.array([-1.0])}])
def test_refuses(sizes):
    with pytest.raises(ValueError, match=r"^perturbation_sizes: expected sizes of at least 0 for every attack, got "):
        perturbation_sizes(sizes)
