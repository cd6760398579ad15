// The page comes to life.

// A single cell leads to its field, where that is on the page.
const connectTiles = (viewer) => {
  const indexOf = new Map(fields.map((field) => [field.id, field.index]));
  for (const tile of findAll(".tile")) {
    const index = indexOf.get(tile.dataset.field);
    if (index === undefined) tile.setAttribute("aria-disabled", "true");
    else tile.addEventListener("click", () => {
      find("#fields").scrollIntoView();
      viewer.show(index, Number(tile.dataset.cell));
    });
  }
};

makeTheme();
const viewer = fields.length ? makeViewer() : null;
connectTiles(viewer);
viewer?.show(0);
for (const list of findAll(".roving")) rove(list);
