"""One table reads files, variables and flags; what is wrong is named with what is right."""

from __future__ import annotations

from pathlib import Path

import pytest

from lyredb.errors import SettingError
from lyredb.plugins.settings import OFF, Setting
from lyredb.server.core_settings import CORE_SETTINGS, open_topics, storage_settings
from lyredb.server.settings import SettingsTable
from lyredb.storage.settings import StorageSettings

PORT = Setting("mqtt.network.port", 1883, "port", "The port.", option="--mqtt-port")
ROWS = (
    PORT,
    Setting("http.maxBodySize", 1_000_000, "size", "The size.", minimum=1),
    Setting("http.keepAliveTimeout", 30.0, "duration", "The time.", minimum=0.1),
    Setting("mqtt.requireAuthentication", True, "flag", "The flag."),
    Setting("mqtt.openTopics", "auto", "choice", "The choice.", choices=("auto", "true", "false")),
)


@pytest.fixture
def table() -> SettingsTable:
    return SettingsTable(ROWS)


def yaml_file(folder: Path, text: str, name: str = "config.yaml") -> Path:
    file = folder / name
    file.write_text(text, encoding="utf-8")
    return file


def assert_refused(table: SettingsTable, file: Path, key: str, *phrases: str) -> None:
    with pytest.raises(SettingError) as caught:
        table.load(files=[file])
    assert caught.value.key == key
    for phrase in phrases:
        assert phrase in str(caught.value)


def test_a_later_layer_wins(table: SettingsTable, tmp_path: Path) -> None:
    """Defaults < first file < second file < environment < flags."""
    first = yaml_file(tmp_path, "mqtt: {network: {port: 1}}", "a.yaml")
    second = yaml_file(tmp_path, "mqtt.network.port: 2", "b.yaml")
    variables = {"LYREDB_MQTT_NETWORK_PORT": "3"}

    def port(**layers: object) -> int:
        return table.load(**layers).integer("mqtt.network.port")  # type: ignore[arg-type]  # kwargs

    assert port() == 1883
    assert port(files=[first]) == 1
    assert port(files=[first, second]) == 2
    assert port(files=[first, second], environment=variables) == 3
    assert port(files=[first], environment=variables, flags={"--mqtt-port": 4}) == 4


SECURE = Setting("http.securePort", OFF, "port", "The port.", minimum=OFF)


@pytest.mark.parametrize("written", ["off", "'off'", "OFF", "false", "-1"])
def test_a_port_may_be_off_where_its_row_says_so(tmp_path: Path, written: str) -> None:
    """YAML reads a bare `off` as false."""
    file = yaml_file(tmp_path, f"http.securePort: {written}")
    assert SettingsTable([SECURE]).load(files=[file]).integer("http.securePort") == OFF


@pytest.mark.parametrize("written", ["off", "-1", "65536", "true"])
def test_other_ports_are_numbers(tmp_path: Path, written: str) -> None:
    file = yaml_file(tmp_path, f"mqtt.network.port: {written}")
    assert_refused(SettingsTable([PORT]), file, "mqtt.network.port", "0 to 65535")


def test_a_flag_that_was_not_given_changes_nothing(table: SettingsTable) -> None:
    settings = table.load(flags={"--mqtt-port": None})
    assert settings.integer("mqtt.network.port") == 1883


def test_nested_and_dotted_names_are_the_same(table: SettingsTable, tmp_path: Path) -> None:
    nested = yaml_file(tmp_path, "http:\n  maxBodySize: 5kB\n  keepAliveTimeout: 2m\n", "a.yaml")
    dotted = yaml_file(tmp_path, "http.maxBodySize: 5kB\nhttp:\n  keepAliveTimeout: 2m\n", "b.yaml")
    for file in (nested, dotted):
        settings = table.load(files=[file])
        assert settings.integer("http.maxBodySize") == 5000
        assert settings.seconds("http.keepAliveTimeout") == 120.0


def test_an_unknown_name_is_refused_with_a_near_miss(table: SettingsTable, tmp_path: Path) -> None:
    file = yaml_file(tmp_path, "http:\n  maxbodysiz: 1\n")
    assert_refused(table, file, "http.maxbodysiz", "config.yaml", "did you mean http.maxBodySize?")


def test_an_unknown_name_like_nothing_known_gets_no_hint(
    table: SettingsTable, tmp_path: Path
) -> None:
    with pytest.raises(SettingError) as caught:
        table.load(files=[yaml_file(tmp_path, "graphqlSchema: 1")])
    assert "did you mean" not in str(caught.value)


@pytest.mark.parametrize("written", ["5", "[1]", "text", "true"])
def test_a_group_that_is_given_a_value_names_its_settings(
    table: SettingsTable, tmp_path: Path, written: str
) -> None:
    file = yaml_file(tmp_path, f"http: {written}")
    assert_refused(
        table, file, "http", "a group of settings", "http.maxBodySize, http.keepAliveTimeout"
    )


def test_a_value_that_is_not_allowed_names_key_source_and_what_is(
    table: SettingsTable, tmp_path: Path
) -> None:
    file = yaml_file(tmp_path, "http.keepAliveTimeout: soon")
    assert_refused(
        table, file, "http.keepAliveTimeout", "'soon' in config.yaml", "a duration such as"
    )


def test_a_wrong_variable_is_named_with_its_variable(table: SettingsTable) -> None:
    with pytest.raises(SettingError, match="'x' in LYREDB_MQTT_NETWORK_PORT; allowed: 0 to 65535"):
        table.load(environment={"LYREDB_MQTT_NETWORK_PORT": "x"})


def test_an_unknown_variable_is_refused_with_a_near_miss(table: SettingsTable) -> None:
    with pytest.raises(SettingError, match=r"did you mean LYREDB_MQTT_NETWORK_PORT\?"):
        table.load(environment={"LYREDB_MQTT_NETWORKPORT": "1"})


@pytest.mark.parametrize(
    "variable",
    ["HTTP_PORT", "LYREDB_PORT", "LYREDB_PORT_9926_TCP", "LYREDB_SERVICE_HOST", "LYREDB_COMPILE"],
)
def test_variables_of_other_makers_are_ignored(table: SettingsTable, variable: str) -> None:
    """Kubernetes sets LYREDB_PORT and the like beside a service called `lyredb`."""
    table.load(environment={variable: "tcp://10.0.0.1:9926"})


def test_the_text_false_switches_a_flag_off(table: SettingsTable) -> None:
    settings = table.load(environment={"LYREDB_MQTT_REQUIRE_AUTHENTICATION": "false"})
    assert settings.flag("mqtt.requireAuthentication") is False


@pytest.mark.parametrize("written", ["true", '"true"', "yes"])
def test_a_choice_may_be_written_as_a_yaml_boolean(
    table: SettingsTable, tmp_path: Path, written: str
) -> None:
    settings = table.load(files=[yaml_file(tmp_path, f"mqtt.openTopics: {written}")])
    assert settings.text("mqtt.openTopics") == "true"


@pytest.mark.parametrize(
    ("text", "phrase"),
    [
        ("- 1\n- 2\n", "must be a mapping"),
        ("a: [", "expected"),
        ("http.maxBodySize: 1\nhttp.maxBodySize: 2\n", "http.maxBodySize is set twice"),
        ("? [a, b]\n: 1\n", "a name must be text"),
        ("? {a: b}\n: 1\n", "a name must be text"),
        ("http: 2024-13-45\n", "month must be in 1..12"),
        ("http: &a {b: *a}\n", "recursive"),
        (f"a: {'[' * 3000}{']' * 3000}\n", "nested too deeply"),
    ],
)
def test_a_file_that_is_no_mapping_of_names_is_refused(
    table: SettingsTable, tmp_path: Path, text: str, phrase: str
) -> None:
    assert_refused(table, yaml_file(tmp_path, text), "config.yaml", phrase)


def test_a_name_set_nested_and_dotted_is_refused(table: SettingsTable, tmp_path: Path) -> None:
    """Which of the two would win is nobody's to guess."""
    file = yaml_file(tmp_path, "http.maxBodySize: 1\nhttp:\n  maxBodySize: 2\n")
    assert_refused(table, file, "http.maxBodySize", "set twice")


def test_a_file_that_is_missing_is_an_error(table: SettingsTable, tmp_path: Path) -> None:
    with pytest.raises(SettingError, match="cannot be read"):
        table.load(files=[tmp_path / "none.yaml"])


def test_an_empty_file_and_an_empty_section_set_nothing(
    table: SettingsTable, tmp_path: Path
) -> None:
    for text in ("", "mqtt:\n", "# only a comment\n"):
        settings = table.load(files=[yaml_file(tmp_path, text)])
        assert settings.integer("mqtt.network.port") == 1883


def test_two_rows_may_not_share_a_name() -> None:
    with pytest.raises(SettingError, match="declared twice"):
        SettingsTable([*ROWS, PORT, Setting("mqtt.network.port", 1, "port", "Again.")])


def test_a_wrong_administrators_password_is_not_printed() -> None:
    table = SettingsTable(CORE_SETTINGS)
    with pytest.raises(SettingError) as caught:
        table.load(flags={"admin.password": 4711})
    assert "4711" not in str(caught.value)
    settings = table.load(environment={"LYREDB_ADMIN_PASSWORD": "secret"})
    assert "secret" not in repr(settings)


def test_every_default_is_an_allowed_value() -> None:
    for row in CORE_SETTINGS:
        assert row.parse(row.default) == row.default, row.name


def test_the_engine_gets_the_settings_as_written(tmp_path: Path) -> None:
    table = SettingsTable(CORE_SETTINGS)
    assert storage_settings(table.load()) == StorageSettings()
    text = "storage:\n  minFree: 1GB\n  logRetention: 1h\n  segmentSize: 8MiB\n"
    changed = storage_settings(table.load(files=[yaml_file(tmp_path, text)]))
    assert changed.min_free_bytes == 10**9
    assert changed.retention_age_s == 3600.0
    assert changed.segment_bytes == 8 * 1024**2


@pytest.mark.parametrize(("text", "expected"), [("auto", None), ("true", True), ("false", False)])
def test_open_topics_follow_the_schema_unless_told(text: str, expected: bool | None) -> None:
    settings = SettingsTable(CORE_SETTINGS).load(flags={"mqtt.openTopics": text})
    assert open_topics(settings) is expected
