"""What ``lyredb pub`` and ``lyredb sub`` refuse before they connect."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from lyredb.cli import pub, sub
from lyredb.errors import InvalidInput

NOWHERE = ("-h", "127.0.0.1", "-p", "1", "-t", "a")
"""A port where nobody listens: whatever passes the checks cannot connect."""
LONG = "x" * 65_536
BROKEN = "a\udcff"
"""As Python has an argument whose last byte is 0xff."""


def refusal_of_pub(*flags: str) -> str:
    with pytest.raises(InvalidInput) as refused:
        pub.publish([*NOWHERE, "-m", "x", *flags])
    return str(refused.value)


def refusal_of_sub(*flags: str) -> str:
    with pytest.raises(InvalidInput) as refused:
        sub.subscribe([*NOWHERE, *flags])
    return str(refused.value)


BOTH = [
    (("-k", "70000"), "-k takes 5 to 65535 seconds, or 0 for none, not 70000"),
    (("-k", "-1"), "-k takes 5 to 65535 seconds, or 0 for none, not -1"),
    (("-k", "4"), "-k takes 5 to 65535 seconds, or 0 for none, not 4"),
    (("-p", "70000"), "-p takes 1 to 65535, not 70000"),
    (("-p", "0"), "-p takes 1 to 65535, not 0"),
    (("-L", "mqtt://host:70000/t"), "the URL cannot be read: "),
    (("-L", "mqtt://host/t%00"), "what -t says must not have a null character"),
    (("-P", "secret"), "a password needs a user name: -u"),
    (("-u", BROKEN), "what -u says must be UTF-8"),
    (("-i", BROKEN), "what -i says must be UTF-8"),
    (("-t", BROKEN), "what -t says must be UTF-8"),
    (("-u", LONG), "what -u says is too long, 65535 bytes are the most"),
    (("-u", "a", "-P", LONG), "what -P says is too long, 65535 bytes are the most"),
    (("--will-topic", "x/#"), "Invalid will topic 'x/#': it must not be empty, nor have + or #"),
    (("--will-topic", ""), "Invalid will topic '': "),
    (("--will-payload", "x"), "a will needs a topic: --will-topic"),
    (("--will-retain",), "a will needs a topic: --will-topic"),
    (("--will-topic", "w", "--will-payload", LONG), "what --will-payload says is too long"),
    (("-D", "publish", "nonsense", "a"), "-D publish nonsense a: there is no property nonsense"),
    (("-D", "publish", "will-delay-interval", "1"), "-D publish will-delay-interval 1: it has no"),
    (("-D", "nothing", "content-type", "a"), "-D takes connect, publish, subscribe, "),
    (("-D", "will", "content-type", "a"), "-D will needs --will-topic"),
    (("-D", "subscribe", "retain-handling", "2"), "-D subscribe retain-handling 2: there is no"),
    (("-D", "subscribe", "subscription-identifier", "0"), "-D subscribe subscription-identifier 0"),
    (("-D", "subscribe", "subscription-identifier", "x"), "-D subscribe subscription-identifier x"),
    (("-D", "subscribe", "user-property", "a"), "-D subscribe user-property a: a user property"),
    (("-D", "unsubscribe", "user-property", "a"), "-D unsubscribe user-property a: a user prop"),
    (("-D", "disconnect", "session-expiry-interval", "-1"), "-D disconnect session-expiry-inter"),
    (("-D", "publish", "message-expiry-interval", "-1"), "-D publish message-expiry-interval -1"),
    (("-D", "publish", "content-type", LONG), "-D publish content-type xxx"),
    (("-D", "publish", "content-type", BROKEN), "-D publish content-type a\ufffd: it must be UTF"),
    (("-x", "soon"), "-x takes seconds, or -1 for ever, not 'soon'"),
]


@pytest.mark.parametrize(("flags", "sentence"), BOTH)
def test_what_no_packet_can_have_is_refused_at_the_start(
    flags: Sequence[str], sentence: str
) -> None:
    """With a sentence, though nobody listens: an error in a thread of its own would hang."""
    assert refusal_of_pub(*flags).startswith(sentence)
    assert refusal_of_sub(*flags).startswith(sentence)


def test_a_number_too_large_is_refused_with_the_largest_one() -> None:
    told = refusal_of_pub("-D", "publish", "message-expiry-interval", "4294967296")
    assert told.endswith(": the value must be a number, at most 4294967295")


@pytest.mark.parametrize(
    ("flags", "sentence"),
    [
        (("-M", "-5"), "-M takes 1 to 65535, not -5"),
        (("-M", "0"), "-M takes 1 to 65535, not 0"),
        (("--repeat", "0"), "--repeat takes 1 or more, not 0"),
        (("--repeat", "-3"), "--repeat takes 1 or more, not -3"),
        (("--repeat-delay", "-1"), "--repeat-delay takes 0 or more, not -1.0"),
        (("--repeat-delay", "nan"), "--repeat-delay takes 0 or more, not nan"),
    ],
)
def test_numbers_of_pub_have_bounds(flags: Sequence[str], sentence: str) -> None:
    assert refusal_of_pub(*flags) == sentence


@pytest.mark.parametrize(
    ("flags", "sentence"),
    [
        (("-C", "0"), "-C takes 1 or more, not 0"),
        (("-C", "-1"), "-C takes 1 or more, not -1"),
        (("-W", "0"), "-W takes seconds, more than 0, not 0"),
        (("-W", "-1"), "-W takes seconds, more than 0, not -1"),
        (("-W", "1e30"), "-W takes seconds, more than 0, not 1e+30"),
        (("--random-filter", "200"), "--random-filter takes 0.1 to 100, not 200.0"),
        (("--random-filter", "0"), "--random-filter takes 0.1 to 100, not 0.0"),
        (("-T", BROKEN), "what -T says must be UTF-8"),
        (("-U", BROKEN), "what -U says must be UTF-8"),
    ],
)
def test_numbers_and_filters_of_sub_have_bounds(flags: Sequence[str], sentence: str) -> None:
    assert refusal_of_sub(*flags) == sentence


@pytest.mark.parametrize(
    "flags",
    [
        ("-k", "0"),
        ("-k", "5"),
        ("-k", "65535"),
        ("-u", "a", "-P", BROKEN),
        ("--will-topic", "w", "--will-payload", BROKEN, "--will-retain"),
        ("-D", "subscribe", "subscription-identifier", "268435455"),
        ("-D", "publish", "message-expiry-interval", "4294967295"),
        ("-D", "publish", "correlation-data", BROKEN),
        ("-D", "publish", "content-type", "7"),
    ],
)
def test_what_a_packet_can_have_is_not_refused(flags: Sequence[str]) -> None:
    """It connects, so it says that it cannot connect."""
    assert refusal_of_pub(*flags).startswith("cannot connect to 127.0.0.1:1: ")
    assert refusal_of_sub(*flags).startswith("cannot connect to 127.0.0.1:1: ")
