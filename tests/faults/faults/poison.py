"""Messages that can never be stored."""

import asyncio
import itertools
import json
from typing import Final

from tests.faults.faults.fault import fault, point
from tests.faults.field import Field

_UNWRITABLE: Final = """
CREATE OR REPLACE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NEW.text LIKE 'unwritable%' THEN RAISE 'this row cannot be written'; END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER unwritable BEFORE INSERT ON messages FOR EACH ROW EXECUTE FUNCTION refuse();
"""


@fault(
    "a handler and a row that always fail",
    "only these messages fail; their dead letters are kept, shown and replayed",
    worker=point("failing_handler"),
)
async def always_failing(field: Field) -> None:
    """Send messages that a handler or the database refuses, repair both, and replay the dead letters."""
    with field.admin() as conn:
        conn.execute(_UNWRITABLE)
        texts = [f"{kind} {number}" for kind in ("failing", "unwritable") for number in range(10)]
        senders = itertools.cycle(field.clients)
        poison = await asyncio.gather(
            *(
                one.send(field.peer_of(one), text, is_poison=True)
                for one, text in zip(senders, texts, strict=False)
            )
        )
        field.expect({sent.tries[-1].code for sent in poison} == {"internal"}, "poison was not refused")
        conn.execute("DROP TRIGGER unwritable ON messages")
    await field.replace_workers()
    field.healed()
    letters = json.loads(await asyncio.to_thread(field.chat.run, "dead-letters", "list", "--json"))
    field.expect(len(letters) == len(texts), f"{len(letters)} of {len(texts)} dead letters were kept")
    await asyncio.to_thread(field.chat.run, "dead-letters", "replay", "--all")
    field.read_store()
    stored = {row.text for row in field.records.stored}
    field.expect(stored.issuperset(texts), "a replayed message is not stored")
    field.notes.append(f"{len(letters)} dead letters replayed")
