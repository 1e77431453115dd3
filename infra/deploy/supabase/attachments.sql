-- Files of messages in Supabase Storage: a private bucket for the members of each chat.
-- Run it once, after `bbgram migrate`, as the project's user postgres, with psql or in Supabase's SQL editor. Running it
-- again does no harm. Leave each statement a transaction of its own: in a Supabase project, a statement about policies
-- locks the tables of Auth and Storage until the end of its transaction.
--
-- Change what differs in your project, everywhere below:
--   chat-attachments   the bucket
--   20971520           the largest file, in bytes
--   bbgram             the schema of the chat (BBGRAM_DATABASE_SCHEMA)

INSERT INTO storage.buckets (id, name, public, file_size_limit)
VALUES ('chat-attachments', 'chat-attachments', false, 20971520)
ON CONFLICT (id) DO UPDATE SET public = false;

-- The path of a file is <id of the chat>/<uuid>/<name>. The policies of bbgram.chats say which chats are the reader's.
DROP POLICY IF EXISTS bbgram_members_read_attachments ON storage.objects;
CREATE POLICY bbgram_members_read_attachments ON storage.objects FOR SELECT TO authenticated
    USING (
        bucket_id = 'chat-attachments'
        AND (storage.foldername(name))[1] IN (SELECT id::text FROM bbgram.chats)
    );

DROP POLICY IF EXISTS bbgram_members_add_attachments ON storage.objects;
CREATE POLICY bbgram_members_add_attachments ON storage.objects FOR INSERT TO authenticated
    WITH CHECK (
        bucket_id = 'chat-attachments'
        AND cardinality(storage.foldername(name)) = 2
        AND (storage.foldername(name))[1] IN (SELECT id::text FROM bbgram.chats)
    );

-- There is no policy for UPDATE: nobody replaces or moves a file.
DROP POLICY IF EXISTS bbgram_senders_delete_attachments ON storage.objects;
CREATE POLICY bbgram_senders_delete_attachments ON storage.objects FOR DELETE TO authenticated
    USING (bucket_id = 'chat-attachments' AND owner_id = (SELECT auth.uid())::text);
