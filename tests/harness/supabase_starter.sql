-- Supabase's quick-start "User Management Starter", as its user postgres runs it in the SQL editor:
-- github.com/supabase/supabase, examples/user-management/expo-user-management/supabase/migrations/
-- 20240403090422_init.sql, with `ON DELETE CASCADE` as in the dashboard's template.
create table profiles (
  id uuid references auth.users on delete cascade not null primary key,
  updated_at timestamp with time zone,
  username text unique,
  full_name text,
  avatar_url text,
  website text,

  constraint username_length check (char_length(username) >= 3)
);
alter table profiles enable row level security;

create policy "Public profiles are viewable by everyone." on profiles
  for select using (true);

create policy "Users can insert their own profile." on profiles
  for insert with check ((select auth.uid()) = id);

create policy "Users can update own profile." on profiles
  for update using ((select auth.uid()) = id);

create function public.handle_new_user()
returns trigger
set search_path = ''
as $$
begin
  insert into public.profiles (id, full_name, avatar_url)
  values (new.id, new.raw_user_meta_data->>'full_name', new.raw_user_meta_data->>'avatar_url');
  return new;
end;
$$ language plpgsql security definer;
create trigger on_auth_user_created
  after insert on auth.users
  for each row execute procedure public.handle_new_user();

-- Where new tables are not exposed by themselves, the starter's table has to be.
grant select, insert, update, delete on public.profiles to anon, authenticated, service_role;
