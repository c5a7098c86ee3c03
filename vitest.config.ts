import { defineConfig } from "vitest/config";

export default defineConfig({
  test: {
    include: ["test/**/*.test.ts"],
    globalSetup: "test/build.ts",
    // A software driver compiles some kernels for seconds; a loaded machine doubles that.
    testTimeout: 300_000,
    hookTimeout: 300_000,
    // Each file in a process of its own, two at a time: alone, a file leaves a third of two cores idle. More share an adapter badly.
    pool: "forks",
    maxWorkers: 2,
  },
});
