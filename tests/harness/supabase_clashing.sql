-- Tables of an app that uses the same names as the chat, and Alembic.
CREATE TABLE public.chats (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, title text NOT NULL);
CREATE TABLE public.chat_members (chat_id bigint REFERENCES public.chats (id), member text NOT NULL);
CREATE TABLE public.messages (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    chat_id bigint REFERENCES public.chats (id) ON DELETE CASCADE,
    body text NOT NULL
);
CREATE TABLE public.devices (id text PRIMARY KEY, push_token text);
CREATE TABLE public.notifications (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, title text);
CREATE FUNCTION public.username_key(name text) RETURNS text LANGUAGE sql IMMUTABLE AS $$ SELECT 'wrong' $$;
CREATE TABLE public.alembic_version (version_num varchar(32) PRIMARY KEY);
INSERT INTO public.chats (title) VALUES ('Holidays');
INSERT INTO public.chat_members (chat_id, member) VALUES (1, 'zoe');
INSERT INTO public.messages (chat_id, body) VALUES (1, 'Where to?'), (1, 'Home');
INSERT INTO public.devices VALUES ('phone', 'abc');
INSERT INTO public.notifications (title) VALUES ('Welcome');
-- The number of one of the chat's own migrations: an app may count like this too.
INSERT INTO public.alembic_version VALUES ('0003');
