import pytest
from hypothesis import given
from hypothesis import strategies as st

from trustrace.runs.identity import Unit, canonical_json

values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=8,
)


@given(st.dictionaries(st.text(), values))
def test_identity_does_not_depend_on_the_order_of_keys(inputs: dict[str, object]) -> None:
    turned = dict(reversed(inputs.items()))
    assert Unit(step="a", name="x", inputs=inputs).identity == Unit(step="a", name="y", inputs=turned).identity


@given(st.text(), st.text())
def test_different_inputs_have_different_folders_even_when_their_names_look_alike(one: str, other: str) -> None:
    folders = {Unit(step="a", name="same/name", inputs={"value": value}).folder for value in (one, other)}
    assert len(folders) == (1 if one == other else 2)


def test_a_folder_name_cannot_leave_its_parent() -> None:
    folder = Unit(step="trace", name="../../etc/passwd\n<b>", inputs={}).folder
    assert "/" not in folder
    assert folder.startswith("trace-etc-passwd-b-")


def test_a_number_that_is_not_a_number_has_no_identity() -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        canonical_json({"value": float("nan")})
