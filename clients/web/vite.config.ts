import { fileURLToPath } from 'node:url';

import react from '@vitejs/plugin-react';
import { defineConfig } from 'vite';

import { contentSecurityPolicy } from './csp.ts';

/** Where `make run` serves the sign-in service, for `npm run dev`. */
const localStack = process.env.BBGRAM_LOCAL_STACK ?? 'http://127.0.0.1:3001';

/** The package is built from its source beside this folder. An app of its own installs it, and drops this. */
const source = (file: string) => fileURLToPath(new URL(`../typescript/src/${file}`, import.meta.url));

export default defineConfig({
  base: './',
  plugins: [react(), contentSecurityPolicy()],
  resolve: {
    alias: [
      { find: /^@bbgram\/chat$/, replacement: source('index.ts') },
      { find: /^@bbgram\/chat\/react$/, replacement: source('react.ts') },
    ],
    dedupe: ['react', 'react-dom', 'socket.io-client'],
  },
  build: { chunkSizeWarningLimit: 700 },
  server: { host: '127.0.0.1', proxy: { '/dev': localStack, '/auth/v1': localStack } },
});
