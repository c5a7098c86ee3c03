/** Elements without markup: text is only ever text, so nothing that a trace holds is run or read as HTML. */

type Child = Node | string | null;
type Attributes = Readonly<Record<string, string | number | boolean | null | ((event: Event) => void)>>;

/** An element with attributes and children. A function is a listener of the event that its name says (`click`); null and false are left out. */
export function h<K extends keyof HTMLElementTagNameMap>(
  tag: K,
  attributes: Attributes = {},
  ...children: readonly Child[]
): HTMLElementTagNameMap[K] {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value === null || value === false) continue;
    if (typeof value === "function") element.addEventListener(name, value);
    else element.setAttribute(name, value === true ? "" : String(value));
  }
  element.append(...children.filter((child) => child !== null));
  return element;
}

/** An element of a drawing, with attributes. */
export function drawn<K extends keyof SVGElementTagNameMap>(
  tag: K,
  attributes: Readonly<Record<string, string | number>>,
): SVGElementTagNameMap[K] {
  const element = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, String(value));
  return element;
}

/** A section of the page with its heading; `intro` says how to read it. */
export function section(id: string, title: string, intro: string, ...children: readonly Child[]): HTMLElement {
  return h(
    "section",
    { id, "aria-labelledby": `${id}-title` },
    h("h2", { id: `${id}-title` }, title),
    intro === "" ? null : h("p", { class: "intro" }, intro),
    ...children,
  );
}

/** A table with a header row; cells of `numbers` (by column) are set right. `mark`: the row that matters most. */
export function dataTable(
  caption: string,
  header: readonly string[],
  rows: readonly (readonly Child[])[],
  numbers: readonly number[] = [],
  mark: number | null = null,
): HTMLElement {
  const kind = (column: number) => (numbers.includes(column) ? "number" : null);
  return h(
    "div",
    { class: "wide", tabindex: 0, role: "region", "aria-label": caption },
    h(
      "table",
      {},
      h("caption", {}, caption),
      h("thead", {}, h("tr", {}, ...header.map((title, i) => h("th", { scope: "col", class: kind(i) }, title)))),
      h(
        "tbody",
        {},
        ...rows.map((row, at) =>
          h("tr", { class: at === mark && "marked" }, ...row.map((cell, i) => h("td", { class: kind(i) }, cell))),
        ),
      ),
    ),
  );
}

/** A labelled choice; `choose` is given the value. */
export function choice(
  label: string,
  options: readonly (readonly [value: string, text: string])[],
  value: string,
  choose: (value: string) => void,
): HTMLElement {
  const select = h(
    "select",
    {},
    ...options.map(([each, text]) => h("option", { value: each, selected: each === value }, text)),
  );
  select.addEventListener("change", () => choose(select.value));
  return h("label", { class: "choice" }, label, " ", select);
}
