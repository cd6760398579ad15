// Four grey pictures become one in colours.

const CHANNELS = ["Microtubules", "Protein", "Nucleus", "ER"];
const PROTEIN = 1;
// Red, green and blue of each channel. The ER is faint in all: it fills most of a cell.
const PALETTES = {
  atlas: { name: "Atlas: red, green, blue, yellow", colors: [[0.9, 0, 0], [0, 1, 0], [0, 0, 1], [0.3, 0.25, 0]] },
  safe: {
    name: "Yellow on blue, for any eyes",
    colors: [[0.5, 0.1, 0.45], [1, 0.86, 0.1], [0.05, 0.3, 0.95], [0.16, 0.16, 0.16]],
  },
};
const WHITE = [1, 1, 1];

const greyOf = async (uri, width, height) => {
  if (!uri) return null;
  const image = new Image();
  image.src = uri;
  await image.decode();
  const canvas = make("canvas", { width, height });
  const context = canvas.getContext("2d", { willReadFrequently: true });
  context.drawImage(image, 0, 0);
  const { data } = context.getImageData(0, 0, width, height);
  return Uint8Array.from({ length: width * height }, (_, at) => data[4 * at]);
};

const decodeField = async (index) => {
  const picture = pictureOf(index);
  const { width, height, channels } = picture;
  return { ...picture, greys: await Promise.all(channels.map((uri) => greyOf(uri, width, height))) };
};

// What each level adds to red, green and blue: black up to `low`, full from `high`.
const tableOf = ({ low, high }, color) => {
  const table = new Float32Array(768);
  for (let level = 0; level < 256; level += 1) {
    const share = Math.min(1, Math.max(0, (level - low) / Math.max(1, high - low)));
    color.forEach((part, at) => { table[3 * level + at] = 255 * share * part; });
  }
  return table;
};

// One channel alone is shown in grey, in which most can be seen.
const mix = ({ width, height, greys }, channels, palette) => {
  const image = new ImageData(width, height);
  const used = channels.map((_, at) => at).filter((at) => channels[at].on && greys[at]);
  const tables = used.map((at) => tableOf(channels[at], used.length === 1 ? WHITE : PALETTES[palette].colors[at]));
  const { data } = image;
  for (let at = 0, to = 0; to < data.length; at += 1, to += 4) {
    let red = 0, green = 0, blue = 0;
    for (let one = 0; one < used.length; one += 1) {
      const level = 3 * greys[used[one]][at];
      red += tables[one][level];
      green += tables[one][level + 1];
      blue += tables[one][level + 2];
    }
    data[to] = red;
    data[to + 1] = green;
    data[to + 2] = blue;
    data[to + 3] = 255;
  }
  return image;
};
