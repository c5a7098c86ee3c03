/** Prints the table of docs/faults.md: npx tsx scripts/faults-table.ts */
import { FAULTS } from "../src/engine/faults/table.ts";
import { faultRow } from "../src/engine/faults/taps.ts";
import { faultsMarkdown } from "../src/report/faults.ts";

process.stdout.write(`${faultsMarkdown(FAULTS.map(faultRow))}\n`);
