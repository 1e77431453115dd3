-- A database as Supabase makes it, as far as a chat can tell. Runs as a superuser; :database is its name.
-- Unless noted otherwise, paths are those of github.com/supabase/postgres, folder migrations/db.

-- migrate.sh
ALTER DATABASE :database OWNER TO postgres;
-- migrations/10000000000000_demote-postgres.sql, 20251121141100_supabase_auth_admin_db_grants.sql
GRANT ALL ON DATABASE :database TO postgres, dashboard_user;
GRANT CREATE ON DATABASE :database TO supabase_auth_admin;

-- init-scripts/00000000000000-initial-schema.sql
CREATE PUBLICATION supabase_realtime;
ALTER PUBLICATION supabase_realtime OWNER TO postgres;
CREATE SCHEMA extensions AUTHORIZATION postgres;
GRANT USAGE ON SCHEMA public, extensions TO postgres, anon, authenticated, service_role;

-- init-scripts/00000000000001-auth-schema.sql
CREATE SCHEMA auth AUTHORIZATION supabase_admin;
GRANT USAGE ON SCHEMA auth TO anon, authenticated, service_role;
GRANT ALL ON SCHEMA auth TO supabase_auth_admin, dashboard_user;
-- migrations/20211115181400_update-auth-permissions.sql, 20250421084701_revoke_admin_roles_from_postgres.sql
GRANT USAGE ON SCHEMA auth TO postgres;
ALTER DEFAULT PRIVILEGES FOR ROLE supabase_auth_admin IN SCHEMA auth
    GRANT ALL ON TABLES TO postgres, dashboard_user;
ALTER DEFAULT PRIVILEGES FOR ROLE supabase_auth_admin IN SCHEMA auth
    GRANT ALL ON ROUTINES TO postgres, dashboard_user;

-- github.com/supabase/auth, folder migrations, as its own role makes it. Left out are columns for tokens that
-- Auth sends, and most checks.
SET ROLE supabase_auth_admin;
CREATE TABLE auth.users (
    instance_id uuid,
    id uuid NOT NULL PRIMARY KEY,
    aud varchar(255),
    role varchar(255),
    email varchar(255),
    encrypted_password varchar(255),
    email_confirmed_at timestamptz,
    last_sign_in_at timestamptz,
    raw_app_meta_data jsonb,
    raw_user_meta_data jsonb,
    is_super_admin boolean,
    created_at timestamptz,
    updated_at timestamptz,
    phone text UNIQUE DEFAULT NULL,
    -- 20220114185340_add_banned_until, 20230116124412_add_deleted_at, 20240214120130_add_is_anonymous_column
    banned_until timestamptz,
    deleted_at timestamptz,
    is_anonymous boolean NOT NULL DEFAULT false,
    -- 20221215195500_modify_users_email_unique_index
    is_sso_user boolean NOT NULL DEFAULT false
);
CREATE UNIQUE INDEX users_email_partial_key ON auth.users (email) WHERE is_sso_user = false;
-- 20210909172000_create_identities_table, 20231117164230_add_id_pkey_identities
CREATE TABLE auth.identities (
    provider_id text NOT NULL,
    user_id uuid NOT NULL REFERENCES auth.users (id) ON DELETE CASCADE,
    identity_data jsonb NOT NULL,
    provider text NOT NULL,
    last_sign_in_at timestamptz,
    created_at timestamptz,
    updated_at timestamptz,
    id uuid NOT NULL DEFAULT gen_random_uuid() PRIMARY KEY,
    UNIQUE (provider_id, provider)
);
-- 20220811173540_add_sessions_table, 20221003041400_add_aal_and_factor_id_to_sessions
CREATE TABLE auth.sessions (
    id uuid NOT NULL PRIMARY KEY,
    user_id uuid NOT NULL REFERENCES auth.users (id) ON DELETE CASCADE,
    created_at timestamptz,
    updated_at timestamptz,
    aal text,
    not_after timestamptz
);
-- 20240612123726_enable_rls_update_grants
ALTER TABLE auth.users ENABLE ROW LEVEL SECURITY;
ALTER TABLE auth.identities ENABLE ROW LEVEL SECURITY;
ALTER TABLE auth.sessions ENABLE ROW LEVEL SECURITY;
GRANT SELECT ON auth.users, auth.identities, auth.sessions TO postgres WITH GRANT OPTION;
-- 20220224000811_update_auth_functions
CREATE FUNCTION auth.uid() RETURNS uuid LANGUAGE sql STABLE AS $$
    SELECT coalesce(
        nullif(current_setting('request.jwt.claim.sub', true), ''),
        (nullif(current_setting('request.jwt.claims', true), '')::jsonb ->> 'sub')
    )::uuid
$$;
CREATE FUNCTION auth.role() RETURNS text LANGUAGE sql STABLE AS $$
    SELECT coalesce(
        nullif(current_setting('request.jwt.claim.role', true), ''),
        (nullif(current_setting('request.jwt.claims', true), '')::jsonb ->> 'role')
    )::text
$$;
-- 20220531120530_add_auth_jwt_function
CREATE FUNCTION auth.jwt() RETURNS jsonb LANGUAGE sql STABLE AS $$
    SELECT coalesce(
        nullif(current_setting('request.jwt.claim', true), ''),
        nullif(current_setting('request.jwt.claims', true), '')
    )::jsonb
$$;
RESET ROLE;

-- init-scripts/00000000000002-storage-schema.sql
CREATE SCHEMA storage AUTHORIZATION supabase_admin;
GRANT USAGE ON SCHEMA storage TO postgres, anon, authenticated, service_role;
GRANT ALL ON SCHEMA storage TO supabase_storage_admin;
-- github.com/supabase/storage, folder migrations/tenant at commit 4fa61fba: 0002-storage-schema,
-- 0008-add-public-to-buckets, 0013-add-bucket-custom-limits, 0014-use-bytes-for-max-size, 0016-add-version,
-- 0017-drop-owner-foreign-key, 0018-add_owner_id_column_deprecate_owner, 0025-custom-metadata. Left out are what
-- only Storage uses, and the trigger of 0055-prevent-direct-deletes.
CREATE TABLE storage.buckets (
    id text NOT NULL PRIMARY KEY,
    name text NOT NULL UNIQUE,
    owner uuid,
    created_at timestamptz DEFAULT now(),
    updated_at timestamptz DEFAULT now(),
    public boolean DEFAULT false,
    file_size_limit bigint,
    allowed_mime_types text[],
    owner_id text
);
CREATE TABLE storage.objects (
    id uuid NOT NULL DEFAULT gen_random_uuid() PRIMARY KEY,
    bucket_id text REFERENCES storage.buckets (id),
    name text,
    owner uuid,
    created_at timestamptz DEFAULT now(),
    updated_at timestamptz DEFAULT now(),
    last_accessed_at timestamptz DEFAULT now(),
    metadata jsonb,
    version text,
    owner_id text,
    user_metadata jsonb,
    UNIQUE (bucket_id, name)
);
ALTER TABLE storage.buckets OWNER TO supabase_storage_admin;
ALTER TABLE storage.objects OWNER TO supabase_storage_admin;
-- 0002-storage-schema, 0007-add-rls-to-buckets, 0046-buckets-objects-grants, 0049-buckets-objects-grants-postgres
ALTER TABLE storage.buckets ENABLE ROW LEVEL SECURITY;
ALTER TABLE storage.objects ENABLE ROW LEVEL SECURITY;
GRANT ALL ON storage.buckets, storage.objects TO anon, authenticated, service_role;
GRANT ALL ON storage.buckets, storage.objects TO postgres WITH GRANT OPTION;
-- 0060-optimize-existing-functions-again: all parts of a path but the last.
CREATE FUNCTION storage.foldername(name text) RETURNS text[] LANGUAGE sql IMMUTABLE AS $$
    SELECT parts[:cardinality(parts) - 1] FROM string_to_array(name, '/') AS parts
$$;

-- migrations/20211118015519_create-realtime-schema.sql
CREATE SCHEMA realtime AUTHORIZATION supabase_admin;

-- migrations/20220126121436_finer-postgrest-triggers.sql, shortened: every change of the schema is announced.
CREATE FUNCTION extensions.pgrst_ddl_watch() RETURNS event_trigger LANGUAGE plpgsql AS $$
BEGIN
    NOTIFY pgrst, 'reload schema';
END
$$;
CREATE EVENT TRIGGER pgrst_ddl_watch ON ddl_command_end EXECUTE FUNCTION extensions.pgrst_ddl_watch();
CREATE EVENT TRIGGER pgrst_drop_watch ON sql_drop EXECUTE FUNCTION extensions.pgrst_ddl_watch();
