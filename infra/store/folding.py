"""The rules for user names as SQL functions, made from the tables of this Python's Unicode.

`username_key` and `is_username` in SQL answer as those of `infra.store.profiles` do. Characters that this
Python does not know stay unchanged, even if Postgres knows them. An older Postgres leaves characters it does
not know unchanged.
"""

import re
import unicodedata
from collections.abc import Callable
from functools import cache
from hashlib import sha256
from itertools import compress, groupby
from operator import ne
from typing import Final

from sqlalchemy import Connection, text

from infra.store import joiners
from infra.store.invisible import BLANK, INVISIBLE
from infra.store.joiners import JOINER, JOINS_LAST, JOINS_NEXT, NON_JOINER, VOWEL_SIGNS
from infra.store.profiles import DELETED_USERNAME, MARKS, MARKS_MAX, MAX_USERNAME, username_key
from infra.wire.commands import MAX_SPELLING

_FUNCTIONS = """
CREATE OR REPLACE FUNCTION username_key(name text) RETURNS text
LANGUAGE plpgsql IMMUTABLE STRICT PARALLEL SAFE SET search_path = pg_catalog, pg_temp AS $_$
DECLARE
    unknown constant text := '<unknown>';
    many constant text[] := ARRAY[<many>];
    folded text := '';
    run text;
    place int;
BEGIN
    -- Unknown characters stay as they are, and nothing combines across them.
    FOR run IN
        SELECT part[1]
        FROM regexp_matches(name, '[' || unknown || ']+|[^' || unknown || ']+', 'g') AS matched (part)
    LOOP
        IF run !~ ('^[' || unknown || ']') THEN
            run := translate(normalize(run, NFKC), '<upper>', '<lower>');
            IF run ~ '[<expanding>]' THEN
                FOR place IN 1 .. array_length(many, 1) BY 2 LOOP
                    run := replace(run, many[place], many[place + 1]);
                END LOOP;
            END IF;
            run := normalize(regexp_replace(run, '[<invisible>]', '', 'g'), NFKC);
        END IF;
        folded := folded || run;
    END LOOP;
    RETURN btrim(regexp_replace(folded, '[<space>]+', ' ', 'g'));
END
$_$;

CREATE OR REPLACE FUNCTION is_username(name text) RETURNS boolean
LANGUAGE plpgsql IMMUTABLE STRICT PARALLEL SAFE SET search_path = pg_catalog, pg_temp AS $_$
DECLARE
    printed text := name;
    bare text;
BEGIN
    -- SQL may evaluate a whole expression, and a long text takes long to fold.
    IF char_length(name) > <spelling> THEN
        RETURN false;
    END IF;
    IF least(char_length(name), char_length(<schema>.username_key(name))) > <max> OR name ~ '[<blank>]' THEN
        RETURN false;
    END IF;
    IF name ~ '[<joiner><non_joiner>]' THEN
        printed := regexp_replace(
            name,
            '(?<=[<joins_next>][<transparent>]*)<non_joiner>(?=[<transparent>]*[<joins_last>])'
            '|(?<=[<letter>][<nonspacing>]*[<virama>][<combining>]*)'
            '(?:<non_joiner>(?=[<combining>]*[<letter>])|<joiner>(?![<vowel_signs>]))',
            '', 'g'
        );
    END IF;
    IF printed ~ '[<unprintable>]' THEN
        RETURN false;
    END IF;
    bare := normalize(regexp_replace(name, '[<invisible>]', '', 'g'), NFD);
    RETURN <schema>.username_key(name) NOT IN ('', '<reserved>')
        AND bare !~ '(?:^| )[<mark>]|[<mark>]{<marks>}|([<mark>])[<mark>]*\\1';
END
$_$;

COMMENT ON FUNCTION username_key(text) IS '<version>';
"""

_IN_USE: Final = (0, 1, 2, 3, 14)
"""The planes of Unicode that hold more than unassigned or private characters; a test looks at the others."""

_INVISIBLE: Final = re.compile(f"[{INVISIBLE}]")

_RULES: Final = (
    _FUNCTIONS,
    INVISIBLE,
    BLANK,
    MARKS,
    MARKS_MAX,
    MAX_USERNAME,
    MAX_SPELLING,
    DELETED_USERNAME,
    JOINS_NEXT,
    JOINS_LAST,
    VOWEL_SIGNS,
    JOINER,
    NON_JOINER,
)
"""What the functions are made of, besides Unicode."""

_INSTALLED = text(
    """
    SELECT obj_description(to_regprocedure(quote_ident(:schema) || '.username_key(text)'), 'pg_proc')
    """
)


def version() -> str:
    """Return what the comment on the functions says: it changes whenever the rules do."""
    rules = sha256(repr(_RULES).encode()).hexdigest()[:12]
    return f"Unicode {unicodedata.unidata_version}, rules {rules}"


def are_current(conn: Connection, schema: str) -> bool:
    """Return whether the functions in the schema are those of this release and this Python's Unicode."""
    return conn.execute(_INSTALLED, {"schema": schema}).scalar() == version()


def refresh_functions(conn: Connection, schema: str) -> None:
    """Create the functions in the schema, or replace those of another Unicode or release."""
    if not are_current(conn, schema):
        conn.exec_driver_sql(_render(schema), execution_options={"no_parameters": True})


def _render(schema: str) -> str:
    parts = {**unicode_parts(), "version": version(), "schema": f'"{schema}"'}
    return re.sub(r"<(\w+)>", lambda match: parts[match[1]], _FUNCTIONS)


@cache
def unicode_parts() -> dict[str, str]:
    """Return what the functions are made of."""
    characters = "".join(map(_characters, _IN_USE))
    folds = {
        char: char.casefold()
        for char in compress(characters, map(ne, characters, map(str.casefold, characters)))
        if unicodedata.normalize("NFKC", char) == char
    }
    single = {char: folded for char, folded in folds.items() if len(folded) == 1}
    several = {char: folded for char, folded in folds.items() if len(folded) > 1}
    return {
        "reserved": username_key(DELETED_USERNAME),
        "max": str(MAX_USERNAME),
        "spelling": str(MAX_SPELLING),
        "marks": str(MARKS_MAX + 1),
        "invisible": _escape(INVISIBLE),
        "blank": _escape(BLANK),
        "space": _ranges(str.isspace),
        "unknown": _ranges(lambda char: unicodedata.category(char) == "Cn" and not _INVISIBLE.match(char)),
        "unprintable": _ranges(lambda char: not char.isprintable()),
        "mark": _ranges(lambda char: unicodedata.category(char) in MARKS),
        "joiner": _escape(JOINER),
        "non_joiner": _escape(NON_JOINER),
        "joins_next": _escape(JOINS_NEXT),
        "joins_last": _escape(JOINS_LAST),
        "vowel_signs": _escape(VOWEL_SIGNS),
        "letter": _ranges(joiners.is_letter),
        "nonspacing": _ranges(joiners.is_nonspacing),
        "combining": _ranges(joiners.is_combining),
        "virama": _ranges(joiners.is_virama),
        "transparent": _ranges(joiners.is_transparent),
        "upper": "".join(single),
        "lower": "".join(single.values()),
        "expanding": "".join(map(_escape, several)),
        "many": ", ".join(f"'{text}'" for pair in several.items() for text in pair),
    }


def _ranges(belongs: Callable[[str], bool]) -> str:
    """Return the characters with a property, as the inside of a bracket expression."""
    return "".join(
        _code(first) if first == last else f"{_code(first)}-{_code(last)}" for first, last in _spans(belongs)
    )


def _spans(belongs: Callable[[str], bool]) -> list[tuple[int, int]]:
    spans: list[tuple[int, int]] = []
    for first, last in _runs():
        if not belongs(chr(first)):
            continue
        if spans and spans[-1][1] == first - 1:
            spans[-1] = (spans[-1][0], last)
        else:
            spans.append((first, last))
    return spans


@cache
def _runs() -> list[tuple[int, int]]:
    """Return runs of characters, first and last code, that no property tells apart.

    There are a million characters, but few runs. Where a plane is not in use, all but its last two are alike.
    """
    runs = []
    for plane in range(17):
        first, last = plane << 16, plane << 16 | 0xFFFF
        runs += _runs_of(plane) if plane in _IN_USE else [(first, last - 2), (last - 1, last)]
    return runs


def _runs_of(plane: int) -> list[tuple[int, int]]:
    characters = _characters(plane)
    kinds = zip(
        map(unicodedata.category, characters),
        map(unicodedata.combining, characters),
        map(str.isspace, characters),
        map(str.isprintable, characters),
        map(set(_INVISIBLE.findall(characters)).__contains__, characters),
        strict=True,
    )
    runs = []
    start = ord(characters[0])
    for (category, *_), run in groupby(kinds):
        end = start + len(list(run))
        if category != "Cs":
            runs.append((start, end - 1))
        start = end
    return runs


def _characters(plane: int) -> str:
    """Return the characters of a plane, without NUL."""
    return "".join(map(chr, range(plane << 16 or 1, (plane + 1) << 16)))


def _escape(characters: str) -> str:
    """Return a text with its characters as escapes, except the hyphens of ranges."""
    return "".join(char if char == "-" else _code(ord(char)) for char in characters)


def _code(code: int) -> str:
    return f"\\u{code:04x}" if code <= 0xFFFF else f"\\U{code:08x}"
