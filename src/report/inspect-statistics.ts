/** Statistics of a tensor in the JSON of `inspect`. */
import { z } from "zod";
import { knownStatistic, type Statistics } from "../trace/statistics.ts";
import { short } from "./numbers.ts";

/** A number, or its name where JSON has none; null where it is not known. */
export const jsonNumber = z.union([z.number(), z.enum(["NaN", "Inf", "-Inf"])]).nullable();
export const jsonOf = (value: number | null) =>
  value === null || Number.isFinite(value) ? value : (short(value) as "NaN" | "Inf" | "-Inf");

export const statisticsFields = {
  count: z.number().int(),
  nan: z.number().int(),
  inf: z.number().int(),
  zero: z.number().int(),
  min: jsonNumber,
  max: jsonNumber,
  max_abs: jsonNumber,
  max_abs_index: z.number().int(),
  mean: jsonNumber,
  rms: jsonNumber,
};

export const statisticsJson = (s: Statistics) => ({
  ...{ count: s.count, nan: s.nanCount, inf: s.infCount, zero: s.zeroCount },
  ...{ min: jsonOf(knownStatistic("min", s)), max: jsonOf(knownStatistic("max", s)) },
  ...{ max_abs: jsonOf(knownStatistic("maxAbs", s)), max_abs_index: s.maxAbsIndex },
  ...{ mean: jsonOf(knownStatistic("mean", s)), rms: jsonOf(knownStatistic("rms", s)) },
});
