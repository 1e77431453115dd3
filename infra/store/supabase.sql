-- What `bbgram migrate` does in a Supabase project: deleted users, and reads through the project's API. It can
-- run again. The caller closes the functions to others. <schema> is the schema of the chat. The workers own its
-- tables, so row-level security does not apply to them. <first> and <last> are the ends of the uuids.

-- Deleting a user deletes the profile. Nobody gets a profile who is not a user of the project.
CREATE OR REPLACE FUNCTION delete_profile_of_user() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER
SET search_path = "<schema>", pg_temp SET lock_timeout = '2s' AS $$
BEGIN
    DELETE FROM profiles WHERE id = OLD.id;
    DELETE FROM refused_names WHERE user_id = OLD.id;
    RETURN NULL;
END
$$;
CREATE OR REPLACE TRIGGER "<schema>_delete_profile" AFTER DELETE ON auth.users
    FOR EACH ROW EXECUTE FUNCTION delete_profile_of_user();

CREATE OR REPLACE FUNCTION profiles_require_user() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER
SET search_path = "<schema>", pg_temp AS $$
BEGIN
    RETURN CASE WHEN EXISTS (SELECT FROM auth.users WHERE id = NEW.id) THEN NEW END;
END
$$;
CREATE OR REPLACE TRIGGER profiles_require_user_new BEFORE INSERT ON profiles
    FOR EACH ROW EXECUTE FUNCTION profiles_require_user();
CREATE OR REPLACE TRIGGER profiles_require_user_revived BEFORE UPDATE OF deleted_at ON profiles
    FOR EACH ROW WHEN (NEW.deleted_at IS NULL AND OLD.deleted_at IS NOT NULL)
    EXECUTE FUNCTION profiles_require_user();

-- Signed-in users read what is theirs, and write through the chat only. A deleted user reads nothing. They can
-- call the functions of the policies themselves, so none may tell more than the tables do.
CREATE OR REPLACE FUNCTION reader_id() RETURNS uuid LANGUAGE sql STABLE SECURITY DEFINER
SET search_path = "<schema>", pg_temp AS $$
    SELECT id FROM profiles WHERE id = auth.uid() AND deleted_at IS NULL
$$;

CREATE OR REPLACE FUNCTION people_of_reader() RETURNS SETOF uuid LANGUAGE sql STABLE SECURITY DEFINER
SET search_path = "<schema>", pg_temp AS $$
    WITH me AS MATERIALIZED (SELECT reader_id() AS id)
    SELECT id FROM me
    UNION ALL SELECT user_hi FROM chats WHERE user_lo = (SELECT id FROM me) AND lo_box <> <unseen>
    UNION ALL SELECT user_lo FROM chats WHERE user_hi = (SELECT id FROM me) AND hi_box <> <unseen>
$$;

-- Up to which seq the reader has cleared their chats, by chat, if they have.
CREATE OR REPLACE FUNCTION cleared_of_reader() RETURNS jsonb LANGUAGE sql STABLE SECURITY DEFINER
SET search_path = "<schema>", pg_temp AS $$
    SELECT jsonb_object_agg(chat_id, cleared_seq) FROM chat_members
    WHERE user_id = (SELECT reader_id()) AND cleared_seq > 0
$$;

ALTER TABLE profiles ENABLE ROW LEVEL SECURITY;
ALTER TABLE chats ENABLE ROW LEVEL SECURITY;
ALTER TABLE chat_members ENABLE ROW LEVEL SECURITY;
ALTER TABLE messages ENABLE ROW LEVEL SECURITY;
GRANT USAGE ON SCHEMA "<schema>" TO authenticated;
-- Column by column, so that what a later release adds stays hidden. Earlier releases opened the whole tables.
REVOKE SELECT ON profiles, chats, chat_members, messages FROM authenticated;
GRANT SELECT (id, username, display_name, avatar_url, data) ON profiles TO authenticated;
GRANT SELECT (id, user_lo, user_hi, last_seq, activity_at, change) ON chats TO authenticated;
GRANT SELECT (chat_id, user_id, delivered_seq, read_seq) ON chat_members TO authenticated;
GRANT SELECT (
    chat_id, seq, id, sender_id, recipient_id, text, client_id, created_at, data, reply_to, change, edited_at,
    deleted_at, reactions, kind
) ON messages TO authenticated;

-- Subqueries that do not depend on the row run once per query. An array is looked up in an index, but where a
-- join finds the rows, each is compared with the whole array. So it serves readers with up to 1,000 chats; for
-- others the array is NULL, and a hash table answers. The range covers all ids for them, and none for the rest:
-- it lets the planner use an index for either half. What the reader has cleared comes as one value, because a
-- subquery that looks it up would run for each message.
DROP POLICY IF EXISTS members_read_chats ON chats;
CREATE POLICY members_read_chats ON chats FOR SELECT TO authenticated
    USING (
        user_lo = (SELECT reader_id()) AND lo_box <> <unseen>
        OR user_hi = (SELECT reader_id()) AND hi_box <> <unseen>
    );

-- Only the reader's own: a peer's, once they stop or are gone, would tell who has blocked the reader or hides
-- receipts. The socket shows what the reader may know of them.
DROP POLICY IF EXISTS members_read_watermarks ON chat_members;
CREATE POLICY members_read_watermarks ON chat_members FOR SELECT TO authenticated
    USING (user_id = (SELECT reader_id()) AND chat_id IN (SELECT id FROM chats));

DROP POLICY IF EXISTS members_read_messages ON messages;
CREATE POLICY members_read_messages ON messages FOR SELECT TO authenticated
    USING ((
        chat_id = ANY ((SELECT CASE WHEN count(*) <= 1000 THEN array_agg(id) END FROM chats)::uuid[])
        OR chat_id BETWEEN
            (SELECT CASE WHEN count(*) > 1000 THEN uuid '<first>' END FROM chats) AND uuid '<last>'
        AND chat_id IN (SELECT id FROM chats)
    ) AND seq > coalesce(((SELECT cleared_of_reader()) ->> chat_id::text)::bigint, 0));

-- An earlier version of the policies called it.
DROP FUNCTION IF EXISTS "<schema>".silent_people_of_reader();

DROP POLICY IF EXISTS users_read_peers ON profiles;
CREATE POLICY users_read_peers ON profiles FOR SELECT TO authenticated
    USING (
        id = ANY ((SELECT CASE WHEN count(*) <= 1001 THEN array_agg(id) END FROM people_of_reader() id)::uuid[])
        OR id BETWEEN
            (SELECT CASE WHEN count(*) > 1001 THEN uuid '<first>' END FROM people_of_reader() id) AND uuid '<last>'
        AND id IN (SELECT id FROM people_of_reader() id)
    );

COMMENT ON FUNCTION reader_id() IS '<version>';
