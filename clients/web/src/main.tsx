import './styles/index.css';

import { StrictMode } from 'react';
import { createRoot } from 'react-dom/client';

import { App } from './App';
import { createAuth } from './session/auth';
import { loadSettings } from './settings';

const root = createRoot(document.getElementById('root')!);

loadSettings().then(
  (settings) =>
    root.render(
      <StrictMode>
        <App auth={createAuth(settings)} settings={settings} />
      </StrictMode>,
    ),
  (error: Error) =>
    root.render(
      <p className="notice" role="alert">
        {error.message}
      </p>,
    ),
);
