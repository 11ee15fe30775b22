"""Keys are found where they should be, and hidden everywhere."""

from __future__ import annotations

import base64
import json
import re
from pathlib import Path
from unittest.mock import patch
from urllib.parse import quote, quote_plus

import pytest
from hypothesis import given
from hypothesis import strategies as st

from geolatents.acquire.fetch import secrets
from geolatents.acquire.fetch.secrets import (
    HIDDEN,
    Key,
    beginning,
    longest,
    public_url,
    redacted,
    remember,
)
from geolatents.errors import AccessError

KEY = Key("Testland", "TESTLAND_KEY", "at testland.example/keys")
URL = "https://api.testland.example/v1"


@pytest.fixture
def netrc(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    file = tmp_path / "netrc"
    monkeypatch.setenv("NETRC", str(file))
    monkeypatch.delenv("TESTLAND_KEY", raising=False)
    return file


def test_the_environment_comes_first(netrc: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    netrc.write_text("machine api.testland.example login me password of-netrc\n")
    assert KEY.find(URL) == "of-netrc"
    monkeypatch.setenv("TESTLAND_KEY", " of-environment\n")
    assert KEY.find(URL) == "of-environment"


def test_a_missing_key_says_where_it_is_looked_for_and_had(netrc: Path) -> None:
    with pytest.raises(AccessError) as caught:
        KEY.find(URL)
    text = str(caught.value)
    assert "TESTLAND_KEY" in text
    assert "machine api.testland.example" in text
    assert "testland.example/keys" in text


def test_passwords_of_other_hosts_and_of_all_hosts_are_left_alone(netrc: Path) -> None:
    netrc.write_text("machine other.example login me password no\ndefault login me password no\n")
    with pytest.raises(AccessError, match="needs a key"):
        KEY.find(URL)


def test_a_broken_netrc_file_is_told_without_its_words(netrc: Path) -> None:
    netrc.write_text("machine api.testland.example login me passwort hush-hush\n")
    with pytest.raises(AccessError, match="line 1") as caught:
        KEY.find(URL)
    assert "hush" not in str(caught.value)


def test_a_key_with_a_line_break_is_refused_unseen(
    netrc: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TESTLAND_KEY", "hush\nhush")
    with pytest.raises(AccessError, match="line break") as caught:
        KEY.find(URL)
    assert "hush" not in str(caught.value)


@given(st.text(st.characters(exclude_categories=["C", "Z"], exclude_characters="*"), min_size=4))
def test_every_spelling_of_a_secret_is_hidden(secret: str) -> None:
    percent = quote(secret, safe="")
    lower = re.sub("%..", lambda found: found[0].lower(), percent)
    basic = base64.b64encode(f"{secret}:".encode()).decode()
    spellings = {
        secret, quote(secret), percent, lower, quote_plus(secret), json.dumps(secret)[1:-1],
        json.dumps(secret, ensure_ascii=False)[1:-1], basic,
    }  # fmt: skip
    spellings |= {spelling.replace("/", r"\/") for spelling in spellings}  # json_encode of PHP
    with patch.object(secrets, "_known", set()):
        remember(secret)
        for spelling in spellings:
            assert redacted(f"<{spelling}>") == f"<{HIDDEN}>"


def test_slashes_as_php_writes_them() -> None:
    with patch.object(secrets, "_known", set()):
        remember("abc/def")
        assert redacted(r'{"key": "abc\/def"}') == '{"key": "***"}'


@pytest.mark.parametrize("end", range(1, 60))
def test_no_part_of_a_secret_is_shown_where_a_text_is_cut(end: int) -> None:
    with patch.object(secrets, "_known", set()):
        remember("0123456789" * 2)
        text = "." * 15 + "0123456789" * 2 + "." * 300
        assert not set("0123456789") & set(beginning(text, end))
        assert not set("0123456789") & set(beginning(text[:end], 99, longest()))


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("https://me:pw@host.example/a", "https://***@host.example/a"),
        ("GET /a?X-Amz-Signature=ab12&x=1", "GET /a?X-Amz-Signature=***&x=1"),
        ("api_key=ab&access_token=cd&apikey=ef", "api_key=***&access_token=***&apikey=***"),
        ("url: /x?token=ab (Caused by", "url: /x?token=*** (Caused by"),
        ("bbox=1,2,3,4&layers=a", "bbox=1,2,3,4&layers=a"),
    ],
)
def test_what_is_secret_by_its_place_is_hidden(text: str, shown: str) -> None:
    assert redacted(text) == shown


def test_public_urls() -> None:
    url = "https://me:pw@host.example:81/a?bbox=1&key=abcd#top"
    assert public_url(url) == "https://host.example:81/a?bbox=1&key=***"
    assert public_url(url, signed=True) == "https://host.example:81/a"
