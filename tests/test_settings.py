"""Settings: sources of values, and refusals with their messages."""

from collections.abc import Iterator, Mapping
from typing import Any

import pytest

from amoc_gevent import settings
from amoc_gevent.core.setting import ALLOWED_MAX
from amoc_gevent.errors import UsageError
from amoc_gevent.settings import Setting, declare, registry

NOTHING: Mapping[str, str] = {}


@pytest.fixture(autouse=True)
def _no_settings() -> Iterator[None]:
    registry.reset()
    yield
    registry.reset()


def refused(given: Mapping[str, str], environ: Mapping[str, str] = NOTHING) -> str:
    """Return the error message for these values, which is one line."""
    with pytest.raises(UsageError) as caught:
        registry.configure(given, environ)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize(
    ("given", "environ", "value", "source"),
    [
        ({"size": "3"}, {"AMOC_SIZE": "2"}, 3, "--set"),
        ({}, {"AMOC_SIZE": "2"}, 2, "environment variable AMOC_SIZE"),
        ({}, {"SIZE": "2", "size": "2", "AMOC_size": "2"}, 1, "default"),
    ],
)
def test_a_given_value_wins_over_the_environment_and_that_over_the_default(
    given: Mapping[str, str], environ: Mapping[str, str], value: int, source: str
) -> None:
    size = declare("size", 1, "how many")
    registry.configure(given, environ)
    assert (size.value, size.source) == (value, source)


@pytest.mark.parametrize(
    ("default", "text", "value"),
    [
        ("a", "5", "5"),
        (1, "5", 5),
        (1.0, "5", 5.0),
        (False, "yes", True),
        (True, "Off", False),
        (True, "0", False),
    ],
)
def test_a_setting_has_the_type_of_its_default(default: Any, text: str, value: Any) -> None:
    setting = declare("it", default, "a setting")
    registry.configure({"it": text}, NOTHING)
    assert setting.value == value
    assert type(setting.value) is type(default)


def test_bool_by_name_reads_false_as_false() -> None:
    flag = declare("flag", "true", "a flag", type=bool)
    registry.configure({"flag": "false"}, NOTHING)
    assert flag.value is False


def test_a_type_may_be_any_function_and_converts_a_text_default_too() -> None:
    pause = declare("pause", "1m30s", "think time", type=settings.duration)
    load = declare("load", "60/min", "orders", type=settings.rate)
    hosts = declare("hosts", "a,b", "hosts", type=lambda text: text.split(","))
    registry.configure({"hosts": "c"}, NOTHING)
    assert (pause.value, load.value, hosts.value) == (90.0, 1.0, ["c"])


def test_a_default_may_be_none() -> None:
    token = declare("token", None, "a token", type=str, verify=lambda text: len(text) == 8)
    registry.configure(NOTHING, NOTHING)
    assert token.value is None


@pytest.mark.parametrize(
    ("default", "text", "says"),
    [
        (1, "x", "setting it: 'x' (--set) is not a whole number"),
        (1.0, "nan", "setting it: 'nan' (--set) is not a number"),
        (1.0, "1,5", "setting it: '1,5' (--set) is not a number"),
        (True, "maybe", "setting it: 'maybe' (--set) is neither true nor false"),
    ],
)
def test_the_error_names_the_invalid_value_and_what_is_right(
    default: Any, text: str, says: str
) -> None:
    declare("it", default, "a setting")
    assert refused({"it": text}).startswith(says)


def test_the_error_names_the_environment_variable() -> None:
    declare("size", 1, "how many")
    assert refused({}, {"AMOC_SIZE": "big"}) == (
        "setting size: 'big' (environment variable AMOC_SIZE) is not a whole number"
    )


def test_the_error_for_a_duration_names_the_valid_forms() -> None:
    declare("pause", "1s", "think time", type=settings.duration)
    assert "500ms, 30s, 5m" in refused({"pause": "soon"})


def test_the_error_for_an_unknown_name_suggests_one_and_lists_all() -> None:
    declare("url", "a", "the service")
    declare("think_time", 1, "pause")
    says = refused({"think_tme": "3"})
    assert "did you mean think_time?" in says
    assert "url, think_time" in says


def test_no_value_changes_if_one_is_invalid() -> None:
    first = declare("first", 1, "one")
    declare("second", 2, "two")
    registry.configure(NOTHING, NOTHING)
    refused({"first": "5", "second": "x"})
    assert first.value == 1


def test_the_error_says_if_a_scenario_declares_no_settings() -> None:
    assert "declares none" in refused({"url": "x"})


def test_unknown_environment_variables_are_ignored() -> None:
    declare("size", 1, "how many")
    registry.configure(NOTHING, {"AMOC_HOME": "/tmp/x", "AMOC_OTHER": "1"})


def test_reading_a_value_at_import_is_an_error_that_says_where_to_read_it() -> None:
    size = declare("size", 1, "how many")
    with pytest.raises(UsageError, match=r"size\.value inside init or start"):
        _ = size.value


def test_a_setting_is_found_by_name_and_an_undeclared_one_is_an_error() -> None:
    size = declare("size", 1, "how many")
    assert settings.get("size") is size
    with pytest.raises(UsageError, match="no setting sise, did you mean size"):
        settings.get("sise")


@pytest.mark.parametrize("verify", [["a", "b"], ("a", "b"), {"a", "b"}])
def test_only_listed_values_are_allowed(verify: Any) -> None:
    mode = declare("mode", "a", "which", verify=verify)
    assert refused({"mode": "c"}) == "setting mode: 'c' (--set): allowed are a, b"
    registry.configure({"mode": "b"}, NOTHING)
    assert mode.value == "b"


@pytest.mark.parametrize(
    ("verdict", "says"),
    [
        (False, "setting size: 7 (--set): not allowed; it is how many"),
        ((False, "too big"), "setting size: 7 (--set): too big"),
    ],
)
def test_a_verify_function_refuses_with_its_reason(verdict: Any, says: str) -> None:
    declare("size", 1, "how many", verify=lambda value: verdict if value == 7 else True)
    assert refused({"size": "7"}) == says


def test_a_verify_function_may_replace_the_value() -> None:
    size = declare("size", 1, "how many", verify=lambda value: (True, min(value, 10)))
    registry.configure({"size": "99"}, NOTHING)
    assert size.value == 10


@pytest.mark.parametrize("function", ["type", "verify"])
def test_an_exception_of_type_or_verify_refuses_the_value(function: str) -> None:
    def broken(_: Any) -> Any:
        raise KeyError("oops")

    if function == "type":
        declare("size", 1, "how many", type=broken)
    else:
        declare("size", 1, "how many", verify=broken)
    assert refused({"size": "1"}) == (
        "setting size: '1' (--set): KeyError: 'oops'"
        if function == "type"
        else "setting size: 1 (--set): KeyError: 'oops'"
    )


def test_a_default_is_verified_too() -> None:
    declare("size", 0, "how many", verify=lambda value: value > 0)
    assert refused({}).startswith("setting size: 0 (default)")


def test_only_settings_with_update_change_during_a_run() -> None:
    pause = declare("pause", 1.0, "think time", update=True)
    declare("url", "a", "the service")
    registry.configure(NOTHING, NOTHING)
    registry.update("pause", "2.5")
    assert (pause.value, pause.source) == (2.5, "set")
    with pytest.raises(UsageError, match="url cannot be changed during a run; these can: pause"):
        registry.update("url", "b")


def test_a_changed_value_is_verified_like_a_given_one() -> None:
    size = declare("size", 1, "how many", verify=[1, 2], update=True)
    registry.configure(NOTHING, NOTHING)
    with pytest.raises(UsageError, match="allowed are 1, 2"):
        registry.update("size", "3")
    assert size.value == 1


def test_an_update_function_receives_the_old_and_the_new_value() -> None:
    calls: list[tuple[int, int]] = []
    size = declare("size", 1, "how many", update=lambda old, new: calls.append((old, new)))
    registry.configure(NOTHING, NOTHING)
    registry.update("size", "3")
    assert (size.value, calls) == (3, [(1, 3)])


@pytest.mark.parametrize(
    ("error", "says"),
    [(ValueError("only upwards"), "only upwards"), (KeyError("x"), "KeyError: 'x'")],
)
def test_an_update_function_may_refuse_and_the_value_stays(error: Exception, says: str) -> None:
    def refuse(_old: int, _new: int) -> None:
        raise error

    size = declare("size", 5, "how many", update=refuse)
    registry.configure(NOTHING, NOTHING)
    with pytest.raises(UsageError, match=says):
        registry.update("size", "3")
    assert size.value == 5


@pytest.mark.parametrize("name", ["Url", "my-url", "2nd", "", "a b", "_hidden"])
def test_a_name_must_fit_an_environment_variable(name: str) -> None:
    with pytest.raises(UsageError, match="small letters"):
        declare(name, 1, "a setting")


@pytest.mark.parametrize("name", ["home", "user_rate"])
def test_a_reserved_name_is_refused(name: str) -> None:
    with pytest.raises(UsageError, match="belongs to the run"):
        declare(name, "x", "a setting")


def test_a_default_without_a_known_type_asks_for_one() -> None:
    with pytest.raises(UsageError, match="default is a list; give type="):
        declare("hosts", ["a"], "hosts")


def test_an_invalid_text_default_is_an_error_at_once() -> None:
    with pytest.raises(UsageError, match="setting pause: its default"):
        declare("pause", "soon", "think time", type=settings.duration)


def test_equal_declarations_of_one_name_are_allowed() -> None:
    first = declare("url", "a", "the service")
    assert declare("url", "a", "the service") is first
    with pytest.raises(UsageError, match="has two different declarations"):
        declare("url", "b", "the service")


def test_a_declaration_after_the_start_of_the_run_is_an_error() -> None:
    registry.configure(NOTHING, NOTHING)
    with pytest.raises(UsageError, match="top level"):
        declare("late", 1, "too late")


def test_a_description_is_complete() -> None:
    declare("mode", "a", "which", verify={"b", "a"}, unit="kind", update=True)
    declare("pause", "1m30s", "think time", type=settings.duration)
    declare("load", "90/min", "orders", type=settings.rate)
    declare("big", 1234567.5, "a number")
    mode, pause, load, big = registry.described()
    assert (mode.name, mode.default, mode.unit, mode.type) == ("mode", "a", "kind", "str")
    assert (mode.allowed, mode.update, mode.value) == (("a", "b"), True, None)
    assert (pause.default, pause.type, pause.update) == ("1m30s", "duration", False)
    assert (load.default, load.type) == ("1.5/s", "rate")
    assert (big.default, big.type) == ("1234567.5", "float")
    registry.configure({"mode": "b"}, NOTHING)
    assert (registry.described()[0].value, registry.described()[0].source) == ("b", "--set")


@pytest.mark.parametrize("seconds", ["0", "0.0005", "12.345", "90", "86400", "1.5"])
def test_a_described_duration_can_be_parsed_again(seconds: str) -> None:
    pause: Setting[float] = declare("pause", seconds, "think time", type=settings.duration)
    assert settings.duration(registry.described()[0].default) == pause.default


def test_a_text_default_of_a_custom_type_is_described_as_written() -> None:
    declare("mix", "b=1,a=2", "shares", type=lambda text: set(text.split(",")))
    declare("word", "", "any", type=lambda text: [text])
    mix, word = registry.described()
    assert (mix.default, word.default) == ("b=1,a=2", "['']")


def test_a_set_is_described_in_sorted_order() -> None:
    letters = frozenset("hgfedcba")
    declare("letters", letters, "some", type=frozenset)
    assert registry.described()[0].default == "{'a', 'b', 'c', 'd', 'e', 'f', 'g', 'h'}"


def test_many_allowed_values_are_listed_in_part() -> None:
    port = declare("port", 80, "where", verify=range(1, 10**9))
    declare("some", 1, "which", verify={*range(1000)})
    ports, some = registry.described()
    assert ports.allowed[:2] == ("1", "2")
    assert ports.allowed[-2:] == ("...", "999999999")
    assert some.allowed[-1] == "..."
    assert max(len(ports.allowed), len(some.allowed)) <= ALLOWED_MAX
    with pytest.raises(UsageError, match=r"allowed are 1, 2, .*, \.\.\., 999999999$"):
        registry.configure({"port": "0"}, NOTHING)
    registry.configure({"port": "5000"}, NOTHING)
    assert port.value == 5000
