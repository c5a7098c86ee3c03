/** `faultline faults`: every bug that --fault can plant. */
import type { Command } from "commander";
import { FAULTS } from "../engine/faults/table.ts";
import { faultRow } from "../engine/faults/taps.ts";
import { faultsJson, faultsText } from "../report/faults.ts";
import { addOutputOptions, type OutputOptions } from "./options.ts";
import { print } from "./output.ts";

export function addFaults(program: Command): void {
  addOutputOptions(program.command("faults").description("list the bugs that --fault can plant"))
    .addHelpText("after", "\nExample:\n  faultline faults")
    .action((options: OutputOptions) => {
      const rows = FAULTS.map(faultRow);
      print(
        options,
        () => faultsJson(rows),
        () => faultsText(rows),
      );
    });
}
