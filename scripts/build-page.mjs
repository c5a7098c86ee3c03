/** Bundles the report page (src/page) into assets/: one script and one style sheet, without names of this machine in them. */
import { build } from "esbuild";

const root = new URL("..", import.meta.url).pathname;
await build({
  absWorkingDir: root,
  entryPoints: { report: "src/page/main.ts" },
  outdir: "assets",
  bundle: true,
  minify: true,
  format: "iife",
  target: "es2022",
  legalComments: "none",
  logLevel: "warning",
});
await build({ absWorkingDir: root, entryPoints: { report: "src/page/style.css" }, outdir: "assets", bundle: true, minify: true, logLevel: "warning" });
