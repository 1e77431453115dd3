"""The texts of notifications in other languages."""

from pathlib import Path
from uuid import UUID

import pytest

from functions.digest import OpenChat, digest
from infra.settings.base import SettingsError
from infra.settings.functions import FunctionSettings
from infra.settings.templates import Languages, load_languages

TEXTS = """
title = "{messages} from {senders}"
body = "{sender}: {text}"
two = "{first} + {second}"
more = "{first}, {second} + {count}"
deleted = "gone"
"""
RUSSIAN = (
    "plural = 'n%10==1 && n%100!=11 ? 0 : n%10>=2 && n%10<=4 && (n%100<10 || n%100>=20) ? 1 : 2'\n"
    "messages = ['{count} сообщение', '{count} сообщения', '{count} сообщений']"
)


def load(tmp_path: Path, text: str) -> Languages:
    file = tmp_path / "texts.toml"
    file.write_text(text, encoding="utf-8")
    return load_languages(str(file))


def messages(languages: Languages, language: str | None, count: int = 2) -> str:
    return languages.find(language).messages.fill(count)


@pytest.mark.parametrize(
    ("language", "found"),
    [
        ("pt-BR", "br"),
        ("PT-br", "br"),
        ("pt-BR-x-one", "br"),
        ("pt-PT", "pt"),
        ("pt", "pt"),
        ("en-GB", "2 messages"),
        ("fr", "2 messages"),
        (None, "2 messages"),
    ],
)
def test_a_language_falls_back_to_a_wider_one_and_then_to_english(
    tmp_path: Path, language: str | None, found: str
) -> None:
    text = f"[pt-BR]\nmessages = 'br'\n{TEXTS}[pt]\nmessages = 'pt'\n{TEXTS}"
    assert messages(load(tmp_path, text), language) == found


def test_a_file_may_name_another_default_and_change_english(tmp_path: Path) -> None:
    text = f"default = 'de'\n[de]\nmessages = 'de'\n{TEXTS}[en]\nmessages = 'en'\n{TEXTS}"
    languages = load(tmp_path, text)
    assert [messages(languages, language) for language in (None, "fr", "en-US")] == ["de", "de", "en"]


@pytest.mark.parametrize(
    ("count", "text"),
    [(1, "1 сообщение"), (2, "2 сообщения"), (5, "5 сообщений"), (11, "11 сообщений"), (21, "21 сообщение")],
)
def test_plurals_are_those_of_gettext(tmp_path: Path, count: int, text: str) -> None:
    assert messages(load(tmp_path, f"[ru]\n{RUSSIAN}\n{TEXTS}"), "ru", count) == text


@pytest.mark.parametrize(
    ("senders", "title"),
    [(1, "M from a{0}"), (2, "M from a{0} + a{1}"), (4, "M from a{0}, a{1} + 2")],
)
def test_names_and_texts_are_filled_in_as_they_are(tmp_path: Path, senders: int, title: str) -> None:
    chats = [OpenChat(UUID(int=n), f"a{{{n}}}", 1, "{text} {x.y}") for n in range(senders)]
    templates = load(tmp_path, f"[xx]\nmessages = 'M'\n{TEXTS}").find("xx")
    notice = digest(UUID(int=9), chats, unread=7, hide_texts=False, templates=templates)
    assert (notice.title, notice.body) == (title, "a{0}: {text} {x.y}")


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("[de", "is not TOML: "),
        ("[de]\nmessages = 'x'", "[de]: title, body, two, more, deleted must be set"),
        (f"[de]\nmessages = 'x'\nheading = ''\n{TEXTS}", "[de]: heading is not known"),
        ("de = 'x'", "de is not a table named by a language, like [pt-BR]"),
        (f"['not one']\nmessages = 'x'\n{TEXTS}", "not one is not a table named by a language"),
        (f"default = 'fr'\n[de]\nmessages = 'x'\n{TEXTS}", "default: fr is none of de, en"),
        (f"[de]\nmessages = []\n{TEXTS}", "messages must be a text, or a list of texts"),
        (f"[de]\nmessages = '{'x' * 201}'\n{TEXTS}", "of at most 200 characters"),
        (f"[de]\nmessages = 7\n{TEXTS}", "messages must be a text, or a list of texts"),
        (f"[de]\nmessages = ['a', 'b', 'c']\n{TEXTS}", "messages has 3 forms, which are not as many"),
        (f"[de]\nmessages = '{{sender}}'\n{TEXTS}", "messages: {sender} is not known here; there is {count}"),
        (f"[de]\nmessages = '{{count.real}}'\n{TEXTS}", "messages: {count.real} is not known here"),
        (f"[de]\nmessages = '{{count:>9999999}}'\n{TEXTS}", "messages: {count} is not known here"),
        (f"[de]\nmessages = '{{count'\n{TEXTS}", "messages: a brace is not closed"),
        (f"[de]\nplural = 'n +'\nmessages = 'x'\n{TEXTS}", "plural: n + is not a plural rule of gettext"),
        (f"[de]\nplural = '1 / n'\nmessages = 'x'\n{TEXTS}", "plural: 1 / n is not a plural rule of gettext"),
        (f"[de]\nplural = 1\nmessages = 'x'\n{TEXTS}", "plural: 1 is not a plural rule of gettext"),
    ],
)
def test_a_wrong_file_is_one_line_at_the_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, line: str
) -> None:
    file = tmp_path / "texts.toml"
    file.write_text(text, encoding="utf-8")
    told = refusal(file, monkeypatch)
    assert told.startswith("BBGRAM_NOTIFICATION_TEXTS is wrong: ")
    assert line in told
    assert "\n" not in told


def test_a_file_that_is_missing_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "cannot be read (FileNotFoundError)" in refusal(tmp_path / "none.toml", monkeypatch)


def refusal(file: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """Return what a process says that starts with this file."""
    monkeypatch.setenv("BBGRAM_DATABASE_URL", "postgresql://nowhere/")
    monkeypatch.setenv("BBGRAM_NOTIFICATION_TEXTS", str(file))
    with pytest.raises(SettingsError) as caught:
        FunctionSettings.load(env_file=None)
    return str(caught.value)
