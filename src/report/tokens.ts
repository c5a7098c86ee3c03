/** What `tokens` prints. */
import { z } from "zod";
import { visible } from "./numbers.ts";
import { table } from "./table.ts";
import { againstSchema } from "./tokens-against.ts";

export interface TokenRow {
  readonly id: number;
  readonly piece: string;
}

export const tokensSchema = z.object({
  schema: z.literal("faultline.tokens/1"),
  /** This program's tokens. */
  count: z.number().int(),
  ids: z.array(z.number().int()),
  pieces: z.array(z.string()),
  /** Only with `--against`. */
  against: againstSchema.optional(),
});

export function tokensJson(
  rows: readonly TokenRow[],
  against?: z.infer<typeof againstSchema>,
): z.infer<typeof tokensSchema> {
  return tokensSchema.parse({
    schema: "faultline.tokens/1",
    count: rows.length,
    ids: rows.map((row) => row.id),
    pieces: rows.map((row) => row.piece),
    ...(against === undefined ? {} : { against }),
  });
}

export function tokensText(rows: readonly TokenRow[]): string {
  const columns = [{ title: "position" }, { title: "id" }, { title: "piece", align: "left" as const }];
  const cells = rows.map(({ id, piece }, position) => [String(position), String(id), `"${visible(piece)}"`]);
  return `${rows.length} tokens: ${rows.map((row) => row.id).join(" ")}\n\n${table(columns, cells)}`;
}
