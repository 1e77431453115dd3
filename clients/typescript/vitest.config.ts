import { defineConfig } from 'vitest/config';

// On a busy machine, any process may stand still for seconds.
const patience = { testTimeout: 120_000, hookTimeout: 120_000 };

export default defineConfig({
  test: {
    dir: 'test',
    projects: [
      { test: { name: 'unit', include: ['test/unit/**/*.test.{ts,tsx}'], ...patience } },
      // Needs a deployment: tests/e2e/test_typescript_client.py starts one and gives its addresses.
      { test: { name: 'edge', include: ['test/edge/**/*.test.ts'], exclude: process.env.BBGRAM_FAULTS ? [] : ['**/faults.test.ts'], ...patience } },
    ],
  },
});
