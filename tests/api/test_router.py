import pytest
from hypothesis import given
from hypothesis import strategies as st

from kissvdb.api.frame.router import Beginning, Router
from kissvdb.api.reading.query import parse_query, parse_u64, percent_decode
from kissvdb.errors import InvalidArgument, MethodNotAllowed, NotFound

ROUTER = Router(
    [
        ("GET", "/state", "list"),
        ("POST", "/state/batch", "batch"),
        ("GET", "/state/{key...}", "get"),
        ("PUT", "/state/{key...}", "put"),
        ("GET", "/vector/{c}", "detail"),
        ("POST", "/vector/{c}/add", "add"),
        ("GET", "/doc/{c}/{id...}", "doc"),
    ]
)


@pytest.mark.parametrize(
    ("path", "key"),
    [
        ("a", "a"),
        ("a/b", "a/b"),
        ("a%2Fb", "a/b"),
        ("a%2fb", "a/b"),
        ("a//b/", "a//b/"),
        ("/a", "/a"),
        ("a+b", "a+b"),
        ("a%20b", "a b"),
        ("%25", "%"),
        ("%2525", "%25"),
        ("%C3%A9", "é"),
        ("é".encode().decode("latin-1"), "é"),
        ("%F0%9F%A6%8B", "🦋"),
        ("a:b;c=d,e", "a:b;c=d,e"),
        ("..%2F..", "../.."),
        ("batch", "batch"),
        ("", ""),
    ],
)
def test_every_way_to_write_a_key_reaches_it(path, key):
    assert ROUTER.find("GET", f"/state/{path}") == ("get", {"key": key})


@pytest.mark.parametrize("path", ["%", "a%", "%4", "%zz", "%+1", "%FF", "%C3", "%ED%A0%80", "é"])
def test_what_is_not_percent_encoded_utf8_is_refused_by_name(path):
    with pytest.raises(InvalidArgument, match=r"^key: "):
        ROUTER.find("GET", f"/state/{path}")


def test_a_fixed_path_wins_for_its_method_only():
    assert ROUTER.find("POST", "/state/batch") == ("batch", {})
    assert ROUTER.find("PUT", "/state/batch") == ("put", {"key": "batch"})


def test_parameters_in_the_middle_are_one_segment():
    assert ROUTER.find("GET", "/vector/a%2Fb") == ("detail", {"c": "a/b"})
    assert ROUTER.find("POST", "/vector/docs/add") == ("add", {"c": "docs"})
    assert ROUTER.find("GET", "/doc/c%20d/x/y") == ("doc", {"c": "c d", "id": "x/y"})
    with pytest.raises(NotFound):
        ROUTER.find("GET", "/vector/a/b/c")


def test_get_serves_head():
    assert ROUTER.find("HEAD", "/state/a") == ROUTER.find("GET", "/state/a")


@pytest.mark.parametrize("path", ["", "/", "/stat", "/states", "//state", "/STATE/a", "*"])
def test_other_paths_are_not_found(path):
    with pytest.raises(NotFound):
        ROUTER.find("GET", path)


def test_a_wrong_method_says_which_are_right():
    with pytest.raises(MethodNotAllowed) as refusal:
        ROUTER.find("PATCH", "/state/a")
    assert refusal.value.allowed == ("GET", "HEAD", "PUT", "OPTIONS")
    assert ROUTER.allowed("/state/batch") == ("GET", "HEAD", "POST", "PUT", "OPTIONS")
    assert ROUTER.allowed("/nowhere") == ()


def test_the_same_route_twice_is_a_bug():
    with pytest.raises(AssertionError, match="two routes"):
        Router([("GET", "/a", 1), ("GET", "/a", 2)])


@given(st.text(min_size=1, alphabet=st.characters(exclude_categories=["Cs"])))
def test_any_text_survives_percent_encoding(text):
    encoded = "".join(f"%{byte:02X}" for byte in text.encode())
    assert percent_decode(encoded, "key") == text


def test_a_plus_is_a_space_in_a_query_only():
    assert parse_query("a=1+2%2B3&b=&c&=x&a%20b=%C3%A9&&a=last") == {
        "a": "last",
        "b": "",
        "c": "",
        "a b": "é",
    }
    assert parse_query("") == {}


@pytest.mark.parametrize("query", ["a=%", "a=%ff", "%zz=1"])
def test_a_malformed_query_is_refused(query):
    with pytest.raises(InvalidArgument, match="query"):
        parse_query(query)


def test_u64_is_plain_digits_of_at_most_64_bits():
    assert parse_u64("0") == 0
    assert parse_u64("18446744073709551615") == 2**64 - 1
    for text in ("", "-1", "+1", "1.0", "1e3", " 1", "18446744073709551616", "١", "²", "1" * 5000):
        assert parse_u64(text) is None, text


def test_the_beginning_of_a_path_tells_which_others_mean_the_same():
    router = Router(
        [
            ("GET", "/k/{key...}", 1),
            ("GET", "/k/fixed", 2),
            ("PUT", "/k/{key...}", 3),
            ("GET", "/c/{name}/rows", 4),
            ("GET", "/d/{key...}", 5),
            ("GET", "/d/{name}/part", 6),
        ]
    )
    assert router.beginning("GET", "/k/a/b") == Beginning("/k/", "key", frozenset({b"fixed"}))
    assert router.beginning("PUT", "/k/fixed") == Beginning("/k/", "key")
    assert router.beginning("GET", "/k/fixed") == Beginning("/k/fixed")
    assert router.beginning("GET", "/c/x/rows") is None
    assert router.beginning("GET", "/d/x") is None
    assert router.beginning("GET", "/nowhere") is None
