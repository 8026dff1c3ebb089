// Puts the parts together.
const boxOf = (row, col) => {
  const { tile, region: [row0, row1, col0, col1] } = record.conventions;
  const [top, left] = [row0 + row * tile, col0 + col * tile];
  return [top, Math.min(top + tile, row1), left, Math.min(left + tile, col1)];
};

const showInPicture = (viewer, box) => {
  viewer.show(box);
  const calm = matchMedia("(prefers-reduced-motion: reduce)").matches;
  byId("picture").scrollIntoView({ behavior: calm ? "auto" : "smooth", block: "start" });
  byId("handle").focus({ preventScroll: true });
};

const showMap = (viewer) => {
  const names = tileIndices();
  if (!names.length) return void (byId("map").hidden = true);
  const [rows, cols] = tiles.shape;
  const [chooseIndex, chooseMethod] = [byId("map-index"), byId("map-method")];
  chooseIndex.append(...names.map((name) => el("option", { value: name }, titleText(name))));
  chooseMethod.append(...tileMethods().map((method) => el("option", { value: method }, methodText(method))));
  if (names.includes(sheet.worstIndex)) chooseIndex.value = sheet.worstIndex;
  else chooseIndex.value = ["q2n", "hqnr"].find((name) => names.includes(name)) ?? names[0];
  const map = byId("tilemap");
  const cursor = map.querySelector(".cursor");
  const { tile, region: [row0, row1, col0, col1] } = record.conventions;
  const [high, wide] = [(row1 - row0) / tile, (col1 - col0) / tile]; // in tiles: the last ones may be cut
  map.style.aspectRatio = `${wide} / ${high}`;
  map.style.maxWidth = `min(100%, ${(520 * wide) / high}px)`;
  Object.assign(map.querySelector("canvas").style, { width: `${(cols / wide) * 100}%`, height: `${(rows / high) * 100}%` });
  byId("legend").style.maxWidth = map.style.maxWidth;
  const at = { row: 0, col: 0, seen: false };
  const tell = () => {
    const name = chooseIndex.value;
    const value = tiles.values[chooseMethod.value][name][at.row][at.col];
    cursor.hidden = !at.seen;
    cursor.style.left = `${(at.col / wide) * 100}%`;
    cursor.style.top = `${(at.row / high) * 100}%`;
    cursor.style.width = `${(Math.min(1, wide - at.col) / wide) * 100}%`;
    cursor.style.height = `${(Math.min(1, high - at.row) / high) * 100}%`;
    const box = boxOf(at.row, at.col);
    const text = known(value) ? `${titleText(name)} ${withUnit(name, value)}` : "no value";
    byId("tile-readout").textContent = at.seen
      ? `Tile ${at.row + 1}, ${at.col + 1} (rows ${box[0]}–${box[1] - 1}, columns ${box[2]}–${box[3] - 1}): ${text}, ${percent(tiles.valid_fraction[at.row][at.col])} valid`
      : `${count(rows * cols, "tile", "tiles")} of ${record.conventions.tile} × ${record.conventions.tile} pixels. Point at one, or use the arrow keys.`;
  };
  const go = (row, col) => {
    Object.assign(at, { row: clamp(row, 0, rows - 1), col: clamp(col, 0, cols - 1), seen: true });
    tell();
  };
  const redraw = () => {
    paintTiles(map.querySelector("canvas"), chooseMethod.value, chooseIndex.value);
    showLegend(chooseIndex.value);
    showSpread(chooseIndex.value);
    viewer?.overlayTiles(chooseMethod.value, chooseIndex.value);
    tell();
  };
  const under = (event) => {
    const box = map.getBoundingClientRect();
    go(Math.floor(((event.clientY - box.top) / box.height) * high), Math.floor(((event.clientX - box.left) / box.width) * wide));
  };
  map.addEventListener("pointermove", under);
  map.addEventListener("click", (event) => {
    under(event);
    if (viewer) showInPicture(viewer, boxOf(at.row, at.col));
  });
  map.addEventListener("keydown", (event) => {
    const step = { ArrowLeft: [0, -1], ArrowRight: [0, 1], ArrowUp: [-1, 0], ArrowDown: [1, 0] }[event.key];
    if (step) go(...(at.seen ? [at.row + step[0], at.col + step[1]] : [0, 0]));
    else if (event.key === "Enter" && at.seen && viewer) showInPicture(viewer, boxOf(at.row, at.col));
    else return;
    event.preventDefault();
  });
  chooseIndex.addEventListener("change", redraw);
  chooseMethod.addEventListener("change", redraw);
  redraw();
};

const showWorst = (viewer) => {
  if (!sheet.worst.length) return void (byId("worst").hidden = true);
  const name = sheet.worstIndex;
  byId("worst-intro").textContent = `The tiles where ${titleText(name)} is worst, pixel by pixel. Each is brightened for itself: its three pictures can be compared with each other.`;
  document.querySelectorAll("figure.worst").forEach((figure, order) => {
    const { row, col, box } = sheet.worst[order];
    const value = tiles.values[OWN][name][row][col];
    const caption = figure.querySelector("figcaption");
    const button = el("button", { type: "button", class: "link" }, "Show in the picture");
    button.addEventListener("click", () => showInPicture(viewer, box));
    caption.append(el("b", { "data-worst": order }, ...titleNodes(name), ` ${withUnit(name, value)}`), button, el("span", {}, `Tile ${row + 1}, ${col + 1} · rows ${box[0]}–${box[1] - 1}, columns ${box[2]}–${box[3] - 1}`));
  });
};

const showMasks = (viewer) => {
  const target = byId("masks");
  const valid = record.totals[OWN].valid_fraction;
  const meter = el("div", { class: "meter", role: "img", "aria-label": `${percent(valid)} of the pixels are valid` }, el("span"));
  meter.firstChild.style.width = `${(valid ?? 0) * 100}%`;
  target.append(el("p", { class: "big" }, `${percent(valid)} valid`), meter);
  if (!viewer || !sheet.quicklook.hasMask) {
    target.append(el("p", {}, valid === 1 ? "Every pixel of the scene counts." : "A pixel counts where PAN, all MS bands and the sharpened image have data."));
    return;
  }
  target.append(el("p", {}, "A pixel counts where PAN, all MS bands and the sharpened image have data; the hatching marks the others."));
  const { width, height } = sheet.quicklook;
  const small = Math.min(1, 360 / Math.max(width, height));
  const canvas = el("canvas", { class: "maskview", width: Math.round(width * small), height: Math.round(height * small), role: "img", "aria-label": "Where the scene has no data" });
  target.append(canvas);
  const images = ["fused", "mask"].map((name) => viewer.layers[name].firstElementChild);
  Promise.all(images.map((image) => image.decode())).then(() => {
    const context = canvas.getContext("2d");
    for (const image of images) context.drawImage(image, 0, 0, canvas.width, canvas.height);
  });
};

const viewer = makeViewer();
showSummary();
showMetrics();
showBands();
showMap(viewer);
showWorst(viewer);
showHistograms();
showShift();
showMasks(viewer);
showProvenance();

// Paper shows what is folded on the screen.
let opened = [];
addEventListener("beforeprint", () => {
  opened = [...document.querySelectorAll("details:not([open])")];
  for (const block of opened) block.open = true;
});
addEventListener("afterprint", () => {
  for (const block of opened) block.open = false;
});
