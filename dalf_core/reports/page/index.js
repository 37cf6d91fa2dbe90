// Sorts the table: by numbers where all are, else by words; what is empty comes last. The second click turns the order round.
"use strict";

const body = document.querySelector("#runs tbody"), heads = [...document.querySelectorAll("#runs th")];
for (const button of document.querySelectorAll("#runs th button")) button.onclick = () => sortBy(Number(button.dataset.column));

function sortBy(column) {
  const up = heads[column].getAttribute("aria-sort") !== "ascending", value = row => row.cells[column].dataset.value;
  const rows = [...body.rows], words = column === 1;
  const compared = (a, b) => words ? a.localeCompare(b, undefined, { numeric: true }) : Number(a) - Number(b);
  rows.sort((a, b) => (value(a) === "") - (value(b) === "") || (up ? 1 : -1) * compared(value(a), value(b)));
  heads.forEach(head => head.removeAttribute("aria-sort"));
  heads[column].setAttribute("aria-sort", up ? "ascending" : "descending");
  body.append(...rows);
}
