import './styles/index.css';

import { StrictMode, type ReactNode } from 'react';
import { createRoot } from 'react-dom/client';

import { App } from './App';
import { ErrorBoundary, Notice } from './ErrorBoundary';
import { createAuth } from './session/auth';
import { loadSettings } from './settings';

async function page(): Promise<ReactNode> {
  try {
    const settings = await loadSettings();
    return <App auth={createAuth(settings)} settings={settings} />;
  } catch (error) {
    return <Notice>{(error as Error).message}</Notice>;
  }
}

const root = createRoot(document.getElementById('root')!);
root.render(
  <StrictMode>
    <ErrorBoundary>{await page()}</ErrorBoundary>
  </StrictMode>,
);
