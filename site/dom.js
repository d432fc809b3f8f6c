// Small helpers for the document: elements, numbers, tables, bars.

/** Return the element of an id. */
export const $ = (id) => document.getElementById(id);

/** Make an element with attributes (class, role ...) and children. */
export function element(name, attributes = {}, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  made.append(...children);
  return made;
}

/** Write a share as a percentage. */
export const percent = (share, digits = 1) =>
  share === null || Number.isNaN(share) ? "–" : `${(100 * share).toFixed(digits)} %`;

/** Write an integer with commas. */
export const count = (value) => value.toLocaleString("en");

/** Fill a table: a header, and rows whose first cell names them. Cells are text or elements. */
export function fillTable(table, header, rows) {
  table.replaceChildren(
    element(
      "thead",
      {},
      element("tr", {}, ...header.map((text) => element("th", { scope: "col" }, text))),
    ),
    element(
      "tbody",
      {},
      ...rows.map(([name, ...cells]) =>
        element(
          "tr",
          {},
          element("th", { scope: "row" }, name),
          ...cells.map((cell) => element("td", {}, cell)),
        ),
      ),
    ),
  );
}

/** Make a group of bars: [name, share 0..1, colour] each. */
export function bars(entries, label) {
  return element(
    "div",
    { class: "bars", role: "group", "aria-label": label },
    ...entries.flatMap(([name, share, colour]) => [
      element("span", {}, name),
      element(
        "div",
        { class: "track" },
        element("div", {
          class: "fill",
          style: `width:${100 * (share ?? 0)}%;background:${colour}`,
        }),
      ),
      element("span", { class: "number" }, percent(share)),
    ]),
  );
}

/** Fill a menu with [value, text] pairs. */
export function fillMenu(menu, entries) {
  menu.replaceChildren(...entries.map(([value, text]) => element("option", { value }, text)));
}
