-- What `bbgram migrate` does in a Supabase project, once: deleted users, and reads through the project's API.
-- <schema> is the schema of the chat. The workers own its tables, so row-level security does not apply to them.

-- Deleting a user deletes the profile. Nobody gets a profile who is not a user of the project.
CREATE FUNCTION delete_profile_of_user() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER
SET search_path = "<schema>", pg_temp SET lock_timeout = '2s' AS $$
BEGIN
    DELETE FROM profiles WHERE id = OLD.id AND deleted_at IS NULL;
    DELETE FROM refused_names WHERE user_id = OLD.id;
    RETURN NULL;
END
$$;
REVOKE ALL ON FUNCTION delete_profile_of_user() FROM PUBLIC;
CREATE TRIGGER "<schema>_delete_profile" AFTER DELETE ON auth.users
    FOR EACH ROW EXECUTE FUNCTION delete_profile_of_user();

CREATE FUNCTION profiles_require_user() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER
SET search_path = "<schema>", pg_temp AS $$
BEGIN
    RETURN CASE WHEN EXISTS (SELECT FROM auth.users WHERE id = NEW.id) THEN NEW END;
END
$$;
REVOKE ALL ON FUNCTION profiles_require_user() FROM PUBLIC;
CREATE TRIGGER profiles_require_user_new BEFORE INSERT ON profiles
    FOR EACH ROW EXECUTE FUNCTION profiles_require_user();
CREATE TRIGGER profiles_require_user_revived BEFORE UPDATE OF deleted_at ON profiles
    FOR EACH ROW WHEN (NEW.deleted_at IS NULL AND OLD.deleted_at IS NOT NULL)
    EXECUTE FUNCTION profiles_require_user();

-- Signed-in users read what is theirs, and write through the chat only. Subqueries that do not depend on the
-- row run once per query, and their arrays can be looked up in an index.
GRANT USAGE ON SCHEMA "<schema>" TO authenticated;
GRANT SELECT ON profiles, chats, chat_members, messages TO authenticated;

CREATE POLICY members_read_chats ON chats FOR SELECT TO authenticated
    USING (user_lo = (SELECT auth.uid()) OR user_hi = (SELECT auth.uid()));
CREATE POLICY members_read_watermarks ON chat_members FOR SELECT TO authenticated
    USING (chat_id = ANY (ARRAY(SELECT id FROM chats)));
CREATE POLICY members_read_messages ON messages FOR SELECT TO authenticated
    USING (chat_id = ANY (ARRAY(SELECT id FROM chats)));
CREATE POLICY users_read_peers ON profiles FOR SELECT TO authenticated
    USING (
        id = ANY (ARRAY(
            SELECT auth.uid() UNION ALL SELECT user_lo FROM chats UNION ALL SELECT user_hi FROM chats
        ))
    );
