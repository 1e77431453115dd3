import { defineConfig } from 'vitest/config';

export default defineConfig({
  test: {
    dir: 'test',
    projects: [
      { test: { name: 'unit', include: ['test/unit/**/*.test.{ts,tsx}'] } },
      // Needs a deployment: tests/e2e/test_typescript_client.py starts one and gives its addresses.
      { test: { name: 'edge', include: ['test/edge/**/*.test.ts'], exclude: process.env.BBGRAM_FAULTS ? [] : ['**/faults.test.ts'], testTimeout: 30_000, hookTimeout: 30_000 } },
    ],
  },
});
