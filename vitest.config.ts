import { defineConfig } from "vitest/config";

export default defineConfig({
  test: {
    include: ["test/**/*.test.ts"],
    globalSetup: "test/build.ts",
    // A software driver compiles some kernels for seconds; a loaded machine doubles that.
    testTimeout: 300_000,
    hookTimeout: 300_000,
    // The software adapter uses both cores of a small machine; files run one after the other, each in a process of its own.
    pool: "forks",
    fileParallelism: false,
  },
});
