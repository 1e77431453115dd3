-- Takes the users of the chat from a table of your app: names, renames and deletions.
-- Run it once, after `bbgram migrate` and as the same user, with psql or in Supabase's SQL editor. Running it again
-- does no harm, and repairs what failed.
--
-- Change what differs in your project, everywhere below:
--   public.profiles   the app's table; `id` is the Supabase user id (uuid)
--   username          its column with the name that peers see and write to; NULL: not chosen yet
--   bbgram            the schema of the chat (BBGRAM_DATABASE_SCHEMA)
-- To change a column later, first DROP TRIGGER bbgram_mirror_profile ON public.profiles.

DO $$ BEGIN
    CREATE CONSTRAINT TRIGGER bbgram_mirror_profile AFTER INSERT OR UPDATE OR DELETE ON public.profiles
        DEFERRABLE INITIALLY DEFERRED
        FOR EACH ROW EXECUTE FUNCTION bbgram.mirror_profile('id', 'username');
EXCEPTION WHEN duplicate_object THEN NULL; -- It is there already.
END $$;

-- Copy existing users.
SELECT * FROM bbgram.mirror_profiles('public.profiles', 'id', 'username');

-- Names that were refused, and why. The app's own writes succeed in any case.
SELECT * FROM bbgram.names_not_taken;
