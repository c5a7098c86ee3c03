/** The model that comes with the package prefers what was written to what was not. */
import { expect, it } from "vitest";
import { readGgufMetadata } from "../../src/model/gguf-metadata.ts";
import { openModel } from "../../src/model/model.ts";
import { tokenizerFromMetadata } from "../../src/model/tokenizer.ts";
import { Oracle } from "../../src/oracle/oracle.ts";

const PATH = new URL("../../models/faultline-tiny-f16.gguf", import.meta.url).pathname;

it("finds true continuations likelier than shuffled ones, by more than 2 nats a token", async () => {
  const model = await openModel(PATH);
  const tokenizer = tokenizerFromMetadata(readGgufMetadata(PATH));
  const verse = tokenizer.encode(
    "And the LORD spake unto Moses, saying, Speak unto the children of Israel, and say unto them",
  );
  const [context, continuation] = [verse.slice(0, 8), verse.slice(8)];
  const meanLogProbability = (tokens: readonly number[]) => {
    const oracle = new Oracle(model);
    let sum = 0;
    for (const [i, token] of tokens.entries()) {
      const logits = i === 0 ? oracle.step(0, context) : oracle.step(context.length + i - 1, [tokens[i - 1] ?? 0]);
      const largest = logits.reduce((a, b) => Math.max(a, b));
      const total = logits.reduce((all, logit) => all + Math.exp(logit - largest), 0);
      sum += (logits[token] ?? Number.NaN) - largest - Math.log(total);
    }
    return sum / tokens.length;
  };
  const shuffled = [...continuation].sort((a, b) => ((a * 31) % 17) - ((b * 31) % 17) || a - b);
  expect(meanLogProbability(continuation) - meanLogProbability(shuffled)).toBeGreaterThan(2);
});
