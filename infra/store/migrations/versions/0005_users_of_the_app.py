"""Users come from the app: names by SQL, a mirror of the app's own table, and deleted users.

The key of a name follows from the name. A deleted profile stays as a tombstone, so that peers keep their
copies of chats and a token that is still valid does not restore it. The triggers for workers from before 0003
and 0004 are dropped: those workers cannot run on tables in a schema of their own.
"""

from pathlib import Path

from alembic import op
from alembic.script import ScriptDirectory

revision = "0005"
down_revision = "0004"

_VERSIONS = Path(__file__).parent

_UP = """
DROP TRIGGER chats_forget_last_to ON chats;
DROP FUNCTION chats_forget_last_to;
DROP TRIGGER profiles_fold_key ON profiles;
DROP FUNCTION profiles_fold_key;

-- What infra/deploy/supabase/policies.sql of earlier releases made; see infra/store/supabase.sql.
ALTER TABLE profiles DROP CONSTRAINT IF EXISTS profiles_auth_user;
DROP POLICY IF EXISTS members_read_their_chats ON chats;
DROP POLICY IF EXISTS members_read_their_watermarks ON chat_members;
DROP POLICY IF EXISTS members_read_their_messages ON messages;
DROP POLICY IF EXISTS people_read_their_peers ON profiles;

ALTER TABLE profiles
    ADD COLUMN named_at timestamptz NOT NULL DEFAULT now(),
    ADD COLUMN deleted_at timestamptz;

CREATE TABLE refused_names (
    user_id uuid PRIMARY KEY,
    username text NOT NULL,
    username_key text NOT NULL,
    reason text NOT NULL,
    refused_at timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX refused_names_key ON refused_names (username_key, refused_at);

CREATE VIEW names_not_taken AS
SELECT refused.user_id, refused.username, refused.reason, holder.id AS taken_by, refused.refused_at
FROM refused_names refused
LEFT JOIN profiles holder ON refused.reason = 'taken' AND holder.username_key = refused.username_key;

CREATE FUNCTION profiles_fold_name() RETURNS trigger LANGUAGE plpgsql <path> AS $$
BEGIN
    IF NEW.deleted_at IS NULL THEN
        NEW.username_key := username_key(NEW.username);
        IF NEW.username_key = '' THEN
            RAISE 'the user name has nothing visible' USING ERRCODE = 'check_violation';
        END IF;
    END IF;
    IF TG_OP = 'UPDATE' AND NEW.named_at = OLD.named_at THEN
        NEW.named_at := now();
    END IF;
    RETURN NEW;
END
$$;
CREATE TRIGGER profiles_fold_name BEFORE INSERT OR UPDATE OF username ON profiles
    FOR EACH ROW EXECUTE FUNCTION profiles_fold_name();

CREATE FUNCTION profiles_keep_tombstone() RETURNS trigger LANGUAGE plpgsql <path> AS $$
BEGIN
    DELETE FROM devices WHERE user_id = OLD.id;
    DELETE FROM notifications WHERE user_id = OLD.id;
    DELETE FROM undelivered WHERE user_id = OLD.id;
    DELETE FROM chats WHERE user_lo = OLD.id AND user_hi = OLD.id;
    -- No name folds to a key that starts with a space.
    UPDATE profiles
    SET username = 'Deleted user', username_key = ' ' || id, last_seen_at = NULL, deleted_at = now()
    WHERE id = OLD.id;
    RETURN NULL;
END
$$;
CREATE TRIGGER profiles_keep_tombstone BEFORE DELETE ON profiles
    FOR EACH ROW WHEN (OLD.deleted_at IS NULL) EXECUTE FUNCTION profiles_keep_tombstone();

CREATE FUNCTION refuse_name(id uuid, name text, why text) RETURNS void LANGUAGE plpgsql <path> AS $$
BEGIN
    INSERT INTO refused_names (user_id, username, username_key, reason)
    VALUES (id, coalesce(name, ''), coalesce(username_key(name), ''), why)
    ON CONFLICT (user_id) DO UPDATE
    SET username = excluded.username, username_key = excluded.username_key, reason = excluded.reason,
        refused_at = now();
END
$$;

CREATE FUNCTION put_profile(user_id uuid, name text) RETURNS text LANGUAGE plpgsql <path> AS $$
#variable_conflict use_column
DECLARE
    outcome text := 'ok';
BEGIN
    IF is_username(name) IS NOT TRUE THEN
        outcome := 'not_allowed';
    ELSE
        BEGIN
            INSERT INTO profiles AS p (id, username) VALUES (put_profile.user_id, name)
            ON CONFLICT (id) DO UPDATE SET username = excluded.username, deleted_at = NULL
            WHERE p.username <> excluded.username;
            IF NOT EXISTS (
                SELECT FROM profiles p
                WHERE p.id = put_profile.user_id AND p.username = name AND p.deleted_at IS NULL
            ) THEN
                outcome := 'no_such_user';
            END IF;
        EXCEPTION WHEN unique_violation THEN
            outcome := 'taken';
        END;
    END IF;
    IF outcome = 'ok' THEN
        DELETE FROM refused_names r WHERE r.user_id = put_profile.user_id;
    ELSE
        PERFORM refuse_name(put_profile.user_id, name, outcome);
    END IF;
    RETURN outcome;
END
$$;

CREATE FUNCTION profiles_pass_on_name() RETURNS trigger LANGUAGE plpgsql <path> AS $$
DECLARE
    next refused_names;
BEGIN
    SELECT * INTO next FROM refused_names
    WHERE username_key = OLD.username_key AND user_id <> OLD.id ORDER BY refused_at LIMIT 1;
    IF FOUND THEN
        PERFORM put_profile(next.user_id, next.username);
    END IF;
    RETURN NULL;
END
$$;
CREATE TRIGGER profiles_pass_on_name AFTER UPDATE OF username ON profiles
    FOR EACH ROW WHEN (OLD.username_key <> NEW.username_key) EXECUTE FUNCTION profiles_pass_on_name();

CREATE FUNCTION mirror_profile() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER <path>
SET lock_timeout = '500ms' AS $$
DECLARE
    id_column constant text := TG_ARGV[0];
    name_column constant text := TG_ARGV[1];
    before uuid;
    after uuid;
    name text;
BEGIN
    IF TG_OP <> 'INSERT' THEN
        before := to_jsonb(OLD) ->> id_column;
    END IF;
    IF TG_OP <> 'DELETE' THEN
        after := to_jsonb(NEW) ->> id_column;
        name := to_jsonb(NEW) ->> name_column;
    END IF;
    IF before IS DISTINCT FROM after THEN
        DELETE FROM profiles p WHERE p.id = before AND p.deleted_at IS NULL;
        DELETE FROM refused_names r WHERE r.user_id = before;
    END IF;
    -- Nobody has to have chosen a name yet.
    IF name IS NOT NULL OR EXISTS (SELECT FROM profiles p WHERE p.id = after) THEN
        PERFORM put_profile(after, name);
    END IF;
    RETURN NULL;
EXCEPTION WHEN OTHERS THEN
    -- The app's own write succeeds in any case.
    BEGIN
        PERFORM refuse_name(coalesce(after, before), name, SQLERRM);
    EXCEPTION WHEN OTHERS THEN
        RAISE WARNING 'the chat could not take a profile: %', SQLERRM;
    END;
    RETURN NULL;
END
$$;

CREATE FUNCTION mirror_profiles(source regclass, id_column name, name_column name)
RETURNS TABLE (outcome text, profiles bigint) LANGUAGE plpgsql <path> AS $$
DECLARE
    -- Ids may be texts in an app's table.
    id text;
    id_type constant text := format_type(atttypid, NULL) FROM pg_attribute
        WHERE attrelid = source AND attname = id_column;
    name text;
    counts jsonb := '{}';
BEGIN
    FOR id IN EXECUTE format('SELECT %1$I FROM %3$s WHERE %2$I IS NOT NULL', id_column, name_column, source)
    LOOP
        -- The row is locked, so that a change meanwhile waits and is mirrored after this.
        EXECUTE format(
            'SELECT %2$I FROM %3$s WHERE %1$I = CAST($1 AS %4$s) FOR SHARE',
            id_column, name_column, source, id_type
        ) INTO name USING id;
        CONTINUE WHEN name IS NULL;
        outcome := put_profile(CAST(id AS uuid), name);
        counts := jsonb_set(counts, ARRAY[outcome], to_jsonb(coalesce((counts ->> outcome)::bigint, 0) + 1));
    END LOOP;
    RETURN QUERY SELECT key, value::bigint FROM jsonb_each_text(counts) ORDER BY key;
END
$$;
"""

_DOWN = """
DROP FUNCTION mirror_profiles, mirror_profile CASCADE;
DROP FUNCTION profiles_pass_on_name, profiles_keep_tombstone, profiles_fold_name CASCADE;
DROP FUNCTION put_profile, refuse_name;
DROP VIEW names_not_taken;
DROP TABLE refused_names;
ALTER TABLE profiles DROP COLUMN named_at, DROP COLUMN deleted_at;
"""


def upgrade() -> None:
    """Add the columns, the functions and the triggers."""
    path = f'SET search_path = "{op.get_context().version_table_schema}", pg_temp'
    sql = _UP.replace("<path>", path)
    op.get_bind().exec_driver_sql(sql, execution_options={"no_parameters": True})


def downgrade() -> None:
    """Drop them, and bring back the triggers for older workers."""
    op.execute(_DOWN)
    for older in ("0003", "0004"):
        op.execute(ScriptDirectory(_VERSIONS.parent).get_revision(older).module.TRIGGER)
