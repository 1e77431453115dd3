import { useState, type FormEvent } from 'react';

import { Avatar } from '../Avatar';
import type { Settings } from '../settings';
import type { Auth } from './auth';

/** Signs in: ready-made users with one click, everybody else with an e-mail address. */
export function SignIn({ auth, settings }: { auth: Auth; settings: Settings }) {
  const [error, setError] = useState('');
  const [busy, setBusy] = useState(false);

  async function attempt(action: () => Promise<string | void>) {
    setBusy(true);
    setError('');
    try {
      setError((await action()) ?? '');
    } catch (problem) {
      setError((problem as Error).message);
    } finally {
      setBusy(false);
    }
  }

  const form = <EmailForm auth={auth} busy={busy} attempt={attempt} />;
  return (
    <main className="sign-in">
      <div className="sign-in__card">
        <img src="./icon.svg" alt="" width="44" height="44" />
        <h1>BB-Gram chat</h1>
        {settings.local && (
          <ReadyMade
            names={settings.local.readyMade}
            busy={busy}
            onChoose={(name) => attempt(() => auth.signInReadyMade(name))}
          />
        )}
        {settings.local ? (
          <details>
            <summary>With an e-mail address</summary>
            {form}
          </details>
        ) : (
          form
        )}
        <p className="error" role="alert">
          {error}
        </p>
      </div>
    </main>
  );
}

function ReadyMade({ names, busy, onChoose }: { names: readonly string[]; busy: boolean; onChoose: (name: string) => void }) {
  return (
    <>
      <p className="muted">Be one of them here, and the other one in a second window.</p>
      <div className="sign-in__people">
        {names.map((name) => (
          <button key={name} type="button" className="sign-in__person" disabled={busy} onClick={() => onChoose(name)}>
            <Avatar user={{ username: name }} />
            <span className="capitalised">{name}</span>
          </button>
        ))}
      </div>
    </>
  );
}

interface EmailFormProps {
  auth: Auth;
  busy: boolean;
  attempt: (action: () => Promise<string | void>) => Promise<void>;
}

function EmailForm({ auth, busy, attempt }: EmailFormProps) {
  const [isNew, setIsNew] = useState(false);

  function submit(event: FormEvent<HTMLFormElement>) {
    event.preventDefault();
    const form = new FormData(event.currentTarget);
    const [email, password, username] = ['email', 'password', 'username'].map((name) => String(form.get(name) ?? ''));
    void attempt(() => (isNew ? signUp(auth, email!, password!, username!) : signIn(auth, email!, password!)));
  }

  return (
    <form className="sign-in__form" onSubmit={submit}>
      {isNew && <Field label="Username" name="username" autoComplete="username" />}
      <Field label="E-mail" name="email" type="email" autoComplete="email" />
      <Field label="Password" name="password" type="password" autoComplete={isNew ? 'new-password' : 'current-password'} />
      <button type="submit" className="button button--main" disabled={busy}>
        {isNew ? 'Sign up' : 'Sign in'}
      </button>
      <button type="button" className="button button--plain" onClick={() => setIsNew(!isNew)}>
        {isNew ? 'I have an account' : 'I am new here'}
      </button>
    </form>
  );
}

function Field({ label, ...input }: { label: string; name: string; type?: string; autoComplete: string }) {
  return (
    <label className="field">
      {label}
      <input required dir="auto" {...input} />
    </label>
  );
}

async function signIn(auth: Auth, email: string, password: string): Promise<void> {
  const { error } = await auth.supabase.auth.signInWithPassword({ email, password });
  if (error) throw error;
}

async function signUp(auth: Auth, email: string, password: string, username: string): Promise<string | void> {
  const { data, error } = await auth.supabase.auth.signUp({ email, password, options: { data: { username } } });
  if (error) throw error;
  if (!data.session) return 'Confirm your e-mail address, then sign in.';
}
