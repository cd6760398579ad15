// What is known of a cell, or of the field where none is looked at.

const CLOSE_UP_PX = 320;

const makePanel = (canvas) => {
  const panel = find("#panel");

  const barOf = (p, ofField, index, truth) => {
    const isTrue = truth?.includes(index);
    const bar = make("span", { class: "meter" }, make("i"));
    bar.firstChild.style.width = `${p[index] / 10}%`;
    bar.firstChild.style.background = run.classes[index].color;
    if (ofField && ofField[index] !== null) {
      const mark = make("b");
      mark.style.left = `${ofField[index] / 10}%`;
      bar.append(mark);
    }
    return make("li", { class: p[index] >= 1000 * run.threshold ? "sure" : null },
      swatch(run.classes[index]),
      make("span", { class: "name" }, run.classes[index].name,
        isTrue ? make("span", { class: "good" }, " ✓ true") : null),
      make("span", { class: "value" }, shown(p[index])), bar);
  };
  const bars = (p, ofField, truth) => {
    const order = ranked(p);
    if (!order.length) return make("p", { class: "none" }, "The table has no probabilities.");
    return make("ol", { class: "bars" }, ...order.map((index) => barOf(p, ofField, index, truth)));
  };
  const pairs = (entries) =>
    make("dl", {}, ...entries.filter(([, value]) => value !== null).map(([name, value]) =>
      make("div", {}, make("dt", {}, name), make("dd", {}, value))));

  // The cell from the canvas, as it is coloured there, with some of its surroundings.
  const closeUp = (field, cell) => {
    const pixels = CLOSE_UP_PX;
    const picture = make("canvas", { width: pixels, height: pixels, class: "close-up", "aria-hidden": "true" });
    const scale = canvas.width / (2 * field.width);
    const [left, top, width, height] = cell.box.map((value) => value * scale);
    const side = 1.15 * Math.max(width, height);
    const corner = [left + (width - side) / 2, top + (height - side) / 2];
    picture.getContext("2d").drawImage(canvas, ...corner, side, side, 0, 0, pixels, pixels);
    return picture;
  };
  const um2 = (value) => `${Math.round(value).toLocaleString("en")} µm²`;

  const showCell = (field, cell, isKept) => {
    const facts = pairs([
      ["Area", cell.area === null ? `${cell.px.toLocaleString("en")} px` : um2(cell.area)],
      ["Nucleus", cell.nucleus !== null ? um2(cell.nucleus) : cell.area === null ? null : "none"],
      ["Edge of the field", cell.border ? "cuts it" : "clear of it"],
      ["Truth", truthInWords(cell)],
    ]);
    panel.dataset.cell = cell.id;
    panel.replaceChildren(
      make("header", {}, make("h3", {}, `Cell ${cell.id}`), make("span", { class: "state" }, isKept ? "kept" : "")),
      make("div", { class: "facts" }, closeUp(field, cell), facts),
      bars(cell.p, field.p, cell.truth),
      make("p", { class: "legend" }, make("b", { class: "mark" }), " probability of the whole field"));
  };

  const showField = (field) => {
    delete panel.dataset.cell;
    const truth = truthInWords({ truth: field.true ?? undefined });
    panel.replaceChildren(
      make("header", {}, make("h3", { class: "id" }, field.id)),
      pairs([
        ["Size", `${field.width} × ${field.height} px`],
        ["Pixel", field.um === null ? null : `${Number(field.um.toPrecision(3))} µm`],
        ["Cells", String(field.cells.length)],
        ["Truth", truth],
      ]),
      make("p", { class: "hint" },
        field.cells.length ? "Point at a cell for its probabilities, click to keep it." : "No cell was found here."),
      bars(field.p, null, field.true));
  };
  return { show: (field, cell, isKept) => (cell ? showCell(field, cell, isKept) : showField(field)) };
};
