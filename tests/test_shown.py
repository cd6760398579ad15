import pytest

from hpa_cells.shown import printable, redacted, redacted_settings, shown

SECRETS = ("sec", "pw", "tok", "sig", "abc")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("s3://key:sec/r+et@bucket/run", "s3://***@bucket/run"),
        ("https://user:p(w@host:8080/a b", "https://***@host:8080/a b"),
        ("https://tok@host/a.git", "https://***@host/a.git"),
        ("sftp://:pw@host/a", "sftp://***@host/a"),
        ("HTTPS://host/f.png?X-Amz-Signature=sig&x=1", "HTTPS://host/f.png?***"),
        ("https://user:pw@host/f?sas=sig", "https://***@host/f?***"),
        ("Address(url='https://host/f?sig=abc'), gone", "Address(url='https://host/f?***'), gone"),
        ("https://host/f?sig=abc: s3://key:sec@b/f.", "https://host/f?***: s3://***@b/f."),
        ("s3:/key:sec@bucket/run", "s3:/***@bucket/run"),
        ("s3://key:123/sec@bucket/run", "s3://***@bucket/run"),
        ("https://me@site.org:pw@host/x", "https://***@host/x"),
        ("https://host/f.png,s3://k:sec@b,gs://u:pw@b/f", "https://host/f.png,s3://***@b,gs://***@b/f"),
        ("404, url=URL('https://user:pw@host/f')", "404, url=URL('https://***@host/f')"),
    ],
)
def test_secrets_in_addresses_are_hidden(text: str, expected: str) -> None:
    assert redacted(text) == expected == redacted(expected)
    assert not [each for each in SECRETS if each in expected]


@pytest.mark.parametrize(
    "text",
    [
        *("s3://bucket/run", "s3://bucket/a:b@c/f.png", "http://127.0.0.1:9000/a@b", "http://host:80"),
        *("abfs://container@account.dfs.core.windows.net/run", "az://container@account/run"),
        *("/data/a?b=c", "C:/runs/key:secret@x", "is it s3://bucket/run? See", "", "grün"),
    ],
)
def test_all_else_stays(text: str) -> None:
    assert redacted(text) == text


@pytest.mark.parametrize("text", ["://", "://a", "a:/", "a://?", "ab://@", "a" * 30, "x:y@"])
def test_long_texts_of_strangers_take_no_longer_than_they_are(text: str) -> None:
    """Of what takes the square of its length, this would not end."""
    redacted(text * 100_000)


def test_settings_of_any_depth() -> None:
    settings = {"a": ["s3://k:sec@b", 1, None], "b": {"c": "https://h/f?sig=abc", "d": True}}
    assert redacted_settings(settings) == {
        "a": ["s3://***@b", 1, None],
        "b": {"c": "https://h/f?***", "d": True},
    }


def test_nothing_moves_the_terminal() -> None:
    text = "a\x1b]0;title\x07\r\x9b31m\u202egnp.b\udcff\n"
    assert printable(text) == "a\\x1b]0;title\\x07\\r\\x9b31m\\u202egnp.b\\udcff\\n"
    assert printable(text).encode("ascii")
    assert shown("grün\x1b\nhttps://h/f?sig=abc") == "grün\\x1b\nhttps://h/f?***"
