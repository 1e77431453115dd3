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
CREATE INDEX profiles_deleted ON profiles (deleted_at) WHERE deleted_at IS NOT NULL;

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
    DELETE FROM refused_names WHERE user_id = OLD.id;
    PERFORM take_name(OLD.id);
    RETURN NULL;
END
$$;
CREATE TRIGGER profiles_keep_tombstone BEFORE DELETE ON profiles FOR EACH ROW
    WHEN (current_setting('bbgram.removed_profile', true) IS DISTINCT FROM OLD.id::text)
    EXECUTE FUNCTION profiles_keep_tombstone();

-- Without a name nobody can chat, and peers see that of a deleted user. No name folds to a key that starts
-- with a space.
CREATE FUNCTION take_name(user_id uuid) RETURNS void LANGUAGE sql <path> AS $$
    UPDATE profiles
    SET username = 'Deleted user', username_key = ' ' || id, last_seen_at = NULL, deleted_at = now()
    WHERE id = take_name.user_id AND deleted_at IS NULL
$$;

-- Removes a user for good, with all their chats and messages, including their peers' copies.
CREATE FUNCTION remove_profile(user_id uuid) RETURNS void LANGUAGE plpgsql <path> AS $$
BEGIN
    DELETE FROM profiles WHERE id = remove_profile.user_id;
    PERFORM set_config('bbgram.removed_profile', remove_profile.user_id::text, true);
    DELETE FROM profiles WHERE id = remove_profile.user_id;
    PERFORM set_config('bbgram.removed_profile', '', true);
END
$$;

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

CREATE FUNCTION read_app_user(
    source regclass, id_column name, name_column name, user_id text, OUT present boolean, OUT name text
) LANGUAGE plpgsql <path> AS $$
BEGIN
    EXECUTE format(
        'SELECT true, %I::text FROM %s WHERE %I = %L LIMIT 1', name_column, source, id_column, user_id
    ) INTO present, name;
END
$$;

-- Brings a user into line with the app's table, which decides who has a name.
CREATE FUNCTION follow_app_user(
    source regclass, id_column name, name_column name, user_id text, OUT outcome text
) STRICT LANGUAGE plpgsql <path> AS $$
DECLARE
    present boolean;
    name text;
    holder uuid;
    holder_name text;
BEGIN
    SELECT * INTO present, name FROM read_app_user(source, id_column, name_column, user_id);
    IF present IS NULL THEN
        DELETE FROM profiles WHERE id = user_id::uuid;
        DELETE FROM refused_names r WHERE r.user_id = follow_app_user.user_id::uuid;
        outcome := 'deleted';
    -- Nobody has to have chosen a name yet.
    ELSIF name IS NOT NULL OR EXISTS (SELECT FROM profiles WHERE id = user_id::uuid) THEN
        outcome := put_profile(user_id::uuid, name);
    END IF;
    IF outcome = 'taken' THEN
        SELECT id INTO holder FROM profiles WHERE username_key = username_key(name);
        SELECT * INTO present, holder_name FROM read_app_user(source, id_column, name_column, holder::text);
        IF present AND username_key(holder_name) IS DISTINCT FROM username_key(name) THEN
            PERFORM take_name(holder);
            outcome := put_profile(user_id::uuid, name);
            PERFORM put_profile(holder, holder_name);
        END IF;
    END IF;
EXCEPTION
    WHEN invalid_text_representation THEN
        outcome := 'not_a_uuid';
    WHEN OTHERS THEN
        outcome := 'failed';
        BEGIN
            PERFORM refuse_name(user_id::uuid, name, SQLERRM);
        EXCEPTION WHEN OTHERS THEN
            RAISE WARNING 'the chat could not take a profile: %', SQLERRM;
        END;
END
$$;

-- For the app's own table. It runs at the end of the transaction, when it is settled who has which name, and
-- never makes the commit fail. With row_security off, hidden rows are an error instead of deleted users.
CREATE FUNCTION mirror_profile() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER <path>
SET lock_timeout = '500ms' SET row_security = off AS $$
DECLARE
    source constant regclass := coalesce(pg_partition_root(TG_RELID), TG_RELID);
    id_column constant name := TG_ARGV[0];
    name_column constant name := TG_ARGV[1];
    before constant jsonb := to_jsonb(OLD);
    after constant jsonb := to_jsonb(NEW);
BEGIN
    IF before -> id_column IS DISTINCT FROM after -> id_column THEN
        PERFORM follow_app_user(source, id_column, name_column, before ->> id_column);
        PERFORM follow_app_user(source, id_column, name_column, after ->> id_column);
    ELSIF before -> name_column IS DISTINCT FROM after -> name_column THEN
        PERFORM follow_app_user(source, id_column, name_column, after ->> id_column);
    END IF;
    RETURN NULL;
EXCEPTION WHEN OTHERS THEN
    RAISE WARNING 'the chat could not take a profile: %', SQLERRM;
    RETURN NULL;
END
$$;

CREATE FUNCTION mirror_profiles(
    source regclass, id_column name, name_column name, delete_missing boolean DEFAULT false
) RETURNS TABLE (outcome text, profiles bigint) LANGUAGE plpgsql <path> SET row_security = off AS $$
DECLARE
    -- Ids may be texts in an app's table.
    id text;
    ids text[] := '{}';
    outcomes text[] := '{}';
    failed boolean;
BEGIN
    -- Rows are locked, so that a change meanwhile waits and is mirrored after this.
    FOR id IN EXECUTE format('SELECT %I FROM %s FOR SHARE', id_column, source) LOOP
        ids := ids || lower(id);
        outcomes := outcomes || follow_app_user(source, id_column, name_column, id);
    END LOOP;
    FOR id, failed IN
        SELECT p.id, r.reason NOT IN ('taken', 'not_allowed', 'no_such_user')
        FROM profiles p LEFT JOIN refused_names r ON r.user_id = p.id
        WHERE (p.deleted_at IS NULL OR r.user_id IS NOT NULL)
            AND NOT EXISTS (SELECT FROM unnest(ids) present WHERE present = p.id::text)
    LOOP
        outcomes := outcomes || CASE
            WHEN delete_missing OR failed THEN follow_app_user(source, id_column, name_column, id)
            ELSE 'missing'
        END;
    END LOOP;
    RETURN QUERY SELECT o, count(*) FROM unnest(outcomes) o WHERE o IS NOT NULL GROUP BY o ORDER BY o;
END
$$;
"""

_DOWN = """
DROP FUNCTION mirror_profiles, mirror_profile CASCADE;
DROP FUNCTION profiles_pass_on_name, profiles_keep_tombstone, profiles_fold_name CASCADE;
DROP FUNCTION follow_app_user, read_app_user, put_profile, refuse_name, remove_profile, take_name;
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
