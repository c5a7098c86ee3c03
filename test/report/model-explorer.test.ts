/** The graph for Google's Model Explorer, of a real comparison: its node data lies over it, edges lead somewhere, what is at fault is marked. */
import { mkdtempSync, readFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, it } from "vitest";
import { openModel } from "../../src/model/model.ts";
import { faultline } from "../support/cli.ts";

interface Node {
  readonly id: string;
  readonly label: string;
  readonly namespace: string;
  readonly attrs: readonly { readonly key: string; readonly value: string }[];
  readonly incomingEdges: readonly { readonly sourceNodeId: string; readonly targetNodeInputId: string }[];
}

const folder = mkdtempSync(join(tmpdir(), "faultline-model-explorer-"));
const at = (name: string) => join(folder, name);
const model = "models/faultline-tiny-f16.gguf";
const json = (name: string): unknown => JSON.parse(readFileSync(at(name), "utf8"));

it("has every op with its inputs, and marks the one at fault", async () => {
  for (const [name, ...fault] of [["right"], ["wrong", "--fault", "rope.pairing@blk.2.q_rope"]]) {
    const args = ["trace", model, "--tokens", "1,20,300", "--capture", "full", "-q", "-o", at(`${name}.arrow`)];
    expect(faultline(...args, ...fault).status).toBe(0);
  }
  const files = ["--model-explorer", at("data.json"), "--model-explorer-graph", at("graph.json")];
  expect(faultline("compare", at("right.arrow"), at("wrong.arrow"), "--model", model, ...files).status).toBe(1);

  const { graphs } = json("graph.json") as { graphs: readonly { nodes: readonly Node[] }[] };
  const nodes = graphs[0]?.nodes ?? [];
  const { graph, file } = await openModel(model);
  file.close();
  const found = new Map(nodes.map((node) => [node.id, node]));
  expect(found.size).toBe(nodes.length);
  for (const { op, inputs } of graph) {
    const { namespace, label, incomingEdges } = found.get(op.tap) ?? { namespace: "", label: "", incomingEdges: [] };
    expect(incomingEdges.map(({ sourceNodeId }) => sourceNodeId)).toEqual(
      expect.arrayContaining(inputs.map(({ tap }) => tap)),
    );
    expect([namespace, label.replace("✕ ", "")].filter((part) => part !== "").join(".")).toBe(op.tap);
  }
  for (const { incomingEdges } of nodes)
    for (const { sourceNodeId } of incomingEdges) expect(found.has(sourceNodeId)).toBe(true);
  expect(nodes.filter(({ label }) => label.startsWith("✕")).map(({ id }) => id)).toEqual(["blk.2.q_rope"]);
  expect(
    Object.fromEntries(found.get("blk.2.q_rope")?.attrs.map(({ key, value }) => [key, value]) ?? []),
  ).toMatchObject({ verdict: "numeric", "by itself": "proved", finding: expect.stringContaining("rope.pairing") });
  const { results } = json("data.json") as { results: Record<string, unknown> };
  expect(Object.keys(results).filter((tap) => !found.has(tap))).toEqual([]);
});
