/** What `tokens` prints. */
import { z } from "zod";
import { visible } from "./numbers.ts";
import { table } from "./table.ts";

export interface TokenRow {
  readonly id: number;
  readonly piece: string;
}

export const tokensSchema = z.object({
  schema: z.literal("faultline.tokens/1"),
  count: z.number().int(),
  ids: z.array(z.number().int()),
  pieces: z.array(z.string()),
});

export function tokensJson(rows: readonly TokenRow[]): z.infer<typeof tokensSchema> {
  return tokensSchema.parse({
    schema: "faultline.tokens/1",
    count: rows.length,
    ids: rows.map((row) => row.id),
    pieces: rows.map((row) => row.piece),
  });
}

export function tokensText(rows: readonly TokenRow[]): string {
  const columns = [{ title: "position" }, { title: "id" }, { title: "piece", align: "left" as const }];
  const cells = rows.map(({ id, piece }, position) => [String(position), String(id), `"${visible(piece)}"`]);
  return `${rows.length} tokens: ${rows.map((row) => row.id).join(" ")}\n\n${table(columns, cells)}`;
}
