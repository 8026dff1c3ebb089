// The picture: a divider between before and after, zoom and movement by mouse, touch and keyboard.
const makeViewer = () => {
  const look = sheet.quicklook;
  if (!look) {
    byId("picture").hidden = true;
    return null;
  }
  const stage = byId("stage");
  const handle = byId("handle");
  const overlay = byId("overlay");
  const layers = Object.fromEntries([...stage.querySelectorAll(".layer")].map((layer) => [layer.dataset.layer, layer]));
  const names = { ms: "MS", pan: "PAN", fused: "Sharpened" };
  for (const [key, layer] of Object.entries(layers)) layer.dataset.label = names[key] ?? "";
  const view = { scale: 1, x: 0, y: 0, divider: 0.5, left: "ms", fitted: true };
  const pixel = Math.sqrt(look.step[0] * look.step[1]); // output pixels in one of the picture
  stage.style.setProperty("--tall", look.height / look.width);

  const size = () => ({ width: stage.clientWidth, height: stage.clientHeight });
  const fitScale = () => Math.min(size().width / look.width, size().height / look.height);
  const mostScale = () => Math.max(16 * pixel, fitScale());

  const showScalebar = () => {
    if (!sheet.pixelSize) return;
    const metres = (sheet.pixelSize[1] * look.step[1]) / view.scale; // of a CSS pixel
    const most = metres * 130;
    const power = 10 ** Math.floor(Math.log10(most));
    const length = [5, 2, 1].map((factor) => factor * power).find((step) => step <= most);
    const bar = byId("scalebar");
    bar.hidden = false;
    bar.firstChild.nodeType === Node.TEXT_NODE ? (bar.firstChild.data = "") : bar.prepend("");
    bar.firstChild.data = length >= 1000 ? `${length / 1000} km` : `${length} m`;
    bar.querySelector("span").style.width = `${length / metres}px`;
  };

  const draw = () => {
    const { width, height } = size();
    const [w, h] = [look.width * view.scale, look.height * view.scale];
    view.x = w <= width ? (width - w) / 2 : clamp(view.x, width - w, 0);
    view.y = h <= height ? (height - h) / 2 : clamp(view.y, height - h, 0);
    const place = `translate(${view.x}px, ${view.y}px) scale(${view.scale})`;
    for (const layer of Object.values(layers)) layer.firstElementChild.style.transform = place;
    overlay.style.transform = place;
    stage.classList.toggle("near", view.scale * devicePixelRatio > 1.5);
    stage.classList.toggle("zoomed", !view.fitted);
    byId("zoom").textContent = `${Math.round((view.scale / pixel) * 100)} %`;
    showScalebar();
    split(view.divider);
  };

  const split = (share) => {
    view.divider = clamp(share, 0, 1);
    const at = view.divider * size().width;
    layers.fused.style.clipPath = `inset(0 0 0 ${at}px)`;
    handle.style.left = `${at}px`;
    const whole = Math.round(view.divider * 100);
    handle.setAttribute("aria-valuenow", whole);
    handle.setAttribute("aria-valuetext", `${whole} % ${names[view.left]}, ${100 - whole} % sharpened`);
    byId("left-tag").classList.toggle("away", at < 90);
    stage.querySelector(".tag.right").classList.toggle("away", size().width - at < 130);
  };

  const fit = () => {
    view.scale = fitScale();
    view.fitted = true;
    draw();
  };

  const zoom = (factor, x = size().width / 2, y = size().height / 2) => {
    const scale = clamp(view.scale * factor, fitScale(), mostScale());
    view.x = x - ((x - view.x) * scale) / view.scale;
    view.y = y - ((y - view.y) * scale) / view.scale;
    view.scale = scale;
    view.fitted = scale <= fitScale() * 1.0001;
    draw();
  };

  const move = (dx, dy) => {
    view.x += dx;
    view.y += dy;
    draw();
  };

  // Shows a box of the output grid with some ground around it.
  const show = ([row0, row1, col0, col1]) => {
    const [stepY, stepX] = look.step;
    const { width, height } = size();
    const [w, h] = [(col1 - col0) / stepX, (row1 - row0) / stepY];
    view.scale = clamp(0.6 * Math.min(width / w, height / h), fitScale(), mostScale());
    view.fitted = view.scale <= fitScale() * 1.0001;
    view.x = width / 2 - ((col0 + col1) / 2 / stepX) * view.scale;
    view.y = height / 2 - ((row0 + row1) / 2 / stepY) * view.scale;
    draw();
  };

  const position = (event) => {
    const box = stage.getBoundingClientRect();
    return [event.clientX - box.left, event.clientY - box.top];
  };

  const pointers = new Map();
  let onHandle = false;
  const spread = () => {
    const [one, other] = [...pointers.values()];
    return { far: Math.hypot(one[0] - other[0], one[1] - other[1]), x: (one[0] + other[0]) / 2, y: (one[1] + other[1]) / 2 };
  };
  stage.addEventListener("pointerdown", (event) => {
    if (event.button) return;
    if (!pointers.size) onHandle = handle.contains(event.target);
    pointers.set(event.pointerId, position(event));
    stage.setPointerCapture(event.pointerId);
    stage.classList.add("dragging");
    (onHandle ? handle : stage).focus({ preventScroll: true, focusVisible: false });
    if (onHandle) event.preventDefault();
  });
  stage.addEventListener("pointermove", (event) => {
    if (!pointers.has(event.pointerId)) return;
    const [before, now] = [pointers.get(event.pointerId), position(event)];
    if (pointers.size === 2) {
      const was = spread();
      pointers.set(event.pointerId, now);
      const is = spread();
      zoom(is.far / Math.max(was.far, 1), is.x, is.y);
      if (!view.fitted) move(is.x - was.x, is.y - was.y);
      return;
    }
    pointers.set(event.pointerId, now);
    if (onHandle || view.fitted) split(now[0] / size().width);
    else move(now[0] - before[0], now[1] - before[1]);
  });
  for (const kind of ["pointerup", "pointercancel"]) {
    stage.addEventListener(kind, (event) => {
      pointers.delete(event.pointerId);
      if (!pointers.size) stage.classList.remove("dragging");
    });
  }
  stage.addEventListener("dblclick", (event) => {
    if (!handle.contains(event.target)) zoom(2, ...position(event));
  });
  stage.addEventListener("wheel", (event) => {
    if (!event.ctrlKey && !event.metaKey && !stage.contains(document.activeElement)) return; // the page scrolls
    event.preventDefault();
    zoom(Math.exp(-clamp(event.deltaY, -100, 100) / 250), ...position(event));
  }, { passive: false });

  const keys = (event, actions) => {
    const action = actions[event.key];
    if (!action || event.ctrlKey || event.metaKey || event.altKey) return;
    event.preventDefault();
    event.stopPropagation();
    action();
  };
  const zoomKeys = { "+": () => zoom(1.5), "=": () => zoom(1.5), "-": () => zoom(1 / 1.5), "0": fit };
  handle.addEventListener("keydown", (event) => {
    const step = event.shiftKey ? 0.1 : 0.02;
    const by = (change) => () => split(Math.round((view.divider + change) * 100) / 100);
    keys(event, {
      ArrowLeft: by(-step), ArrowDown: by(-step), ArrowRight: by(step), ArrowUp: by(step),
      PageDown: by(-0.1), PageUp: by(0.1), Home: () => split(0), End: () => split(1), ...zoomKeys,
    });
  });
  stage.addEventListener("keydown", (event) => {
    const walk = view.fitted ? {} : { ArrowLeft: () => move(60, 0), ArrowRight: () => move(-60, 0), ArrowUp: () => move(0, 60), ArrowDown: () => move(0, -60) };
    keys(event, { ...walk, ...zoomKeys });
  });

  const compare = (left) => {
    view.left = left;
    layers.ms.hidden = left !== "ms";
    layers.pan.hidden = left !== "pan";
    byId("left-tag").textContent = names[left];
    for (const button of document.querySelectorAll("[data-left]")) button.setAttribute("aria-pressed", button.dataset.left === left);
    split(view.divider);
  };
  for (const button of document.querySelectorAll("[data-left]")) button.addEventListener("click", () => compare(button.dataset.left));

  const actions = { in: () => zoom(1.5), out: () => zoom(1 / 1.5), fit };
  for (const button of document.querySelectorAll("[data-zoom]")) button.addEventListener("click", actions[button.dataset.zoom]);

  const shown = { mask: layers.mask, tiles: tileIndices().length ? overlay : null };
  for (const button of document.querySelectorAll("[data-toggle]")) {
    const target = shown[button.dataset.toggle];
    if (!target) {
      button.hidden = true;
      continue;
    }
    button.addEventListener("click", () => {
      target.hidden = !target.hidden;
      button.setAttribute("aria-pressed", !target.hidden);
    });
  }
  for (const group of document.querySelectorAll("#picture .segment")) group.hidden = [...group.children].every((child) => child.hidden);

  // The tiles lie on the counted region, which may leave out a border.
  const overlayTiles = (method, name) => {
    const [row0, row1, col0, col1] = record.conventions.region;
    const [rows, cols] = tiles.shape;
    const tile = record.conventions.tile;
    const small = document.createElement("canvas");
    paintTiles(small, method, name);
    overlay.width = look.width;
    overlay.height = look.height;
    const context = overlay.getContext("2d");
    const [stepY, stepX] = look.step;
    context.imageSmoothingEnabled = false;
    context.beginPath();
    context.rect(col0 / stepX, row0 / stepY, (col1 - col0) / stepX, (row1 - row0) / stepY);
    context.clip();
    context.drawImage(small, col0 / stepX, row0 / stepY, (cols * tile) / stepX, (rows * tile) / stepY);
  };

  new ResizeObserver(() => (view.fitted ? fit() : draw())).observe(stage);
  compare("ms");
  fit();
  byId("picture-intro").textContent = `${describeBands()} Both sides share one stretch (1st to 99th percentile of MS), so a difference in colour is one in the values.${pixel > 1.01 ? ` One pixel of the picture stands for ${look.step.map((step) => step.toFixed(1)).join(" × ")} output pixels.` : ""}`;
  return { show, overlayTiles, layers };
};

const describeBands = () => {
  const [red, green, blue] = sheet.shown;
  if (red === green) return `Band ${red} in grey.`;
  if (red === "red" && green === "green" && blue === "blue") return "Natural colours.";
  return `Bands ${red}, ${green} and ${blue} as red, green and blue.`;
};
