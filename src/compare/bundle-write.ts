/** A repro bundle: one op of a run with all that it takes to compute it again, in a folder that anybody can read. */
import { existsSync, mkdirSync, readdirSync, renameSync, rmdirSync, rmSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileDigest, type Model } from "../model/model.ts";
import { arithmeticOf } from "../oracle/arithmetic.ts";
import { bounded } from "../oracle/bounds.ts";
import { opCase } from "../oracle/op-case.ts";
import { OracleWeights } from "../oracle/oracle.ts";
import { shapeOf } from "../trace/dims.ts";
import { InputError, TraceError } from "../trace/errors.ts";
import { systemReason } from "../trace/files.ts";
import { type NpyData, type NpyElement, writeNpy } from "../trace/npy.ts";
import type { AuditedOp } from "./audit-node.ts";
import { BUNDLE_SCHEMA, type BundleFacts, bundleSchema } from "./bundle-schema.ts";
import type { TraceValues } from "./run-values.ts";

/** A tensor of a bundle on its way to its file. */
type BundleFile = {
  [E in NpyElement]: {
    readonly file: string;
    readonly element: E;
    readonly shape: readonly number[];
    readonly data: NpyData<E>;
  };
}[NpyElement];

/** Dims of an input: cached rows are those of all keys. */
export const inputDims = (dims: string, cached: boolean) => (cached ? dims.replace(/\btoken\b/, "key") : dims);

/**
 * Writes the bundle of an op that an audit judged. Throws TraceError where the run lacks a value, InputError where the folder
 * cannot be written; then nothing is left behind.
 */
export async function bundleOf(
  model: Model,
  run: TraceValues,
  op: Pick<AuditedOp, "step" | "tap" | "own">,
  folder: string,
  diagnosis: string | null = null,
): Promise<void> {
  checkFree(folder);
  const { facts, files } = await contentsOf(model, run, op, diagnosis);
  writeBundle(folder, facts, files);
}

async function contentsOf(
  model: Model,
  run: TraceValues,
  { step, tap, own }: Pick<AuditedOp, "step" | "tap" | "own">,
  diagnosis: string | null,
): Promise<{ facts: BundleFacts; files: BundleFile[] }> {
  const node = model.graph.find((each) => each.op.tap === tap);
  const record = run.record(step, tap);
  const actual = await run.values(step, tap);
  if (node === undefined || record === undefined || actual === null || own === null || own.verdict === "not-judged") {
    throw new TraceError(
      `${run.trace.path}: ${tap} of step ${step} was not judged (${run.problem(step, tap) ?? "inputs are missing"}); a bundle needs its values`,
    );
  }
  const weights = new OracleWeights(model);
  const { inputs, context } = await opCase(model, run, step, node, (name, ids) => weights.get(name, ids));
  const { tokens, posStart } = context;
  const { producer, model: source, faults } = run.trace.manifest;
  const right = bounded(model, node.op, inputs, context, arithmeticOf(record.dtype, producer));
  const sizes = model.axes(tokens.length, posStart + tokens.length);
  const { rope, ...parameters } = model.parameters;

  const given = node.inputs.map((input, i) => {
    const dims = inputDims(model.graph.find((each) => each.op.tap === input.tap)?.op.dims ?? "", input.cached);
    return { ...input, dims, file: `input-${i}.npy` };
  });
  const held = node.op.weights.map((name, i) => {
    const tensor = model.file.tensor(name);
    const rows = node.op.kind === "embed" ? [...new Set(tokens)].sort((a, b) => a - b) : null;
    const data = rows === null ? model.file.readRows(tensor) : new Uint8Array(rows.length * tensor.rowBytes);
    for (const [at, row] of rows?.entries() ?? []) data.set(model.file.readRows(tensor, row, 1), at * tensor.rowBytes);
    const facts = { name, dims: model.weights.get(name) ?? "", type: tensor.type.name, rows, file: `weight-${i}.npy` };
    return { facts, data, shape: [rows?.length ?? tensor.rows, tensor.rowBytes] };
  });
  const factors = rope.factors === null ? null : "rope-factors.npy";
  const facts = bundleSchema.parse({
    schema: BUNDLE_SCHEMA,
    op: node.op,
    dtype: record.dtype,
    ...{ tokens, posStart },
    inputs: given,
    weights: held.map((each) => each.facts),
    ...{ expected: "expected.npy", allowed: "allowed.npy", actual: "actual.npy" },
    parameters: { ...parameters, rope: { ...rope, factors } },
    provenance: {
      model: {
        file: model.file.name,
        sha256: source.sha256 ?? (await fileDigest(model.file.path)),
        architecture: model.architecture,
      },
      ...{ producer, faults, step },
      verdict: own.verdict,
      relative_error: Number.isFinite(own.relL2) ? own.relL2 : null,
      diagnosis,
    },
  } satisfies Readonly<Record<keyof BundleFacts, unknown>>);
  const output = shapeOf(node.op.dims, sizes);
  const files: BundleFile[] = [
    ...given.map(({ file, dims }, i) => {
      const data = Float32Array.from(inputs[i]?.data ?? []);
      return { file, element: "f4" as const, shape: shapeOf(dims, sizes), data };
    }),
    ...held.map(({ facts: { file }, shape, data }) => ({
      ...{ file, element: "u1" as const, shape },
      data: data as Uint8Array<ArrayBuffer>,
    })),
    { file: facts.expected, element: "f8", shape: output, data: right.expected as Float64Array<ArrayBuffer> },
    { file: facts.allowed, element: "f8", shape: output, data: right.worst as Float64Array<ArrayBuffer> },
    { file: facts.actual, element: "f4", shape: output, data: actual as Float32Array<ArrayBuffer> },
  ];
  if (factors !== null && rope.factors !== null) {
    const data = Float32Array.from(rope.factors);
    files.push({ file: factors, element: "f4", shape: [data.length], data });
  }
  return { facts, files };
}

/** Writes all files to `FOLDER.partial` and renames it when it is whole. */
function writeBundle(folder: string, facts: BundleFacts, files: readonly BundleFile[]): void {
  const partial = `${folder}.partial`;
  let isOurs = false;
  try {
    mkdirSync(partial);
    isOurs = true;
    for (const each of files) writeNpy(join(partial, each.file), each.element, each.shape, each.data);
    writeFileSync(join(partial, "bundle.json"), `${JSON.stringify(facts, null, 1)}\n`);
    if (existsSync(folder)) rmdirSync(folder);
    renameSync(partial, folder);
  } catch (error) {
    if (isOurs) rmSync(partial, { recursive: true, force: true });
    if (!(error instanceof Error && "code" in error)) throw error;
    throw new InputError(
      `${folder}: the bundle cannot be written (${systemReason(error)}); name a new folder where there is room`,
    );
  }
}

/** Throws InputError where the folder holds something, or an earlier write was broken off. */
export function checkFree(folder: string): void {
  if (existsSync(`${folder}.partial`)) {
    throw new InputError(`${folder}.partial: left by a write that was broken off; remove it`);
  }
  if (!existsSync(folder)) return;
  if (!statSync(folder).isDirectory()) throw new InputError(`${folder}: not a folder; name a new one for the bundle`);
  const { length } = readdirSync(folder);
  if (length > 0) throw new InputError(`${folder}: holds ${length} files already; name a new folder for the bundle`);
}
