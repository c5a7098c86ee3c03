import { InputError } from "../trace/errors.ts";

/** A model file that cannot be used as it is. */
export class ModelError extends InputError {
  override name = "ModelError";
}
