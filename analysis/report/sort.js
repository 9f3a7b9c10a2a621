// A click on a head of a sortable table, or Enter in it, sorts its rows; empty cells stay last.
"use strict";
for (const table of document.querySelectorAll("table.sortable")) {
  const heads = [...table.tHead.rows[0].cells];
  const body = table.tBodies[0];
  const rows = [...body.rows];
  const value = (row, column) => row.cells[column]?.dataset.value ?? "";
  const compare = (left, right) => {
    const numbers = [Number(left), Number(right)];
    return numbers.some(Number.isNaN)
      ? left.localeCompare(right, "en", { numeric: true })
      : numbers[0] - numbers[1];
  };
  const sort = (column, order) => {
    const sign = order === "ascending" ? 1 : -1;
    const filled = rows.filter((row) => value(row, column) !== "");
    const empty = rows.filter((row) => value(row, column) === "");
    filled.sort((a, b) => sign * compare(value(a, column), value(b, column)));
    body.append(...filled, ...empty);
    heads.forEach((head) => head.removeAttribute("aria-sort"));
    heads[column].setAttribute("aria-sort", order);
  };
  heads.forEach((head, column) => {
    const button = document.createElement("button");
    button.type = "button";
    button.title = "Sort by this column";
    button.append(...head.childNodes);
    head.append(button);
    button.addEventListener("click", () => {
      sort(column, head.getAttribute("aria-sort") === "ascending" ? "descending" : "ascending");
    });
  });
}
