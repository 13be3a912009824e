"""Definitions of roles: the most exact entry decides, and what is wrong is listed."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lyredb.errors import InvalidRecord
from lyredb.security.rights import (
    ALL_RIGHTS,
    NO_RIGHTS,
    AttributeRights,
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


def test_attributes_are_a_mapping_or_a_list_as_in_older_systems() -> None:
    """Equal definitions, however they were written; ``delete: false`` stands in old lists."""
    a = {"attribute_name": "a", "read": True, "insert": False, "update": False, "delete": False}
    old = {"data": {"T": {"read": True, "attribute_permissions": [a]}}}
    assert read_role("r", old) == read_role("r", attributes({"a": {"read": True}}))


def test_a_table_may_be_called_tables() -> None:
    role = read_role("r", {"data": {"tables": {"read": True}}})
    assert role.rights("data", "tables") == READ


def attributes(listed: object) -> dict[str, object]:
    return {"data": {"T": {"read": True, "attributes": listed}}}


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
        (
            {"data": {"T": {"attributes": {"a": {"read": True}}}}},
            "read of a needs read of the table",
        ),
        ({"permission": {}, "data": {}}, "data: stands beside permission"),
        ({"data": {"tables": {"T": {}}, "U": {}}}, "data.U: stands beside tables"),
        (attributes({"a": True}), "data.T.attributes.a: must be a mapping, not bool"),
        (attributes({"a": {"see": True}}), "'see' is no right on an attribute; those are read"),
        (attributes({"a": {"delete": True}}), "delete is a right on whole records"),
        (attributes({"b": {"update": True}, "a": {"update": True}}), "update of a, b needs update"),
        (attributes([{"read": True}]), "data.T.attributes[0]: attribute_name must be a name"),
        (attributes([{"attribute_name": "a"}] * 2), "data.T.attributes: 'a' is listed twice"),
        (
            {"data": {"T": {"attributes": {}, "attribute_permissions": []}}},
            "takes one of attributes and attribute_permissions, not both",
        ),
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


def table_rights(flags: list[bool], listed: dict[str, list[bool]]) -> TableRights:
    """Rights that may be: no attribute has more than its table."""
    return TableRights(
        *flags,
        attributes={
            name: AttributeRights(
                *(one and of_table for one, of_table in zip(given, flags[:3], strict=True))
            )
            for name, given in listed.items()
        },
    )


def flags(count: int) -> st.SearchStrategy[list[bool]]:
    return st.lists(st.booleans(), min_size=count, max_size=count)


listings = st.dictionaries(st.sampled_from(["*", "a", "delete", "read"]), flags(3))
rights_of_tables = st.builds(table_rights, flags(4), listings)
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


def test_a_star_is_each_declared_attribute_without_a_line_of_its_own() -> None:
    role = read_role("r", attributes({"*": {"read": True}, "secret": {}}))
    rights = role.rights("data", "T")
    assert rights.allowed("read", ("id", "a", "secret")) == frozenset(("id", "a"))
    assert rights.allowed("update", ("id", "a")) == frozenset()
    assert READ.allowed("read", ("id",)) is None
