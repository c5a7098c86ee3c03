/** Colours, on a terminal only: picocolors alone would also colour pipes where the environment says CI. NO_COLOR is honoured. */
import picocolors from "picocolors";

const { NO_COLOR, TERM } = process.env;

export const colors = picocolors.createColors(Boolean(process.stdout.isTTY) && !NO_COLOR && TERM !== "dumb");
