-- infra/deploy/supabase/policies.sql of the release before the chat had a schema of its own (commit 82df6ed).
-- For Supabase databases only: ties profiles to Supabase's users and restricts what its API may read.
-- Run it as the owner of the tables after `bbgram migrate`, and again after each upgrade:
--   psql "$BBGRAM_DATABASE_URL" -v ON_ERROR_STOP=1 -f infra/deploy/supabase/policies.sql
-- Row-level security does not apply to the workers, because they connect as the owner. Through the API,
-- signed-in users can read their own data and write nothing: they write through the chat.

BEGIN;

-- Deleting a user deletes the profile, and with it its chats and messages.
DO $$
BEGIN
    IF NOT EXISTS (SELECT FROM pg_constraint WHERE conname = 'profiles_auth_user') THEN
        ALTER TABLE public.profiles ADD CONSTRAINT profiles_auth_user
            FOREIGN KEY (id) REFERENCES auth.users (id) ON DELETE CASCADE;
    END IF;
END
$$;

ALTER TABLE public.alembic_version ENABLE ROW LEVEL SECURITY;
ALTER TABLE public.profiles ENABLE ROW LEVEL SECURITY;
ALTER TABLE public.chats ENABLE ROW LEVEL SECURITY;
ALTER TABLE public.chat_members ENABLE ROW LEVEL SECURITY;
ALTER TABLE public.messages ENABLE ROW LEVEL SECURITY;
ALTER TABLE public.dead_letters ENABLE ROW LEVEL SECURITY;
ALTER TABLE public.devices ENABLE ROW LEVEL SECURITY;
ALTER TABLE public.undelivered ENABLE ROW LEVEL SECURITY;
ALTER TABLE public.notifications ENABLE ROW LEVEL SECURITY;
ALTER TABLE public.archived_chats ENABLE ROW LEVEL SECURITY;
ALTER TABLE public.archive_holds ENABLE ROW LEVEL SECURITY;

REVOKE ALL ON public.alembic_version, public.profiles, public.chats, public.chat_members,
    public.messages, public.dead_letters, public.devices, public.undelivered, public.notifications,
    public.archived_chats, public.archive_holds FROM PUBLIC, anon, authenticated;
GRANT SELECT ON public.profiles, public.chats, public.chat_members, public.messages TO authenticated;

-- `(SELECT auth.uid())` is evaluated once per query, `auth.uid()` would be once per row.
DROP POLICY IF EXISTS members_read_their_chats ON public.chats;
CREATE POLICY members_read_their_chats ON public.chats FOR SELECT TO authenticated
    USING ((SELECT auth.uid()) IN (user_lo, user_hi));

DROP POLICY IF EXISTS members_read_their_watermarks ON public.chat_members;
CREATE POLICY members_read_their_watermarks ON public.chat_members FOR SELECT TO authenticated
    USING (EXISTS (SELECT FROM public.chats WHERE chats.id = chat_members.chat_id));

DROP POLICY IF EXISTS members_read_their_messages ON public.messages;
CREATE POLICY members_read_their_messages ON public.messages FOR SELECT TO authenticated
    USING ((SELECT auth.uid()) IN (sender_id, recipient_id));

DROP POLICY IF EXISTS people_read_their_peers ON public.profiles;
CREATE POLICY people_read_their_peers ON public.profiles FOR SELECT TO authenticated
    USING (
        id = (SELECT auth.uid())
        OR EXISTS (SELECT FROM public.chats WHERE profiles.id IN (chats.user_lo, chats.user_hi))
    );

COMMIT;
