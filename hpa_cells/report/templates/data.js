// The run: its classes, and its fields with their cells. Pictures are read when they are asked for.

const run = JSON.parse(find("#run").textContent);

const cellsOf = ({ cells }, field) =>
  cells.id.map((id, index) => ({
    id,
    index,
    field,
    p: cells.p[index],
    area: cells.area[index],
    px: cells.px[index],
    nucleus: cells.nucleus[index],
    border: cells.border[index] === 1,
    x: cells.x[index],
    y: cells.y[index],
    box: cells.box[index],
    truth: cells.true ? cells.true[index] : undefined, // null: no such cell; undefined: nothing is known
  }));

const fields = run.fields.map((each, index) => ({ ...each, index, cells: cellsOf(each, index) }));

const pictureOf = (index) => JSON.parse(find(`#picture-${index}`).textContent);

// Classes by falling probability; those without one are left out.
const ranked = (p) =>
  p.map((_, index) => index).filter((index) => p[index] !== null).sort((a, b) => p[b] - p[a] || a - b);

const topClass = (cell) => (cell.top ??= ranked(cell.p)[0] ?? -1);
const isSure = (cell, index) => index >= 0 && cell.p[index] >= 1000 * run.threshold;
const shown = (thousandths) => (thousandths === null ? "–" : (thousandths / 1000).toFixed(2));

const nameOf = (cell, index = topClass(cell)) =>
  index < 0 ? "" : run.classes[index].name + (isSure(cell, index) ? "" : "?");

const truthInWords = ({ truth }) => {
  if (truth === undefined) return null;
  if (truth === null) return "no such cell";
  return truth.map((index) => run.classes[index].name).join(", ") || "no location";
};
