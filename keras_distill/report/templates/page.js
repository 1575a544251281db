"use strict";
// Improves a page that is complete without it: tables sort, and points of charts show tooltips.
document.documentElement.classList.add("scripted");

function number(cell) {
  const given = cell.dataset.value ?? cell.textContent;
  const found = given.replaceAll(",", "").match(/[-−]?\d+(\.\d+)?(e[-+]?\d+)?/i);
  return found ? Number(found[0].replace("−", "-")) : null;
}

function sortBy(table, column, direction) {
  const body = table.tBodies[0];
  const rows = [...body.rows].map((row) => ({ row, cell: row.cells[column] }));
  const numeric = rows.every(({ cell }) => !cell.textContent.trim() || number(cell) !== null);
  const key = ({ cell }) => (numeric ? number(cell) : cell.textContent.trim().toLowerCase());
  rows.sort((first, second) => {
    const a = key(first), b = key(second);
    if (a === b) return 0;
    if (a === null || a === "") return 1; // an empty cell comes last in either direction
    if (b === null || b === "") return -1;
    return a < b ? -direction : direction;
  });
  body.append(...rows.map(({ row }) => row));
}

for (const table of document.querySelectorAll("table.sortable")) {
  const heads = [...table.tHead.rows[0].cells];
  heads.forEach((head, column) => {
    if (!head.textContent.trim()) return;
    const button = document.createElement("button");
    button.type = "button";
    button.append(...head.childNodes);
    head.append(button);
    button.addEventListener("click", () => {
      const ascending = head.getAttribute("aria-sort") === "descending";
      heads.forEach((other) => other.removeAttribute("aria-sort"));
      head.setAttribute("aria-sort", ascending ? "ascending" : "descending");
      sortBy(table, column, ascending ? 1 : -1);
    });
  });
}

const tip = document.createElement("div");
tip.id = "tip";
tip.hidden = true;
tip.setAttribute("aria-hidden", "true"); // the same text is in the drawing and in a table
document.body.append(tip);
for (const title of document.querySelectorAll(".chart svg title")) {
  const mark = title.parentNode;
  mark.dataset.tip = title.textContent;
  title.remove(); // or the browser would show a second tooltip
}
function showTip(event) {
  const mark = event.target.closest?.("[data-tip]");
  tip.hidden = !mark;
  if (!mark) return;
  tip.textContent = mark.dataset.tip;
  const room = document.documentElement.clientWidth - tip.offsetWidth - 8;
  tip.style.left = `${Math.max(8, Math.min(event.clientX + 12, room))}px`;
  tip.style.top = `${Math.max(8, event.clientY - tip.offsetHeight - 10)}px`;
}
document.addEventListener("pointermove", showTip);
document.addEventListener("pointerdown", showTip);
document.addEventListener("scroll", () => { tip.hidden = true; }, { passive: true });
