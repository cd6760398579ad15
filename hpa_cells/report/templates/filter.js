// Which cells are shown.

const makeFilter = (onChange) => {
  const form = find("#filter");
  const [classes, least, border, truth] = ["#filter-class", "#filter-least", "#filter-border", "#filter-truth"]
    .map((selector) => find(selector));
  run.classes.forEach(({ name }, index) => classes.append(make("option", { value: index }, name)));

  const chosen = () => Number(classes.value);
  // The class that a cell is looked at for: the chosen one, or its most probable one.
  const classOf = (cell) => (chosen() < 0 ? topClass(cell) : chosen());

  const isRight = (cell, index) => Boolean(cell.truth?.includes(index));
  const matches = (cell) => {
    const index = classOf(cell);
    if ((index < 0 ? 0 : cell.p[index] ?? 0) < Number(least.value)) return false;
    if (border.checked && cell.border) return false;
    return !truth?.value || isRight(cell, index) === (truth.value === "right");
  };

  const count = () => {
    const numbers = fields.map((field) => field.cells.filter(matches).length);
    const [some, all] = [numbers, fields.map((field) => field.cells.length)]
      .map((each) => each.reduce((sum, number) => sum + number, 0).toLocaleString("en"));
    find("#filter-count").textContent = `${some} of ${all} cells`;
    find("#filter-least-shown").textContent = shown(Number(least.value));
    return numbers;
  };

  // Every cell has some probability of a class: without a limit, to choose one would leave all in sight.
  classes.addEventListener("change", () => {
    if (chosen() >= 0 && least.value === "0") least.value = 1000 * run.threshold;
  });
  form.addEventListener("input", () => onChange());
  form.addEventListener("change", () => onChange());
  form.addEventListener("submit", (event) => event.preventDefault());
  form.addEventListener("reset", () => setTimeout(onChange));
  return { matches, classOf, count, reset: () => form.reset() };
};
