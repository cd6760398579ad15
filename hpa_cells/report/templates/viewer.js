// One field at a time, with the cell that is looked at and the one that is kept.

const makeViewer = () => {
  const canvas = find("#canvas");
  const stageNode = find("#stage");
  const choice = find("#field");
  const strip = find("#strip");
  const panel = makePanel(canvas);
  let field = fields[0];
  let picture = null;
  let looked = -1;
  let kept = -1;
  let isQueued = false;

  const paintPanel = () => panel.show(field, field.cells[looked >= 0 ? looked : kept], looked < 0 || looked === kept);
  const paintPixels = () => {
    isQueued = false;
    if (!picture) return;
    canvas.getContext("2d", { willReadFrequently: true }).putImageData(channels.mixed(picture), 0, 0);
    paintPanel();
  };
  // Sliders move faster than pixels can be mixed.
  const repaint = () => { if (!isQueued) { isQueued = true; requestAnimationFrame(paintPixels); } };

  const look = (index) => { if (index !== looked) { looked = index; paintPanel(); } };
  const keep = (index) => {
    kept = index === kept ? -1 : index;
    outlines.keep(kept);
    if (kept >= 0) stage.reveal(field.cells[kept]);
    paintPanel();
  };

  const filter = makeFilter(() => { outlines.paint(); countFields(); });
  const outlines = makeOutlines({ filter, onLook: look, onKeep: keep });
  const stage = makeStage(() => outlines.untangle());
  const channels = makeChannels(repaint);

  const countFields = () => filter.count().forEach((number, index) => {
    const button = find(`button[data-index="${index}"]`, strip);
    find(".cells", button).textContent = `${number} of ${fields[index].cells.length}`;
    button.classList.toggle("out", number === 0);
  });

  const show = async (index, cellId = null) => {
    const next = fields[index];
    choice.value = index;
    stageNode.setAttribute("aria-busy", "true");
    for (const button of findAll("button", strip)) {
      button.setAttribute("aria-current", String(Number(button.dataset.index) === index));
    }
    if (next !== field || !picture) {
      field = next;
      const decoded = await decodeField(index);
      if (field !== next) return; // another one was asked for meanwhile
      picture = decoded;
      [canvas.width, canvas.height] = [picture.width, picture.height];
      [looked, kept] = [-1, -1];
      find(".viewer").style.setProperty("--aspect", field.width / field.height);
      stage.show(field);
      channels.show(picture);
      outlines.show(field, picture.outlines);
      paintPixels();
    }
    const cell = field.cells.find((each) => each.id === cellId);
    if (cell && !filter.matches(cell)) filter.reset();
    if (cell && cell.index !== kept) keep(cell.index);
    stageNode.setAttribute("aria-busy", "false");
  };
  const step = (by) => show((field.index + by + fields.length) % fields.length);

  choice.addEventListener("change", () => show(Number(choice.value)));
  strip.addEventListener("click", (event) => {
    const button = event.target.closest("button");
    if (button) show(Number(button.dataset.index));
  });
  find("#previous").addEventListener("click", () => step(-1));
  find("#next").addEventListener("click", () => step(1));
  stageNode.addEventListener("keydown", async (event) => {
    const by = { PageUp: -1, PageDown: 1 }[event.key];
    if (!by) return;
    event.preventDefault();
    await step(by);
    find("g.cell[tabindex='0']", stageNode)?.focus({ preventScroll: true });
  });
  for (const [id, name] of [["#show-outlines", "without-outlines"], ["#show-names", "without-names"]]) {
    find(id).addEventListener("change", (event) => stageNode.classList.toggle(name, !event.target.checked));
  }
  countFields();
  return { show };
};
