// Summary, tables and lists: everything that is text.
const known = (value) => value !== null && value !== undefined;

// Methods that sharpen, the best first; interpolated MS changes nothing and is no rival.
const ranking = (name) =>
  record.methods
    .filter((method) => method !== FLOOR && known(record.totals[method]?.[name]))
    .sort((one, other) => (isBetter(name, record.totals[one][name], record.totals[other][name]) ? -1 : 1));

const place = (name) => {
  const own = record.totals[OWN][name];
  const methods = ranking(name);
  const before = methods.filter((method) => isBetter(name, record.totals[method][name], own)).length;
  return { rank: before + 1, of: methods.length, best: methods[0], rival: methods.find((method) => method !== OWN) };
};

const rankText = (name) => {
  const { rank, of, best, rival } = place(name);
  if (of < 2) return null;
  return rank === 1
    ? { first: true, text: `Best of ${of}`, rest: `next: ${rival} ${number(name, record.totals[rival][name])}` }
    : { first: false, text: `${ordinal(rank)} of ${of}`, rest: `best: ${best} ${number(name, record.totals[best][name])}` };
};

const hasReference = Object.values(record.indices).some((fact) => fact.kind === "reference");
const HEADLINES = hasReference ? ["q2n", "ergas", "sam", "psnr"] : ["hqnr", "d_lambda_k", "d_s", "r_ergas"];

const showSummary = () => {
  const names = HEADLINES.filter((name) => record.indices[name] && known(record.totals[OWN][name]));
  byId("cards").append(
    ...names.map((name) => {
      const rank = rankText(name);
      const value = el("p", { class: "value", "data-index": name }, number(name, record.totals[OWN][name]));
      if (unitText(name)) value.append(el("small", {}, unitText(name)));
      return el(
        "div", { class: "card" }, el("h3", {}, ...titleNodes(name)), value,
        rank && el("p", {}, el("span", { class: rank.first ? "rank first" : "rank" }, rank.text), `, ${rank.rest}`),
        el("p", {}, goal(name)),
      );
    }),
  );
  const rivals = record.methods.filter((method) => method !== OWN && method !== FLOOR).length;
  const first = names.filter((name) => rivals && place(name).rank === 1).map(titleText);
  const judged = hasReference ? "Judged against a reference image" : "Judged without a reference, against the PAN and MS pair itself";
  const wins = !rivals ? "" : first.length ? `best of ${rivals + 1} methods in ${first.join(", ")}` : `another of ${rivals + 1} methods is best in each of these`;
  const valid = record.totals[OWN].valid_fraction;
  byId("verdict").textContent = `${judged}, over ${percent(valid)} of the scene${wins ? `: ${wins}` : ""}.`;
  const scene = record.scene;
  const title = scene.name || "Scene";
  byId("title").textContent = title;
  const [rows, cols] = scene.shape ?? [];
  const size = sheet.pixelSize;
  byId("lede").textContent = [
    scene.sensor,
    scene.time && String(scene.time).replace("T", " ").replace(/(:\d\d)\.\d+/, "$1"),
    rows && `${rows.toLocaleString("en")} × ${cols.toLocaleString("en")} pixels${size ? ` of ${Number(size[0].toPrecision(3))} m` : ""}`,
    `${count(record.bands.length, "band", "bands")}`,
  ].filter(Boolean).join(" · ");
  const warnings = [...(scene.warnings ?? []), ...sheet.notes];
  if (warnings.length) {
    byId("warnings").append(
      el("div", { class: "notice" }, el("strong", {}, "To keep in mind"), el("ul", {}, ...warnings.map((text) => el("li", {}, text)))),
    );
  }
};

const GROUPS = {
  reference: "Against the reference",
  scale: "At full resolution, against PAN and MS",
  consistency: "Brought back to the MS grid, against MS",
};

const methodCells = (name) => {
  const best = ranking(name);
  const values = best.map((method) => number(name, record.totals[method][name]));
  return record.methods.map((method) => {
    const value = record.totals[method]?.[name];
    const shown = number(name, value);
    const kinds = [method === OWN && "own", method === FLOOR && "floor", best.length > 1 && method !== FLOOR && known(value) && shown === values[0] && "best"];
    return el("td", { class: kinds.filter(Boolean).join(" ") || null, "data-method": method, "data-index": name, title: known(value) ? String(value) : "not defined here" }, shown);
  });
};

const showMetrics = () => {
  const head = el("tr", {}, el("th", { scope: "col" }, "Index"), ...record.methods.map((method) => el("th", { scope: "col", class: method === OWN ? "own" : null }, methodText(method))));
  const body = el("tbody");
  for (const [kind, label] of Object.entries(GROUPS)) {
    const names = Object.keys(record.indices).filter((name) => record.indices[name].kind === kind);
    if (!names.length) continue;
    body.append(el("tr", { class: "group" }, el("th", { colspan: record.methods.length + 1, scope: "rowgroup" }, el("span", {}, label))));
    for (const name of names) {
      const { caveat, direction } = record.indices[name];
      const sign = el("span", { class: "sign", role: "img", "aria-label": goal(name), title: goal(name) }, direction === "up" ? " ↑" : " ↓");
      const unit = unitText(name) ? ` (${unitText(name)})` : null;
      body.append(el("tr", {}, el("th", { scope: "row" }, ...titleNodes(name), unit, sign, el("small", {}, caveat)), ...methodCells(name)));
    }
  }
  byId("metrics").append(el("thead", {}, head), body);
  const floor = record.methods.includes(FLOOR) ? " Interpolated MS is the floor: some indices without a reference favour it because it changes nothing, so it is never marked." : "";
  byId("numbers-intro").textContent = record.methods.length > 1 ? `The dot marks the best method of each row; ↑ higher is better, ↓ lower is better.${floor}` : "No other method was compared; ↑ higher is better, ↓ lower is better.";
};

const showBands = () => {
  const own = record.per_band?.[OWN] ?? {};
  const names = Object.keys(own).filter((name) => record.indices[name]);
  if (!names.length) return void (byId("bands-block").hidden = true);
  byId("bands").append(
    el("thead", {}, el("tr", {}, el("th", { scope: "col" }, "Band"), ...names.map((name) => el("th", { scope: "col" }, ...titleNodes(name))))),
    el("tbody", {}, ...record.bands.map((band, place) => el("tr", {}, el("th", { scope: "row" }, band), ...names.map((name) => el("td", {}, number(name, own[name][place])))))),
  );
};

// Any value of the record as text or a list.
const asNode = (value) => {
  if (!known(value)) return "not known";
  if (Array.isArray(value)) {
    if (!value.length) return "none";
    if (value.every((item) => typeof item === "number")) return value.map((item) => Number(item.toPrecision(7))).join(", ");
    if (value.every((item) => typeof item === "string" && item.length < 16)) return value.join(", ");
    return el("ul", {}, ...value.map((item) => el("li", {}, asNode(item))));
  }
  if (typeof value === "object") {
    const entries = Object.entries(value);
    if (!entries.length) return "none";
    if (entries.every(([, item]) => typeof item === "number")) return entries.map(([key, item]) => `${item.toLocaleString("en")} ${words(key)}`).join(", ");
    return el("ul", {}, ...Object.entries(value).map(([key, item]) => el("li", {}, `${words(key)}: `, asNode(item))));
  }
  return String(value);
};
const words = (key) => (/^[A-Z0-9_]+$/.test(key) ? key.replace(/^SHIP_GEO_/, "").toLowerCase() : key).replaceAll("_", " ");
const put = (list, label, value) => list.append(el("dt", {}, label), el("dd", {}, asNode(value)));

const LABELS = {
  crs: "CRS", fused: "sharpened image", files: "source files", shape: "rows, columns", dtype: "data type", product_id: "product",
  version: "judged with ship_geo", created: "judged at", TIFFTAG_SOFTWARE: "sharpened with",
};
const SHOWN_ELSEWHERE = new Set(["name", "shift", "warnings", "notes", "tags", "SHIP_GEO_SHIFT", "SHIP_GEO_GEOMETRY"]);

const showProvenance = () => {
  const { scene, conventions } = record;
  const facts = byId("facts");
  const putAll = (values) => {
    for (const [key, value] of Object.entries(values)) {
      if (SHOWN_ELSEWHERE.has(key) || !known(value) || value === "") continue;
      put(facts, LABELS[key] ?? words(key), key === "SHIP_GEO_PARAMETERS" ? JSON.parse(value) : value);
    }
  };
  putAll(scene.tags ?? {});
  putAll(scene);
  if (scene.notes?.length) put(facts, "notes", scene.notes);
  put(facts, "report format", record.schema);
  for (const [key, value] of Object.entries(conventions ?? {})) put(byId("conventions"), words(key), value);
  byId("foot").textContent = "This file holds all of its pictures and numbers and asks for nothing from the network.";
};
