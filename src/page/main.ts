/** The page: its top is in the HTML already; this adds what can be looked into. */
import type { Report } from "../report/document/schema.ts";
import { curvesSection } from "./curves.ts";
import { h } from "./dom.ts";
import { mapSection } from "./map.ts";
import { opSection } from "./op.ts";
import { State } from "./state.ts";
import { findingsSection, logitsSection, moreSections, tokensSection } from "./texts.ts";

const data = document.getElementById("report")?.textContent ?? "";
const state = new State(JSON.parse(data) as Report);
const main = document.querySelector("main");
const sections = [
  findingsSection(state),
  ...(state.report.ops.length === 0 ? [] : [mapSection(state), opSection(state), curvesSection(state)]),
  tokensSection(state),
  logitsSection(state),
  ...moreSections(state),
].filter((each) => each !== null);
main?.append(...sections);

const links = sections.map((each) =>
  h("li", {}, h("a", { href: `#${each.id}` }, each.querySelector("h2")?.textContent ?? each.id)),
);
document.querySelector("nav")?.append(h("ul", {}, ...links), themeButton());

/** Light, dark, or as the system has it. Kept for this page only: a file has no place of its own to store it. */
function themeButton(): HTMLElement {
  const isDark = () =>
    (document.documentElement.dataset.theme ??
      (matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light")) === "dark";
  const button = h("button", { type: "button", class: "theme" });
  const label = () => {
    button.textContent = isDark() ? "light" : "dark";
    button.setAttribute("aria-label", `show in ${button.textContent} colours`);
  };
  button.addEventListener("click", () => {
    document.documentElement.dataset.theme = isDark() ? "light" : "dark";
    label();
  });
  label();
  return button;
}
