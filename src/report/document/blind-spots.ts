/** What a run could not have shown, wherever it was looked for. */
import type { BlindSpot } from "../../compare/blind-spots.ts";
import { blindSpotPhrases } from "../blind-spots.ts";
import type { Report } from "./schema.ts";
import { worded } from "./wording.ts";

export const blindSpotsOf = (spots: readonly BlindSpot[]): Report["blindSpots"] =>
  blindSpotPhrases(spots.filter(({ everywhere }) => everywhere)).map(({ ids, why }) => ({
    id: ids,
    reason: worded(why),
  }));
