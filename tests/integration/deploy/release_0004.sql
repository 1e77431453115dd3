-- The tables of the release before the chat had a schema of its own (revision 0004, commit 82df6ed), in `public`.
-- Made on Postgres 18: `bbgram migrate` of that commit on an empty database, then
-- `pg_dump --schema-only --no-owner --no-privileges --no-comments`, without its comments and session settings.

CREATE FUNCTION public.chats_forget_last_to() RETURNS trigger
    LANGUAGE plpgsql
    AS $$
BEGIN
    NEW.last_to_lo := NULL;
    NEW.last_to_hi := NULL;
    RETURN NEW;
END
$$;

CREATE FUNCTION public.profiles_fold_key() RETURNS trigger
    LANGUAGE plpgsql
    AS $$
BEGIN
    NEW.username_key := btrim(regexp_replace(
        normalize(regexp_replace(NEW.username_key, '[\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u202a-\u202e\u2060-\u206f\u3164\ufe00-\ufe0f\ufeff\uffa0\ufff0-\ufff8\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0000-\U000e0fff]', '', 'g'), NFKC), ' +', ' ', 'g'
    ));
    IF NEW.username_key = '' THEN
        RETURN NULL;
    END IF;
    RETURN NEW;
END
$$;

CREATE TABLE public.alembic_version (
    version_num character varying(32) NOT NULL
);

CREATE TABLE public.archive_holds (
    day date NOT NULL,
    until timestamp with time zone NOT NULL
);

CREATE TABLE public.archived_chats (
    chat_id uuid NOT NULL,
    seqs int8multirange NOT NULL
);

CREATE TABLE public.chat_members (
    chat_id uuid NOT NULL,
    user_id uuid NOT NULL,
    delivered_seq bigint DEFAULT 0 NOT NULL,
    read_seq bigint DEFAULT 0 NOT NULL,
    joined_at timestamp with time zone
)
WITH (fillfactor='80');

CREATE TABLE public.chats (
    id uuid NOT NULL,
    user_lo uuid NOT NULL,
    user_hi uuid NOT NULL,
    last_seq bigint DEFAULT 0 NOT NULL,
    activity_at timestamp with time zone DEFAULT now() NOT NULL,
    sweep_at timestamp with time zone,
    swept_seq bigint DEFAULT 0 NOT NULL,
    last_to_lo bigint DEFAULT 0,
    last_to_hi bigint DEFAULT 0,
    CONSTRAINT chats_pair_ordered CHECK ((user_lo <= user_hi))
)
WITH (fillfactor='80');

CREATE TABLE public.dead_letters (
    id uuid NOT NULL,
    event text NOT NULL,
    user_id uuid NOT NULL,
    payload text NOT NULL,
    error text NOT NULL,
    created_at timestamp with time zone DEFAULT now() NOT NULL
);

CREATE TABLE public.devices (
    id uuid NOT NULL,
    user_id uuid NOT NULL,
    channel text NOT NULL,
    address text NOT NULL,
    p256dh text,
    auth text,
    endpoint text,
    time_zone text,
    registered_at timestamp with time zone DEFAULT now() NOT NULL
);

CREATE TABLE public.messages (
    chat_id uuid NOT NULL,
    seq bigint NOT NULL,
    id uuid NOT NULL,
    sender_id uuid NOT NULL,
    recipient_id uuid NOT NULL,
    text text NOT NULL,
    client_id text,
    created_at timestamp with time zone NOT NULL
);

CREATE TABLE public.notifications (
    id uuid NOT NULL,
    user_id uuid NOT NULL,
    chat_ids uuid[] NOT NULL,
    first_seqs bigint[] NOT NULL,
    last_seqs bigint[] NOT NULL,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    next_at timestamp with time zone DEFAULT now() NOT NULL,
    tries bigint DEFAULT 0 NOT NULL,
    claimed_until timestamp with time zone,
    sent_to uuid[] DEFAULT '{}'::uuid[] NOT NULL,
    finished_at timestamp with time zone,
    outcome text
);

CREATE TABLE public.profiles (
    id uuid NOT NULL,
    username text NOT NULL,
    username_key text NOT NULL,
    last_seen_at timestamp with time zone,
    created_at timestamp with time zone DEFAULT now() NOT NULL
);

CREATE TABLE public.undelivered (
    chat_id uuid NOT NULL,
    user_id uuid NOT NULL,
    check_at timestamp with time zone,
    notified_seq bigint DEFAULT 0 NOT NULL
);

ALTER TABLE ONLY public.alembic_version
    ADD CONSTRAINT alembic_version_pkc PRIMARY KEY (version_num);

ALTER TABLE ONLY public.archive_holds
    ADD CONSTRAINT archive_holds_pkey PRIMARY KEY (day);

ALTER TABLE ONLY public.archived_chats
    ADD CONSTRAINT archived_chats_pkey PRIMARY KEY (chat_id);

ALTER TABLE ONLY public.chat_members
    ADD CONSTRAINT chat_members_pkey PRIMARY KEY (chat_id, user_id);

ALTER TABLE ONLY public.chats
    ADD CONSTRAINT chats_pkey PRIMARY KEY (id);

ALTER TABLE ONLY public.dead_letters
    ADD CONSTRAINT dead_letters_pkey PRIMARY KEY (id);

ALTER TABLE ONLY public.devices
    ADD CONSTRAINT devices_pkey PRIMARY KEY (id);

ALTER TABLE ONLY public.devices
    ADD CONSTRAINT devices_user_id_channel_address_key UNIQUE (user_id, channel, address);

ALTER TABLE ONLY public.messages
    ADD CONSTRAINT messages_pkey PRIMARY KEY (chat_id, seq);

ALTER TABLE ONLY public.notifications
    ADD CONSTRAINT notifications_pkey PRIMARY KEY (id);

ALTER TABLE ONLY public.profiles
    ADD CONSTRAINT profiles_pkey PRIMARY KEY (id);

ALTER TABLE ONLY public.profiles
    ADD CONSTRAINT profiles_username_key_key UNIQUE (username_key);

ALTER TABLE ONLY public.undelivered
    ADD CONSTRAINT undelivered_pkey PRIMARY KEY (chat_id, user_id);

CREATE INDEX chat_members_user ON public.chat_members USING btree (user_id);

CREATE UNIQUE INDEX chats_pair ON public.chats USING btree (user_lo, user_hi);

CREATE INDEX chats_sweep ON public.chats USING btree (sweep_at) WHERE (sweep_at IS NOT NULL);

CREATE INDEX chats_user_hi ON public.chats USING btree (user_hi);

CREATE INDEX dead_letters_age ON public.dead_letters USING btree (created_at);

CREATE INDEX devices_age ON public.devices USING btree (registered_at);

CREATE UNIQUE INDEX devices_one_owner ON public.devices USING btree (channel, address) WHERE (channel = ANY (ARRAY['fcm'::text, 'apns'::text, 'webpush'::text]));

CREATE UNIQUE INDEX messages_once ON public.messages USING btree (sender_id, COALESCE(client_id, (id)::text));

CREATE INDEX notifications_age ON public.notifications USING btree (created_at);

CREATE INDEX notifications_open ON public.notifications USING btree (next_at) WHERE (finished_at IS NULL);

CREATE INDEX notifications_user ON public.notifications USING btree (user_id, created_at);

CREATE INDEX undelivered_check ON public.undelivered USING btree (check_at) WHERE (check_at IS NOT NULL);

CREATE INDEX undelivered_user ON public.undelivered USING btree (user_id);

CREATE TRIGGER chats_forget_last_to BEFORE UPDATE OF last_seq ON public.chats FOR EACH ROW WHEN (((new.last_seq > old.last_seq) AND (NOT (new.last_to_lo IS DISTINCT FROM old.last_to_lo)) AND (NOT (new.last_to_hi IS DISTINCT FROM old.last_to_hi)))) EXECUTE FUNCTION public.chats_forget_last_to();

CREATE TRIGGER profiles_fold_key BEFORE INSERT ON public.profiles FOR EACH ROW EXECUTE FUNCTION public.profiles_fold_key();

ALTER TABLE ONLY public.archived_chats
    ADD CONSTRAINT archived_chats_chat_id_fkey FOREIGN KEY (chat_id) REFERENCES public.chats(id) ON DELETE CASCADE;

ALTER TABLE ONLY public.chat_members
    ADD CONSTRAINT chat_members_chat_id_fkey FOREIGN KEY (chat_id) REFERENCES public.chats(id) ON DELETE CASCADE;

ALTER TABLE ONLY public.chat_members
    ADD CONSTRAINT chat_members_user_id_fkey FOREIGN KEY (user_id) REFERENCES public.profiles(id) ON DELETE CASCADE;

ALTER TABLE ONLY public.chats
    ADD CONSTRAINT chats_user_hi_fkey FOREIGN KEY (user_hi) REFERENCES public.profiles(id) ON DELETE CASCADE;

ALTER TABLE ONLY public.chats
    ADD CONSTRAINT chats_user_lo_fkey FOREIGN KEY (user_lo) REFERENCES public.profiles(id) ON DELETE CASCADE;

ALTER TABLE ONLY public.devices
    ADD CONSTRAINT devices_user_id_fkey FOREIGN KEY (user_id) REFERENCES public.profiles(id) ON DELETE CASCADE;

ALTER TABLE ONLY public.messages
    ADD CONSTRAINT messages_chat_id_fkey FOREIGN KEY (chat_id) REFERENCES public.chats(id) ON DELETE CASCADE;

ALTER TABLE ONLY public.notifications
    ADD CONSTRAINT notifications_user_id_fkey FOREIGN KEY (user_id) REFERENCES public.profiles(id) ON DELETE CASCADE;

ALTER TABLE ONLY public.undelivered
    ADD CONSTRAINT undelivered_chat_id_fkey FOREIGN KEY (chat_id) REFERENCES public.chats(id) ON DELETE CASCADE;

ALTER TABLE ONLY public.undelivered
    ADD CONSTRAINT undelivered_user_id_fkey FOREIGN KEY (user_id) REFERENCES public.profiles(id) ON DELETE CASCADE;

INSERT INTO public.alembic_version (version_num) VALUES ('0004');
