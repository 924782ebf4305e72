import pytest
from hypothesis import given
from hypothesis import strategies as st

from trustrace.core.errors import ConfigError
from trustrace.core.sites import Site, select_sites, sites_of


@given(st.integers(1, 80))
def test_a_decoder_has_two_more_sites_than_blocks_in_order_of_depth(n_blocks: int) -> None:
    sites = sites_of(n_blocks)
    assert len(sites) == n_blocks + 2
    assert list(sites) == sorted(sites)
    assert (sites[0].name, sites[-1].name) == ("embed", "final_norm")


@given(st.permutations(["final_norm", "block_10", "block_2", "embed"]))
def test_selected_sites_come_in_order_of_depth_whatever_the_order_asked_for(names: list[str]) -> None:
    chosen = select_sites([*names, names[0]], n_blocks=11)
    assert [site.name for site in chosen] == ["embed", "block_2", "block_10", "final_norm"]


@pytest.mark.parametrize("name", ["block", "block_-1", "block_01", "layer_3", "", "block_1 "])
def test_an_unknown_site_is_refused_by_name(name: str) -> None:
    with pytest.raises(ConfigError, match="unknown site"):
        Site.parse(name)


def test_a_block_that_the_model_lacks_is_named_with_what_there_is() -> None:
    with pytest.raises(ConfigError, match=r"block_4.*4 blocks"):
        select_sites(["block_4"], n_blocks=4)


def test_no_sites_at_all_are_refused() -> None:
    with pytest.raises(ConfigError):
        select_sites([], n_blocks=4)
