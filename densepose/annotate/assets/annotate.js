"use strict";
// The page of densepose annotate. Positions in the photo are image px, (0, 0) is the outer corner of
// the upper left pixel. The server owns the state: every action is answered with the new one.

const $ = (id) => document.getElementById(id);
const KEYS = "1234567890qwertyuiopasdf"; // of regions
const ROW_PX = 56, CHUNK = 50;
const ADVANCE_MS = 600;
const SVG = "http://www.w3.org/2000/svg";

const project = {};
let who = localStorage.getItem("who") || "";
let photo = null; // {number, name, width, height, instances, image}
let instance = null; // what the server says of the chosen one
let layer = null; // picture of its regions
let step = 1;
let region = 1, tool = "polygon", erase = false, brush = 20;
let drawing = null; // corners of the polygon, or the line of the brush, or a box
let cursor = null; // image px
let current = null; // id of the point that is asked for
let zoom = { scale: 1, x: 0, y: 0 }; // screen = image * scale + (x, y)

// ---- the server

async function ask(path, body) {
  const options = body && {
    method: "POST", body: JSON.stringify(body), headers: { "Content-Type": "application/json" },
  };
  let reply;
  try {
    reply = await fetch(path, options);
  } catch {
    throw new Error("The server does not answer; this was not saved. Is densepose annotate running?");
  }
  if (reply.status === 500) {
    throw new Error("A fault of the program; this was not saved. Its terminal shows the reason.");
  }
  const content = await reply.json();
  if (!reply.ok) throw new Error(content.problem);
  return content;
}

let queue = Promise.resolve();
let waiting = 0;

// Actions are sent one after another, so that strokes keep their order.
function act(action) {
  waiting += 1;
  const result = queue.then(() => ask("do", { who, ...action })).finally(() => { waiting -= 1; });
  queue = result.catch(() => {});
  return result;
}

function say(text, bad = false) {
  $("status").textContent = text;
  $("status").classList.toggle("bad", bad);
}

// Runs a handler; what goes wrong becomes the line at the bottom.
const guarded = (handler) => async (...words) => {
  try {
    await handler(...words);
  } catch (error) {
    say(error.message, true);
    redraw();
    // Somebody else may have changed the instance in the meantime.
    if (instance) await ask(stateOf(instance.id)).then(show, () => {});
  }
};

const stateOf = (id) => `instance/${id}?who=${encodeURIComponent(who)}`;

// ---- photos

let opening = 0; // counts up, so that of several photos opened at once the last one is shown

const openPhoto = guarded(async (number, wanted) => {
  if (number < 0 || number >= project.photos) return;
  opening += 1;
  const ticket = opening;
  photo = instance = layer = drawing = current = null;
  setStep(1);
  $("title").textContent = `photo ${number + 1}`;
  history.replaceState(null, "", `#photo=${number}`);
  markList(number);
  redraw();
  say("Opening ...");
  const found = await ask(`photo/${number}`);
  const image = await loadImage(`photo/${number}.jpg`);
  if (ticket !== opening) return;
  photo = { number, image, ...found };
  $("title").textContent = $("title").title = found.name;
  fit([0, 0, photo.width, photo.height]);
  fillList();
  const chosen = found.instances.find((one) => one.id === wanted) || found.instances[0];
  if (chosen) await choose(chosen.id);
  else { say("Drag a box around the person."); redraw(); }
});

function loadImage(address) {
  return new Promise((resolve, reject) => {
    const image = new Image();
    image.onload = () => resolve(image);
    image.onerror = () => reject(new Error(`${address} cannot be shown`));
    image.src = address;
  });
}

async function choose(id) {
  const ticket = opening;
  const state = await ask(stateOf(id));
  if (ticket !== opening) return;
  await show(state);
  fit(instance.box);
  region = Math.max(1, firstMissing());
  hint();
  redraw();
}

// Takes the state of an instance that the server sent.
async function show(state) {
  if (state.deleted !== undefined) {
    photo.instances = photo.instances.filter((one) => one.id !== state.deleted);
    instance = layer = null;
    setStep(1);
    if (photo.instances.length) await choose(photo.instances[0].id);
    else say("Drag a box around the person.");
    redraw();
    return;
  }
  const before = instance;
  instance = state;
  const summary = { id: state.id, box: state.box, finished: state.finished };
  const place = photo.instances.findIndex((one) => one.id === state.id);
  if (place < 0) photo.instances.push(summary); else photo.instances[place] = summary;
  history.replaceState(null, "", `#photo=${photo.number}&instance=${state.id}&step=${step}`);
  $("picture").href = `picture/${state.id}.png`;
  $("picture").hidden = false;
  if (step === 1 || !before || before.id !== state.id) {
    const image = await loadImage(`regions/${state.id}.png?v=${state.version}`);
    if (instance === state) layer = image; // a later answer may have come in the meantime
  }
  const answered = state.points.filter((point) => point.kind).length;
  $("progress").textContent = step === 2 || answered
    ? `${answered} of ${state.points.length} points` + (state.finished ? ", finished" : "")
    : `${state.regions.length} of ${project.regions.length} parts`;
  for (const [k, button] of [...$("regions").querySelectorAll("button")].entries()) {
    button.classList.toggle("drawn", state.regions.includes(k + 1));
  }
  redraw();
}

function firstMissing() {
  return project.regions.findIndex((_, k) => !instance.regions.includes(k + 1)) + 1;
}

function hint() {
  if (step === 1) say(`Step 1: outline ${project.regions[region - 1]}. Enter closes the polygon.`);
}

// ---- list of photos: only the rows near the window exist

const rows = new Map(); // number -> button
let listed = -1;

function markList(number) {
  listed = number;
  for (const [k, row] of rows) row.classList.toggle("on", k === number);
  const top = number * ROW_PX, list = $("list");
  if (top < list.scrollTop || top + ROW_PX > list.scrollTop + list.clientHeight) {
    list.scrollTop = top - list.clientHeight / 2;
  }
  fillList();
}

const fillList = guarded(async () => {
  const list = $("list");
  const first = Math.max(0, Math.floor(list.scrollTop / ROW_PX) - 5);
  const last = Math.min(project.photos, first + Math.ceil(list.clientHeight / ROW_PX) + 10);
  for (const [k, row] of rows) {
    if (k < first || k >= last) { row.remove(); rows.delete(k); }
  }
  for (let chunk = Math.floor(first / CHUNK); chunk * CHUNK < last; chunk += 1) {
    const begin = Math.max(first, chunk * CHUNK), end = Math.min(last, (chunk + 1) * CHUNK);
    for (const one of await ask(`photos?first=${begin}&count=${end - begin}`)) fillRow(one);
  }
});

function fillRow(one) {
  let row = rows.get(one.number);
  if (!row) {
    row = document.createElement("button");
    row.className = "photo";
    row.style.top = `${one.number * ROW_PX}px`;
    row.innerHTML = '<img loading="lazy" alt=""><span><b></b><small></small></span>';
    row.querySelector("img").src = `photo/${one.number}.jpg?small`;
    row.addEventListener("click", () => openPhoto(one.number));
    rows.set(one.number, row);
    $("rows").append(row);
  }
  row.title = one.name;
  const name = one.name.split("/").pop();
  row.querySelector("b").textContent = name.length > 16 ? `\u2026${name.slice(-15)}` : name;
  const state = row.querySelector("small");
  state.textContent = one.boxes ? `${one.finished} of ${one.boxes} done` : "new";
  if (one.who) state.textContent += `, ${one.who}`;
  state.classList.toggle("done", one.boxes > 0 && one.finished === one.boxes);
  row.classList.toggle("on", one.number === listed);
}

const nextPhoto = guarded(async () => {
  const from = photo ? photo.number : listed;
  const { number } = await ask(`next?after=${from + 1}&who=${encodeURIComponent(who)}`);
  if (number === null) say("All photos have been finished.");
  else await openPhoto(number);
});

// ---- drawing the photo

function fit([x, y, width, height], fill = 0.9) {
  const { clientWidth, clientHeight } = $("photo");
  const scale = fill * Math.min(clientWidth / width, clientHeight / height);
  zoom = {
    scale,
    x: clientWidth / 2 - (x + width / 2) * scale,
    y: clientHeight / 2 - (y + height / 2) * scale,
  };
}

const toScreen = ([x, y]) => [x * zoom.scale + zoom.x, y * zoom.scale + zoom.y];
const toImage = (event) => {
  const frame = $("photo").getBoundingClientRect();
  return [
    (event.clientX - frame.left - zoom.x) / zoom.scale,
    (event.clientY - frame.top - zoom.y) / zoom.scale,
  ];
};

let isDrawn = true;
function redraw() {
  if (isDrawn) requestAnimationFrame(draw);
  isDrawn = false;
}

function draw() {
  isDrawn = true;
  const canvas = $("photo"), density = window.devicePixelRatio;
  canvas.width = canvas.clientWidth * density;
  canvas.height = canvas.clientHeight * density;
  const pen = canvas.getContext("2d");
  if (!photo) return;
  pen.setTransform(density, 0, 0, density, 0, 0);
  pen.imageSmoothingEnabled = zoom.scale < 3;
  const rectangle = ([x, y, width, height]) => [
    ...toScreen([x, y]), width * zoom.scale, height * zoom.scale,
  ];
  pen.drawImage(photo.image, ...rectangle([0, 0, photo.width, photo.height]));
  if (layer && instance) {
    pen.globalAlpha = step === 1 ? 1 : 0.35;
    pen.drawImage(layer, ...rectangle(instance.box));
    pen.globalAlpha = 1;
  }
  for (const one of photo.instances) {
    const chosen = instance && one.id === instance.id;
    pen.strokeStyle = one.finished ? "#2da44e" : "#ffffff";
    pen.setLineDash(chosen ? [] : [4, 4]);
    pen.lineWidth = chosen ? 2 : 1;
    pen.strokeRect(...rectangle(one.box));
  }
  pen.setLineDash([]);
  if (step === 2 && instance) drawPoints(pen);
  if (drawing) drawStroke(pen);
}

function drawPoints(pen) {
  const doubtful = new Set(instance.doubtful);
  for (const point of instance.points) {
    const [x, y] = toScreen([point.x, point.y]);
    const isCurrent = point.id === current;
    pen.beginPath();
    pen.arc(x, y, isCurrent ? 7 : 4, 0, 2 * Math.PI);
    pen.fillStyle = point.kind === "placed" ? project.colors[point.region - 1] : "#ffffff55";
    if (!isCurrent || point.kind) pen.fill();
    pen.lineWidth = isCurrent ? 3 : 1;
    pen.strokeStyle = isCurrent ? "#ffe600" : doubtful.has(point.id) ? "#ff3b30" : "#000000";
    pen.stroke();
    if (isCurrent) {
      pen.lineWidth = 1;
      pen.strokeRect(x - 14, y - 14, 28, 28);
    }
  }
}

function drawStroke(pen) {
  const color = erase ? "#ffffff" : project.colors[region - 1];
  pen.strokeStyle = drawing.kind === "box" ? "#ffffff" : color;
  pen.lineWidth = drawing.kind === "brush" ? brush : 2;
  pen.lineCap = pen.lineJoin = "round";
  pen.globalAlpha = drawing.kind === "brush" ? 0.6 : 1;
  pen.beginPath();
  const line = drawing.xy.map(toScreen);
  if (drawing.kind === "box") {
    pen.rect(...line[0], line[1][0] - line[0][0], line[1][1] - line[0][1]);
  } else {
    line.forEach(([x, y]) => pen.lineTo(x, y));
    if (drawing.kind === "polygon" && cursor) pen.lineTo(...toScreen(cursor));
    if (drawing.kind === "brush" && line.length === 1) pen.lineTo(...line[0]);
  }
  pen.stroke();
  pen.globalAlpha = 1;
  if (drawing.kind === "polygon") {
    pen.fillStyle = color;
    for (const [x, y] of line) pen.fillRect(x - 3, y - 3, 6, 6);
  }
}

// ---- step 1

const finishStroke = guarded(async () => {
  const { kind, xy } = drawing;
  drawing = null;
  redraw();
  if (kind === "box") {
    const [[x0, y0], [x1, y1]] = xy;
    const box = [Math.min(x0, x1), Math.min(y0, y1), Math.abs(x1 - x0), Math.abs(y1 - y0)];
    if (Math.min(box[2], box[3]) * zoom.scale < 5) return selectAt(xy[1]);
    const what = wantsBox === "again"
      ? { event: "moved", instance: instance.id } : { event: "add", image: photo.number };
    wantsBox = false;
    await show(await act({ ...what, box }));
    region = 1;
    markRegion();
    fit(instance.box);
    hint();
    return;
  }
  if (kind === "polygon" && xy.length < 3) return;
  const number = instance.id;
  const state = await act({
    event: "stroke", instance: number, region: erase ? 0 : region, tool: kind, xy,
    width: kind === "brush" ? brush / zoom.scale : 0,
  });
  if (instance && instance.id === number) await show(state);
});

function selectAt([x, y]) {
  const hit = photo.instances.filter(({ box }) =>
    x >= box[0] && y >= box[1] && x <= box[0] + box[2] && y <= box[1] + box[3]);
  hit.sort((a, b) => a.box[2] * a.box[3] - b.box[2] * b.box[3]);
  return hit.length ? choose(hit[0].id) : undefined;
}

let isPanning = null, isSpace = false, wantsBox = false;

function onDown(event) {
  $("photo").focus();
  if (!photo) return;
  $("photo").setPointerCapture(event.pointerId);
  if (event.button === 1 || isSpace) {
    isPanning = { x: event.clientX - zoom.x, y: event.clientY - zoom.y };
  } else if (event.button === 0 && step === 2) {
    pickPoint(toImage(event));
  } else if (event.button === 0 && (!instance || wantsBox)) {
    drawing = { kind: "box", xy: [toImage(event), toImage(event)] };
  } else if (event.button === 0 && tool === "brush") {
    drawing = { kind: "brush", xy: [toImage(event)] };
  } else if (event.button === 0) {
    addCorner(toImage(event));
  }
  redraw();
}

function addCorner(position) {
  if (!drawing) drawing = { kind: "polygon", xy: [] };
  const first = drawing.xy[0];
  const near = first && Math.hypot(position[0] - first[0], position[1] - first[1]) * zoom.scale < 8;
  if (near && drawing.xy.length > 2) finishStroke();
  else drawing.xy.push(position);
}

function onMove(event) {
  if (!photo) return;
  cursor = toImage(event);
  if (isPanning) {
    zoom.x = event.clientX - isPanning.x;
    zoom.y = event.clientY - isPanning.y;
  } else if (drawing && drawing.kind === "box") {
    drawing.xy[1] = cursor;
  } else if (drawing && drawing.kind === "brush") {
    drawing.xy.push(cursor);
  } else if (!drawing) {
    return;
  }
  redraw();
}

function onUp() {
  if (isPanning) isPanning = null;
  else if (drawing && drawing.kind !== "polygon") {
    finishStroke();
  }
}

function onWheel(event) {
  event.preventDefault();
  const factor = Math.exp(-event.deltaY / 400);
  const frame = $("photo").getBoundingClientRect();
  const [x, y] = [event.clientX - frame.left, event.clientY - frame.top];
  zoom = {
    scale: zoom.scale * factor, x: x - (x - zoom.x) * factor, y: y - (y - zoom.y) * factor,
  };
  redraw();
}

function markRegion() {
  for (const [k, button] of [...$("regions").querySelectorAll("button")].entries()) {
    button.classList.toggle("on", k + 1 === region && !erase);
  }
  $("tool-polygon").classList.toggle("on", tool === "polygon");
  $("tool-brush").classList.toggle("on", tool === "brush");
  $("tool-erase").classList.toggle("on", erase);
  $("width").value = brush;
}

function pickRegion(number) {
  if (number > project.regions.length) return;
  region = number;
  erase = false;
  markRegion();
  hint();
}

const simple = guarded(async (event, more = {}) => {
  if (instance) await show(await act({ event, instance: instance.id, ...more }));
});

// ---- step 2

function setStep(number) {
  step = number;
  document.body.dataset.step = number;
  $("list").hidden = number === 2; // the views need the room
  $("step-1").classList.toggle("on", number === 1);
  $("step-2").classList.toggle("on", number === 2);
}

const toPoints = guarded(async () => {
  if (!instance) return;
  if (!instance.regions.length) throw new Error("Draw at least one part first.");
  setStep(2);
  await show(await act({ event: "sample", instance: instance.id }));
  await advance();
});

function toParts() {
  setStep(1);
  current = null;
  fit(instance.box);
  region = Math.max(1, firstMissing());
  markRegion();
  hint();
  redraw();
}

let timer = 0;

// To the next point without an answer, then to the doubtful ones, then the end.
const advance = guarded(async () => {
  clearTimeout(timer);
  const ids = instance.points.map((point) => point.id);
  const from = ids.indexOf(current) + 1;
  const order = [...instance.points.slice(from), ...instance.points.slice(0, from)];
  const open = order.find((point) => !point.kind);
  if (open) return goTo(open.id);
  if (instance.doubtful.length) {
    goTo(instance.doubtful[0]);
    return say("This point lies far from its neighbours. Click again, or Enter if it is right.");
  }
  if (!instance.finished) await simple("finished", { finished: true });
  say("Finished and saved. Enter: next photo. Esc: back to the parts.");
  fillList();
});

function goTo(id) {
  const point = instance.points.find((one) => one.id === id);
  if (!point) return;
  current = id;
  const members = instance.points.filter((one) => one.region === point.region);
  const side = Math.max(...["x", "y"].map((axis) => {
    const values = members.map((one) => one[axis]);
    return Math.max(...values) - Math.min(...values);
  }), Math.max(instance.box[2], instance.box[3]) / 4);
  fit([point.x - side * 0.75, point.y - side * 0.75, side * 1.5, side * 1.5], 1);
  showViews(point);
  if (!instance.doubtful.includes(id)) {
    say(`Step 2: click where this point of the ${project.regions[point.region - 1]} lies.`);
  }
  redraw();
}

function showViews(point) {
  $("region-name").textContent = project.regions[point.region - 1];
  for (const [k, figure] of [...$("views").children].entries()) {
    const address = `view/${point.region}/${k}.png`;
    const image = figure.querySelector("img");
    if (image.getAttribute("src") !== address) {
      image.style.visibility = "hidden"; // not the former part, until this one is here
      image.src = address;
    }
    figure.querySelector("figcaption").textContent = project.views[point.region - 1][k];
    figure.classList.toggle("fits", k === point.view);
    figure.querySelector("svg").replaceChildren(...instance.points
      .filter((one) => one.region === point.region && one.shown && one.shown[k][2])
      .map((one) => dot(one.shown[k], one.id === point.id, point.region)));
  }
}

function dot([x, y], isCurrent, number) {
  const circle = document.createElementNS(SVG, "circle");
  const values = {
    cx: x, cy: y, r: isCurrent ? 10 : 5, "stroke-width": isCurrent ? 4 : 1.5,
    stroke: isCurrent ? "#ffe600" : "#000", fill: project.colors[number - 1],
  };
  for (const [name, value] of Object.entries(values)) circle.setAttribute(name, value);
  return circle;
}

const onViewClick = guarded(async (view, event) => {
  const image = event.currentTarget.querySelector("img");
  if (current === null || image.style.visibility !== "visible") return;
  clearTimeout(timer);
  const frame = image.getBoundingClientRect();
  const factor = project.viewPx / frame.width;
  const point = current;
  await show(await act({
    event: "click", instance: instance.id, point, view,
    x: (event.clientX - frame.left) * factor, y: (event.clientY - frame.top) * factor,
  }));
  if (current !== point) return;
  showViews(instance.points.find((one) => one.id === point));
  if ($("advance").checked) timer = setTimeout(advance, ADVANCE_MS);
});

const noPlace = guarded(async (event, kind) => {
  if (current === null) return;
  await show(await act({ event, instance: instance.id, point: current, ...(kind && { kind }) }));
  await advance();
});

function pickPoint([x, y]) {
  const distance = (point) => Math.hypot(point.x - x, point.y - y);
  const nearest = [...instance.points].sort((a, b) => distance(a) - distance(b))[0];
  if (nearest && distance(nearest) * zoom.scale < 12) goTo(nearest.id);
}

const toNext = guarded(async () => {
  const point = instance.points.find((one) => one.id === current);
  if (point && instance.doubtful.includes(current)) return noPlace("confirmed");
  if (instance.finished) return nextPhoto();
  if (point && point.kind) return advance();
  const ids = instance.points.map((one) => one.id);
  goTo(ids[(ids.indexOf(current) + 1) % ids.length]);
});

function toPrevious() {
  clearTimeout(timer);
  const ids = instance.points.map((point) => point.id);
  goTo(ids[(ids.indexOf(current) - 1 + ids.length) % ids.length]);
}

// ---- quality

const showQuality = guarded(async () => {
  const found = await ask("quality");
  const table = (title, list) => list.length
    ? `<h3>${title}</h3><table><tr><th>part<th>points<th>mean cm<th>median cm</tr>${list.map((row) =>
      `<tr><td>${row.part}${["points", "mean_cm", "median_cm"].map((key) =>
        `<td class="number">${row[key]}`).join("")}</tr>`).join("")}</table>` : "";
  const text = table("Agreement of annotators, along the surface", found.agreement_cm)
    + table("Error on rendered test images, along the surface", found.test_cm);
  $("quality").querySelector("div").innerHTML = text
    || "<p>Nothing to compare yet. Agreement needs <code>--overlap</code> and two names, errors"
    + " need <code>--test</code>.</p>";
  $("quality").showModal();
});

// ---- keys

const KEYS_OF_STEP = {
  1: {
    g: () => { tool = "polygon"; }, b: () => { tool = "brush"; }, x: () => { erase = !erase; },
    "[": () => { brush = Math.max(1, brush / 1.25); },
    "]": () => { brush = Math.min(100, brush * 1.25); },
    z: () => simple("undone"),
    n: () => newBox(), m: () => instance && newBox("again"),
    Delete: () => simple("deleted"),
    Enter: () => (drawing && drawing.kind === "polygon" ? finishStroke() : toPoints()),
    Escape: () => { drawing = null; },
    Backspace: () => {
      if (drawing && drawing.kind === "polygon") drawing.xy.pop();
      if (drawing && !drawing.xy.length) drawing = null;
    },
  },
  2: {
    s: () => noPlace("answered", "skipped"), h: () => noPlace("answered", "hidden"), Escape: toParts,
    ArrowLeft: toPrevious, ArrowRight: toNext, " ": toNext, Enter: toNext,
  },
};

function newBox(wanted = "new") {
  wantsBox = wanted;
  drawing = null;
  say("Drag a box around the person.");
}

function onKey(event) {
  if (document.querySelector("dialog[open]") || event.target.matches("input:not([type=range])")) return;
  if (event.key === " " && step === 1) { isSpace = true; event.preventDefault(); return; }
  if (event.altKey || event.metaKey || (event.ctrlKey && event.key !== "z")) return;
  const key = event.key.length === 1 ? event.key.toLowerCase() : event.key;
  const everywhere = {
    PageDown: nextPhoto, PageUp: () => openPhoto((photo ? photo.number : listed) - 1),
    f: () => fit(instance ? instance.box : [0, 0, photo.width, photo.height]),
    "?": () => $("help").showModal(),
  };
  const isRegion = step === 1 && KEYS.includes(key) && KEYS.indexOf(key) < project.regions.length;
  const run = (photo && isRegion && (() => pickRegion(KEYS.indexOf(key) + 1)))
    || (photo && KEYS_OF_STEP[step][key]) || (photo || key.startsWith("Page") ? everywhere[key] : null);
  // A focused button keeps its own Enter and space.
  if (!run || (event.target.matches("button") && [" ", "Enter"].includes(event.key))) return;
  event.preventDefault();
  run();
  markRegion();
  redraw();
}

// ---- start

function listRegions() {
  project.regions.forEach((name, k) => {
    const item = document.createElement("li"), button = document.createElement("button");
    button.innerHTML = `<i></i><span></span><kbd>${KEYS[k]}</kbd>`;
    button.querySelector("i").style.background = project.colors[k];
    button.querySelector("span").textContent = name;
    button.addEventListener("click", () => pickRegion(k + 1));
    item.append(button);
    $("regions").append(item);
  });
  for (let k = 0; k < 6; k += 1) {
    const figure = document.createElement("figure");
    figure.className = "view";
    figure.innerHTML = `<img alt="view ${k + 1}" draggable="false">`
      + `<svg viewBox="0 0 ${project.viewPx} ${project.viewPx}"></svg><figcaption></figcaption>`;
    figure.addEventListener("click", (event) => onViewClick(k, event));
    const image = figure.querySelector("img");
    image.addEventListener("load", () => { image.style.visibility = "visible"; });
    $("views").append(figure);
  }
}

function listen() {
  const canvas = $("photo");
  canvas.addEventListener("pointerdown", onDown);
  canvas.addEventListener("pointermove", onMove);
  canvas.addEventListener("pointerup", onUp);
  canvas.addEventListener("wheel", onWheel, { passive: false });
  canvas.addEventListener("dblclick", () => {
    if (!drawing || drawing.kind !== "polygon") return;
    drawing.xy.pop(); // the second click of the two
    finishStroke();
  });
  addEventListener("keydown", onKey);
  addEventListener("keyup", (event) => { if (event.key === " ") isSpace = false; });
  addEventListener("resize", redraw);
  addEventListener("beforeunload", (event) => { if (waiting) event.preventDefault(); });
  $("list").addEventListener("scroll", fillList);
  const clicks = {
    "toggle-list": () => { $("list").hidden = !$("list").hidden; redraw(); },
    "step-1": () => instance && toParts(), "step-2": toPoints, "to-points": toPoints,
    "next-photo": nextPhoto, "show-quality": showQuality, "show-help": () => $("help").showModal(),
    "tool-polygon": () => { tool = "polygon"; }, "tool-brush": () => { tool = "brush"; },
    "tool-erase": () => { erase = !erase; }, undo: () => simple("undone"), "new-box": () => newBox(),
    "box-again": () => instance && newBox("again"),
    delete: () => simple("deleted"), previous: toPrevious, next: toNext,
    skip: () => noPlace("answered", "skipped"), hidden: () => noPlace("answered", "hidden"), name: askName,
  };
  for (const [id, handler] of Object.entries(clicks)) {
    $(id).addEventListener("click", (event) => {
      handler();
      markRegion();
      redraw();
      if (event.detail) $("photo").focus(); // clicked by mouse: keys belong to the photo again
    });
  }
  $("width").addEventListener("input", () => { brush = Number($("width").value); });
}

function askName() {
  $("name-input").value = who;
  $("name-dialog").showModal();
  return new Promise((resolve) => $("name-dialog").addEventListener("close", () => {
    who = $("name-input").value.trim() || who || "annotator";
    localStorage.setItem("who", who);
    $("name").textContent = who;
    resolve();
  }, { once: true }));
}

const start = guarded(async () => {
  Object.assign(project, await ask("start"));
  listRegions();
  listen();
  $("rows").style.height = `${project.photos * ROW_PX}px`;
  $("name").textContent = who;
  if (!who) await askName();
  const place = new URLSearchParams(location.hash.slice(1));
  await openPhoto(Number(place.get("photo") || 0), Number(place.get("instance")));
  markRegion();
  if (instance && place.get("step") === "2") await toPoints();
});

start();
