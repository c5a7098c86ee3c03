/** Names of a source -> taps: every tensor ends as a tap, as known and no tap, as unknown, or left out for a reason. */
import type { GraphNode } from "../../src/model/graph.ts";
import { elementsOf } from "../../src/trace/dims.ts";
import { InputError } from "../../src/trace/errors.ts";
import { layerOfTap, nameInLayer } from "../../src/trace/taps.ts";
import type { NameMap } from "../maps/map-schema.ts";
import { type Found, meaningOf } from "../maps/name-map.ts";
import type { LeftOut, Source, SourceTensor } from "./source.ts";

/** What an import must know of the model: its graph, and sizes of axes where they are known. */
export interface ImportModel {
  /** The graph of a model with this many layers. */
  readonly graph: (layers: number) => readonly GraphNode[];
  /** Dims of a weight by name; undefined where the model has no such weight. */
  readonly weightDims: (name: string) => string | undefined;
  readonly sizes: Readonly<Record<string, number>>;
}

export interface ChosenTensor {
  readonly tensor: SourceTensor;
  readonly found: Found;
  readonly node: GraphNode | undefined;
  /** The tap's dims. */
  readonly dims: string;
}

export interface Choice {
  /** In the order of execution: where a later tensor replaced an earlier one, in its place. */
  readonly chosen: readonly ChosenTensor[];
  /** Names that the map knows to be no taps. */
  readonly ignored: readonly string[];
  /** Names that nothing is known of. */
  readonly unknown: readonly string[];
  /** Names whose tensors a later one of the same tap replaced. */
  readonly replaced: readonly string[];
  readonly leftOut: readonly LeftOut[];
}

/** Dims of the rotary tables, which no op of the graph makes. */
const TABLE_DIMS: Readonly<Record<string, string>> = { "rope.cos": "token rope_pair", "rope.sin": "token rope_pair" };

/** More layers than any model has: a larger number in a name is damage. */
const MOST_LAYERS = 4096;

/** Chooses the tensors that are taps. Throws InputError where two are one tap, and where none is any. */
export function chooseTensors(source: Source, model: ImportModel, map: NameMap | null, mapName: string): Choice {
  const [ignored, unknown, replaced] = [new Set<string>(), new Set<string>(), new Set<string>()];
  const leftOut = [...source.leftOut];
  const chosen = new Map<string, ChosenTensor>();
  const meanings = source.tensors.map((tensor) => ({ tensor, meaning: meaningOf(map, tensor) }));
  const nodes = new Map(model.graph(layersOf(meanings)).map((node) => [node.op.tap, node]));
  const dimsOf = (tap: string) =>
    nodes.get(tap)?.op.dims ??
    (Object.hasOwn(TABLE_DIMS, tap) ? TABLE_DIMS[tap] : undefined) ??
    (tap.startsWith("weight:") ? model.weightDims(tap.slice("weight:".length)) : undefined);

  for (const { tensor, meaning } of meanings) {
    const dims = typeof meaning === "string" ? undefined : dimsOf(meaning.tap);
    if (meaning === "ignored") ignored.add(tensor.name);
    else if (meaning === "unknown" || dims === undefined) unknown.add(tensor.name);
    else {
      const reason = whyNot(tensor, meaning, source, map === null);
      if (reason !== null) {
        leftOut.push({ name: tensor.name, reason });
        continue;
      }
      const key = `${tensor.step} ${meaning.tap}`;
      const earlier = chosen.get(key);
      if (earlier !== undefined && !meaning.rule.overrides) throw claimedTwice(earlier.tensor, tensor, meaning.tap);
      if (earlier !== undefined) replaced.add(`${earlier.tensor.name} ${earlier.tensor.op}`.trim());
      chosen.delete(key); // the later one stands where it was computed
      const whole = earlier === undefined ? tensor : { ...tensor, dtype: coarser(earlier.tensor.dtype, tensor.dtype) };
      chosen.set(key, { tensor: whole, found: meaning, node: nodes.get(meaning.tap), dims });
    }
  }
  if (chosen.size === 0) throw nothingChosen(source, unknown, leftOut, mapName);
  return {
    chosen: [...chosen.values()],
    ...{ ignored: [...ignored], unknown: [...unknown], replaced: [...replaced], leftOut },
  };
}

/** A tap made in two parts (a product, then its bias) is as coarse as the first: an f32 sum does not undo quantised activations. */
const coarser = (first: string, last: string) => (last === "f32" ? first : last);

function layersOf(meanings: readonly { tensor: SourceTensor; meaning: ReturnType<typeof meaningOf> }[]): number {
  let layers = 0;
  for (const { tensor, meaning } of meanings) {
    const layer = typeof meaning === "string" ? null : layerOfTap(meaning.tap);
    if (layer !== null && layer >= MOST_LAYERS)
      throw new InputError(`${tensor.where}: ${tensor.name} is of layer ${layer}; ${MOST_LAYERS} layers are the most`);
    layers = Math.max(layers, 1 + (layer ?? -1));
  }
  return layers;
}

/** Why a tensor that is a tap cannot be imported. Statistics survive any order of the elements, but nothing that changes them. */
function whyNot({ shape, content, step }: SourceTensor, found: Found, source: Source, isCanonical: boolean) {
  const { rule, tap } = found;
  if (elementsOf(shape) === 0) return "has no elements";
  if (content.kind === "values") return null;
  if (rule.padded) return "its statistics count the padding";
  if (rule.unscaled) return "its statistics are of unscaled values";
  const isMasked = nameInLayer(tap) === "attn_scores" && (source.steps[step]?.tokens.length ?? 0) > 1;
  return isMasked && !isCanonical ? "its statistics count masked places" : null;
}

function claimedTwice(earlier: SourceTensor, tensor: SourceTensor, tap: string): InputError {
  const called = ({ name, op }: SourceTensor) => `${name} (${op || "no op"})`;
  return new InputError(
    `${tensor.where}: ${called(earlier)} and ${called(tensor)} are both ${tap} of step ${tensor.step}; ${called(earlier) === called(tensor) ? "does each tensor say its step?" : "a map must tell them apart by op or weight"}`,
  );
}

function nothingChosen(source: Source, unknown: ReadonlySet<string>, leftOut: readonly LeftOut[], mapName: string) {
  const [left] = leftOut;
  const names = [...unknown].slice(0, 3).join(", ");
  if (left !== undefined && unknown.size === 0)
    return new InputError(
      `none of the ${source.tensors.length} tensors can be imported: ${left.name} ${left.reason}; dump their values`,
    );
  return new InputError(
    `none of the ${source.tensors.length} tensors is a tap by the names of ${mapName} (${names}); give a map with --map (docs/writing-a-dumper.md)`,
  );
}
