-- The roles of a Supabase project. They belong to the whole server, so this runs once for all databases.
-- Unless noted otherwise, paths are those of github.com/supabase/postgres, folder migrations/db.
DO $$
BEGIN
    IF to_regrole('supabase_admin') IS NOT NULL THEN
        RETURN;
    END IF;
    -- init-scripts/00000000000000-initial-schema.sql
    CREATE ROLE supabase_admin LOGIN SUPERUSER CREATEDB CREATEROLE REPLICATION BYPASSRLS;
    CREATE ROLE anon NOLOGIN NOINHERIT;
    CREATE ROLE authenticated NOLOGIN NOINHERIT;
    CREATE ROLE service_role NOLOGIN NOINHERIT BYPASSRLS;
    CREATE ROLE authenticator LOGIN NOINHERIT;
    GRANT anon, authenticated, service_role TO authenticator;
    ALTER ROLE anon SET statement_timeout = '3s';
    ALTER ROLE authenticated SET statement_timeout = '8s';
    -- init-scripts/00000000000001-auth-schema.sql; migrations/20260821154147_revoke_createrole_from_auth_admin.sql
    CREATE ROLE supabase_auth_admin NOINHERIT LOGIN;
    ALTER ROLE supabase_auth_admin SET search_path = 'auth';
    -- init-scripts/00000000000002-storage-schema.sql
    CREATE ROLE supabase_storage_admin NOINHERIT CREATEROLE LOGIN;
    -- init-scripts/00000000000003-post-setup.sql
    CREATE ROLE dashboard_user NOSUPERUSER CREATEDB CREATEROLE REPLICATION;
    -- migrate.sh, then migrations/10000000000000_demote-postgres.sql
    CREATE ROLE postgres NOSUPERUSER CREATEDB CREATEROLE LOGIN REPLICATION BYPASSRLS;
    -- init-scripts/00000000000003-post-setup.sql
    ALTER ROLE supabase_admin SET search_path TO "$user", public, auth, extensions;
    ALTER ROLE postgres SET search_path TO "$user", public, extensions;
    -- migrations/20220322085208_gotrue-session-limit.sql
    ALTER ROLE supabase_auth_admin SET idle_in_transaction_session_timeout TO 60000;
    -- migrations/20221028101028_set_authenticator_timeout.sql
    ALTER ROLE authenticator SET statement_timeout = '8s';
    -- migrations/20230201083204_grant_auth_roles_to_postgres.sql, and with admin option since
    -- migrations/20250605172253_grant_with_admin_to_postgres_16_and_above.sql. Since
    -- migrations/20250421084701_revoke_admin_roles_from_postgres.sql it is no member of supabase_auth_admin.
    GRANT anon, authenticated, service_role TO postgres WITH ADMIN OPTION;
    -- migrations/20230529180330_alter_api_roles_for_inherit.sql
    ALTER ROLE anon INHERIT;
    ALTER ROLE authenticated INHERIT;
    ALTER ROLE service_role INHERIT;
    -- migrations/20231130133139_set_lock_timeout_to_authenticator_role.sql
    ALTER ROLE authenticator SET lock_timeout TO '8s';
    -- migrations/20240606060239_grant_predefined_roles_to_postgres.sql
    GRANT pg_read_all_data, pg_signal_backend TO postgres;
END
$$;
