// A row of controls a channel: on or off, and the levels that are black and full.

const makeChannels = (onChange) => {
  const box = find("#channels");
  const channels = CHANNELS.map(() => ({ on: true, low: 0, high: 255 }));
  let palette = "atlas";

  const slider = (index, key, label) => {
    const value = channels[index][key];
    const name = `${CHANNELS[index]}: ${label}`;
    const input = make("input", { type: "range", min: 0, max: 255, value, "aria-label": name, title: label });
    input.addEventListener("input", () => {
      channels[index][key] = Number(input.value);
      // Black stays below full: whichever is moved takes the other along.
      const [low, high] = findAll("input[type=range]", rows[index]);
      if (channels[index].low >= channels[index].high) {
        const other = key === "low" ? "high" : "low";
        channels[index][other] = Math.min(255, Math.max(0, channels[index][key] + (key === "low" ? 1 : -1)));
        (key === "low" ? high : low).value = channels[index][other];
      }
      onChange();
    });
    return input;
  };

  const rowOf = (name, index) => {
    const check = make("input", { type: "checkbox", checked: "" });
    check.addEventListener("change", () => { channels[index].on = check.checked; onChange(); });
    return make("div", { class: "channel" },
      make("label", { class: "check" }, check, make("i", { class: "dot" }), name),
      make("span", { class: "levels" },
        slider(index, "low", "level that is black"),
        slider(index, "high", "level that is full")));
  };

  const rows = CHANNELS.map(rowOf);
  const paint = () => rows.forEach((row, index) => {
    // Lighter than in the picture, so that a faint one is told apart.
    const parts = PALETTES[palette].colors[index].map((part) => Math.round(255 * Math.min(1, 1.6 * part + 0.08)));
    find(".dot", row).style.background = `rgb(${parts.join(" ")})`;
  });
  const choice = make("select", { "aria-label": "Colours of the channels" },
    ...Object.entries(PALETTES).map(([key, { name }]) => make("option", { value: key }, name)));
  choice.addEventListener("change", () => { palette = choice.value; paint(); onChange(); });

  const reset = make("button", { type: "button", class: "quiet" }, "Reset levels");
  reset.addEventListener("click", () => {
    channels.forEach((channel) => Object.assign(channel, { on: true, low: 0, high: 255 }));
    for (const row of rows) {
      const [low, high] = findAll("input[type=range]", row);
      [find("input[type=checkbox]", row).checked, low.value, high.value] = [true, 0, 255];
    }
    onChange();
  });

  box.append(...rows, make("div", { class: "palette" }, choice, reset));
  paint();
  return {
    mixed: (picture) => mix(picture, channels, palette),
    // A channel that is black all over has nothing to switch.
    show: ({ greys }) => rows.forEach((row, index) => row.classList.toggle("empty", !greys[index])),
  };
};
