// Tile map, spread over tiles, histograms and the shift: drawings made of the numbers.
// Viridis (van der Walt & Smith 2015), sampled: readable without colour vision, and in grey.
const VIRIDIS = [[68, 1, 84], [72, 40, 120], [62, 74, 137], [49, 104, 142], [38, 130, 142], [31, 158, 137], [53, 183, 121], [109, 205, 89], [180, 222, 44], [253, 231, 37]];
const colour = (share) => {
  const at = clamp(share, 0, 1) * (VIRIDIS.length - 1);
  const low = Math.min(Math.floor(at), VIRIDIS.length - 2);
  return VIRIDIS[low].map((value, channel) => Math.round(value + (VIRIDIS[low + 1][channel] - value) * (at - low)));
};
const quantile = (sorted, share) => {
  const at = share * (sorted.length - 1);
  const low = Math.floor(at);
  return sorted[low] + ((sorted[Math.ceil(at)] ?? sorted[low]) - sorted[low]) * (at - low);
};
const tileMethods = () => (tiles ? record.methods.filter((method) => tiles.values[method]) : []);
const tileIndices = () => (tiles ? Object.keys(record.indices).filter((name) => tiles.values[OWN]?.[name]?.some((row) => row.some(known))) : []);
const sortedTiles = (method, name) => tiles.values[method][name].flat().filter(known).sort((a, b) => a - b);

// One scale for all methods; the rarest 2 % at each end do not stretch it.
const tileScale = (name) => {
  const all = tileMethods().flatMap((method) => (tiles.values[method][name] ? sortedTiles(method, name) : [])).sort((a, b) => a - b);
  const [low, high] = [quantile(all, 0.02), quantile(all, 0.98)];
  return high > low ? [low, high] : [low - 1e-6, high + 1e-6];
};
const share = (name, value, [low, high]) => {
  const at = (value - low) / (high - low);
  return record.indices[name].direction === "up" ? at : 1 - at;
};

const paintTiles = (canvas, method, name) => {
  const [rows, cols] = tiles.shape;
  canvas.width = cols;
  canvas.height = rows;
  const context = canvas.getContext("2d");
  const image = context.createImageData(cols, rows);
  const scale = tileScale(name);
  tiles.values[method][name].flat().forEach((value, at) => {
    if (known(value)) image.data.set([...colour(share(name, value, scale)), 255], at * 4);
  });
  context.putImageData(image, 0, 0);
};

const showLegend = (name) => {
  const [low, high] = tileScale(name);
  const strip = el("canvas", { width: 256, height: 1 });
  const context = strip.getContext("2d");
  for (let x = 0; x < 256; x += 1) {
    context.fillStyle = `rgb(${colour(x / 255).join(" ")})`;
    context.fillRect(x, 0, 1, 1);
  }
  const [bad, good] = record.indices[name].direction === "up" ? [low, high] : [high, low];
  byId("legend").replaceChildren(el("span", {}, `worse, ${number(name, bad)}`), strip, el("span", {}, `${number(name, good)}, better`));
};

const nice = (low, high, n) => {
  const raw = (high - low) / n;
  const power = 10 ** Math.floor(Math.log10(raw));
  const step = [1, 2, 2.5, 5, 10].map((factor) => factor * power).find((size) => size >= raw);
  const ticks = [];
  for (let at = Math.ceil(low / step) * step; at <= high + step * 1e-6; at += step) ticks.push(Number(at.toPrecision(10)));
  return ticks;
};

const showSpread = (name) => {
  const methods = tileMethods().filter((method) => tiles.values[method][name] && sortedTiles(method, name).length);
  const rows = methods.map((method) => ({ method, at: [0.05, 0.25, 0.5, 0.75, 0.95].map((part) => quantile(sortedTiles(method, name), part)) }));
  const low = Math.min(...rows.map((row) => row.at[0]));
  const high = Math.max(...rows.map((row) => row.at[4]));
  const room = high - low || 1e-6;
  const [left, width, step, top] = [118, 330, 38, 6];
  const x = (value) => left + ((value - low) / room) * (width - 14) + 4;
  const bottom = top + rows.length * step;
  const chart = svg("svg", { class: "chart", viewBox: `0 0 ${left + width} ${bottom + 26}`, role: "img", "aria-label": `${titleText(name)} over the tiles: ${rows.map((row) => `${methodText(row.method)} median ${number(name, row.at[2])}`).join(", ")}` });
  for (const tick of nice(low, high === low ? low + room : high, 4)) {
    chart.append(svg("line", { class: "axis", x1: x(tick), x2: x(tick), y1: top, y2: bottom }), svg("text", { x: x(tick), y: bottom + 18, "text-anchor": "middle" }, String(tick)));
  }
  rows.forEach(({ method, at }, order) => {
    const y = top + (order + 0.5) * step;
    chart.append(
      svg("g", { class: method === OWN ? "own" : null },
        svg("text", { class: "name", x: 0, y: y + 5 }, methodText(method)),
        svg("line", { class: "whisker", x1: x(at[0]), x2: x(at[4]), y1: y, y2: y }),
        svg("rect", { class: "box", x: x(at[1]), y: y - 9, width: Math.max(x(at[3]) - x(at[1]), 1), height: 18, rx: 3 }),
        svg("line", { class: "median", x1: x(at[2]), x2: x(at[2]), y1: y - 9, y2: y + 9 })),
    );
  });
  byId("spread").querySelector("svg")?.remove();
  byId("spread").prepend(chart);
};

const showHistograms = () => {
  byId("values").hidden = !sheet.histograms.length;
  const [width, height, base] = [300, 130, 108];
  byId("histograms").append(
    ...sheet.histograms.map(({ band, edges, ms, fused }) => {
      const [low, high] = [edges[0], edges[edges.length - 1]];
      const top = Math.max(...ms, ...fused) || 1;
      const x = (value) => ((value - low) / (high - low)) * width;
      const middle = (bin) => x((edges[bin] + edges[bin + 1]) / 2).toFixed(1);
      const line = (shares) => shares.map((value, bin) => `${middle(bin)} ${(base - (value / top) * (base - 6)).toFixed(1)}`).join("L");
      const last = ms.length - 1;
      const chart = svg("svg", { class: "chart", viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": `Values of ${band} before and after` },
        svg("path", { class: "ms", d: `M${middle(0)} ${base}L${line(ms)}L${middle(last)} ${base}` }),
        svg("path", { class: "fused", d: `M${line(fused)}` }),
        svg("line", { class: "axis", x1: 0, x2: width, y1: base, y2: base }));
      for (const tick of nice(low, high, 4)) {
        const at = x(tick);
        chart.append(svg("text", { x: at, y: height - 6, "text-anchor": at < 14 ? "start" : at > width - 14 ? "end" : "middle" }, tick.toLocaleString("en")));
      }
      return el("div", {}, el("h3", {}, band), chart);
    }),
  );
};

const shiftDrawing = (shift, ratio) => {
  const side = 100;
  const [dx, dy] = [-shift.col * side, -shift.row * side];
  const reach = Math.max(Math.abs(dx), Math.abs(dy), 8) + 6;
  const drawing = svg("svg", { viewBox: `${-reach} ${-reach} ${side + 2 * reach} ${side + 2 * reach}`, role: "img", "aria-label": "An MS pixel where the files put it, and where PAN shows its content" });
  for (let cell = 1; cell < ratio[1]; cell += 1) drawing.append(svg("line", { class: "pan", x1: (cell * side) / ratio[1], x2: (cell * side) / ratio[1], y1: 0, y2: side }));
  for (let cell = 1; cell < ratio[0]; cell += 1) drawing.append(svg("line", { class: "pan", y1: (cell * side) / ratio[0], y2: (cell * side) / ratio[0], x1: 0, x2: side }));
  drawing.append(
    svg("rect", { class: "place", width: side, height: side }),
    svg("rect", { class: "moved", x: dx, y: dy, width: side, height: side }),
    svg("line", { class: "arrow", x1: side / 2, y1: side / 2, x2: side / 2 + dx, y2: side / 2 + dy }),
    svg("circle", { class: "arrow", cx: side / 2 + dx, cy: side / 2 + dy, r: 2.5 }),
  );
  return drawing;
};

const signed = (value) => `${value < 0 ? "−" : "+"}${Math.abs(value).toFixed(2)}`;

const showShift = () => {
  const { ratio, tags } = record.scene;
  const shift = record.scene.shift ?? (tags?.SHIP_GEO_SHIFT ? JSON.parse(tags.SHIP_GEO_SHIFT) : null);
  const target = byId("alignment");
  if (!shift) return void target.append(el("p", {}, "The shift between PAN and MS was not measured."));
  const far = Math.hypot(shift.row, shift.col);
  const metres = sheet.pixelSize && ratio ? ` (${(Math.hypot(shift.row * ratio[0] * sheet.pixelSize[0], shift.col * ratio[1] * sheet.pixelSize[1])).toPrecision(2)} m)` : "";
  target.append(
    el("div", { class: "shift" }, shiftDrawing(shift, ratio ?? [1, 1]),
      el("div", {},
        el("p", { class: "big" }, `${far.toFixed(2)} MS pixel${metres}`),
        el("p", {}, `MS lies ${signed(-shift.row)} rows and ${signed(-shift.col)} columns off PAN; confidence ${known(shift.confidence) ? shift.confidence.toFixed(2) : "not known"} of 1.`),
        el("p", {}, "Full square: an MS pixel and the PAN pixels in it. Dashed: where its content lies."))),
  );
};
