/** What a manifest says of a model. */
import { basename } from "node:path";
import type { Model } from "../model/model.ts";
import type { Manifest } from "../trace/record.ts";

/** File, digest, hyper-parameters and block types of an open model. */
export function modelFacts(model: Model, sha256: string): Manifest["model"] {
  const { rope, ...numbers } = model.parameters;
  const fileType = model.file.metadata["general.file_type"];
  const matrices = [...model.weights.keys()]
    .map((name) => model.file.tensor(name))
    .filter((tensor) => tensor.shape.length > 1);
  return {
    file: basename(model.file.path),
    size: model.file.size,
    sha256,
    architecture: model.architecture,
    hyperParameters: {
      ...numbers,
      rope_base: rope.base,
      rope_dimensions: rope.dimensions,
      rope_scaling: rope.scaling.type,
      rope_factors: rope.factors !== null,
      file_type: typeof fileType === "number" ? fileType : null,
    },
    quantisation: [...new Set(matrices.map((tensor) => tensor.type.name))].sort().join(" "),
  };
}
