"""Definitions of roles: the most exact entry decides, and what is wrong is listed."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lyredb.errors import InvalidRecord
from lyredb.security.rights import (
    ALL_RIGHTS,
    NO_RIGHTS,
    RoleDefinition,
    TableRights,
    read_role,
)

READ = TableRights(read=True)
INSERT = TableRights(insert=True)


@pytest.mark.parametrize(
    ("value", "database", "table", "rights"),
    [
        ({"data": {"T": {"read": True}}}, "data", "T", READ),
        ({"data": {"T": {"read": True}}}, "data", "U", NO_RIGHTS),
        ({"data": {"T": {"read": True}}}, "other", "T", NO_RIGHTS),
        ({"data": {"*": {"read": True}}}, "data", "U", READ),
        ({"*": {"T": {"read": True}}}, "other", "T", READ),
        ({"*": {"*": {"read": True}}}, "other", "U", READ),
        ({"data": {"*": {"read": True}, "T": {}}}, "data", "T", NO_RIGHTS),
        ({"data": {"*": {"read": True}}, "*": {"T": {"insert": True}}}, "data", "T", READ),
        ({"*": {"T": {"insert": True}, "*": {"read": True}}}, "data", "T", INSERT),
        ({"*": {"*": {"read": True}}}, "system", "user", NO_RIGHTS),
        ({"super_user": True}, "data", "T", ALL_RIGHTS),
        ({"super_user": True}, "system", "user", ALL_RIGHTS),
        ({}, "data", "T", NO_RIGHTS),
    ],
)
def test_the_most_exact_entry_decides_alone(
    value: object, database: str, table: str, rights: TableRights
) -> None:
    assert read_role("r", value).rights(database, table) == rights


@pytest.mark.parametrize(
    "value",
    [
        {"data": {"T": {"read": True}}},
        {"data": {"tables": {"T": {"read": True}}}},
        {"permission": {"data": {"T": {"read": True}}}},
        {"permission": {"super_user": False, "data": {"tables": {"T": {"read": True}}}}},
        {"data": {"T": {"read": True, "attribute_permissions": []}}},
        {"data": {"T": {"read": True, "delete": False}}, "structure_user": False},
    ],
)
def test_levels_may_be_left_out(value: object) -> None:
    assert read_role("r", value) == RoleDefinition("r", databases={"data": {"T": READ}})


def test_a_table_may_be_called_tables() -> None:
    role = read_role("r", {"data": {"tables": {"read": True}}})
    assert role.rights("data", "tables") == READ


@pytest.mark.parametrize(
    ("value", "problem"),
    [
        (None, "must be a mapping, not NoneType"),
        ({"data": ["T"]}, "data: must be a mapping, not list"),
        ({"data": {"T": True}}, "data.T: must be a mapping, not bool"),
        ({"data": {"T": {"read": 1}}}, "data.T.read: must be true or false"),
        ({"data": {"T": {"write": True}}}, "'write' is no right; rights are read, insert"),
        ({"super_user": "yes"}, "super_user: must be true or false"),
        ({"super_user": True, "data": {}}, "list nothing else"),
        ({"system": {"user": {"read": True}}}, "system: the database of the server itself"),
        ({"data": {7: {"read": True}}}, "data: 7 is no name"),
        ({"structure_user": True}, "structure_user: is not known"),
        ({"data": {"T": {"attributes": {"a": {"read": True}}}}}, "read of a needs read of the table"),
        ({"permission": {}, "data": {}}, "data: stands beside permission"),
        ({"data": {"tables": {"T": {}}, "U": {}}}, "data.U: stands beside tables"),
    ],
)
def test_what_is_wrong_is_named_with_its_place(value: object, problem: str) -> None:
    with pytest.raises(InvalidRecord, match="role 'r'") as caught:
        read_role("r", value)
    assert problem in str(caught.value)


def test_all_problems_are_listed_and_not_the_first_alone() -> None:
    with pytest.raises(InvalidRecord) as caught:
        read_role("a:b", {"data": {"T": {"read": 1, "write": True}}, "system": {}})
    assert len(caught.value.problems) == 4


rights_of_tables = st.builds(TableRights, *[st.booleans()] * 4)
names = st.sampled_from(["*", "data", "T", "tables", "permission"])
definitions = st.one_of(
    st.just(RoleDefinition("r", super_user=True)),
    st.builds(
        RoleDefinition,
        st.just("r"),
        st.just(False),
        st.dictionaries(
            names.filter(lambda name: name != "permission"),
            st.dictionaries(names.filter(lambda name: name != "tables"), rights_of_tables),
        ),
    ),
)


@given(definitions)
def test_a_definition_reads_as_it_was_written(definition: RoleDefinition) -> None:
    assert read_role("r", definition.as_mapping()) == definition
