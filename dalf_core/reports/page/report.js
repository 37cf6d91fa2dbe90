// The report: what the slider shows in the surface, the film and the plots.
"use strict";

const data = JSON.parse(document.getElementById("run").textContent);
const element = id => document.getElementById(id);
const columns = data.frames, last = columns.time.length - 1;
const sequences = data.sequences.map(told => new MeshSequence(told));
const LONGEST_PAUSE = 1;            // seconds that a gap between stamps lasts while playing
const state = { frame: 0, shown: -1, mesh: null, playing: false };
window.dalf = state;                // for tests

// ---------------------------------------------------------------- time

// When each frame is played, seconds from the start; ten frames a second where stamps are no measure
const clock = [0];
for (let i = 1; i <= last; i++) {
  clock.push(clock[i - 1] + (columns.time_unit === "s" ? Math.min(columns.time[i] - columns.time[i - 1], LONGEST_PAUSE) : 0.1));
}
const lastNotAfter = (values, value) => {
  let low = 0, high = values.length;
  while (low < high) { const middle = (low + high) >> 1; if (values[middle] <= value) low = middle + 1; else high = middle; }
  return low - 1;
};
let time = 0, before = 0;

function play(on) {
  state.playing = on;
  element("play").textContent = on ? "❚❚" : "▶";
  element("play").title = on ? "pause (space)" : "play (space)";
  if (!on) { film?.pause(); seekFilm(); return; }
  if (state.frame === last) goTo(0);
  time = clock[state.frame];
  before = performance.now();
  requestAnimationFrame(tick);
}

function tick(now) {
  if (!state.playing) return;
  time += (now - before) / 1000 * Number(element("speed").value);
  before = now;
  goTo(Math.max(0, lastNotAfter(clock, time)), true);
  if (time >= clock[last]) play(false); else requestAnimationFrame(tick);
}

function goTo(frame, ticked = false) {
  state.frame = Math.max(0, Math.min(last, frame));
  if (!ticked) time = clock[state.frame];
  element("frame").value = state.frame;
  element("now").textContent = words(state.frame);
  element("state").style.background = columns.status_colors[columns.status[state.frame]];
  movePlots(state.frame);
  seekFilm();
  showMesh();
}

function words(frame) {
  const at = columns.time_unit === "s" ? `, ${columns.time[frame].toFixed(2)} s` : "", reason = columns.reason[frame];
  const residual = columns.residual[frame], fit = residual === null ? "" : `, residual ${residual.toFixed(2)} mm`;
  return `frame ${frame}${at}: ${columns.statuses[columns.status[frame]]}${reason ? ` (${reason})` : ""}, ` +
    `${columns.inliers[frame]} inliers of ${columns.matches[frame]} matches${fit}`;
}

// ---------------------------------------------------------------- the film

function openFilm() {
  const video = element("film");
  if (!video) return null;
  video.src = URL.createObjectURL(new Blob([blockBytes("film")], { type: "video/mp4" }));
  video.onerror = () => { element("film-note").textContent = "is not shown: this browser does not play H.264; Firefox on Linux does with the package libavcodec"; };
  video.controls = !data.film.frames;         // else the slider moves it
  return data.film.frames ? video : null;
}

function seekFilm() {
  if (!film) return;
  const picture = Math.max(0, lastNotAfter(data.film.frames, state.frame)), wanted = (picture + 0.5) / data.film.fps;
  if (!state.playing) { film.currentTime = wanted; return; }
  const length = data.film.pictures / data.film.fps, speed = Number(element("speed").value) * length / Math.max(clock[last], 0.1);
  film.playbackRate = Math.max(0.0625, Math.min(16, speed));
  if (Math.abs(film.currentTime - wanted) > 0.3 * Math.max(1, speed)) film.currentTime = wanted;
  if (film.paused && !film.ended) film.play().catch(() => {});
}

// ---------------------------------------------------------------- the surface

// The newest surface at a frame: [sequence, index]; the first one before any
function surfaceAt(frame) {
  let best = [0, 0], newest = -1;
  sequences.forEach((sequence, number) => {
    const index = lastNotAfter(sequence.told.frames, frame);
    if (index >= 0 && sequence.told.frames[index] >= newest) { newest = sequence.told.frames[index]; best = [number, index]; }
  });
  return best;
}

let busy = false;
async function showMesh() {
  if (!scene || busy) return;
  busy = true;
  try {
    while (true) {
      const wanted = state.frame, chosen = element("coloring").value, [number, index] = surfaceAt(wanted), sequence = sequences[number];
      if (state.mesh !== sequence) scene.setTopology(await sequence.topology());
      state.mesh = sequence;
      const frame = state.surface = await sequence.frame(index), of = sequence.told.frames[index];
      const field = sequence.told.fields.findIndex(each => each.name === chosen);
      scene.show(frame, field < 0 ? null : sequence.told.fields[field], field);
      if (named) { named.show(of); element("points").textContent = named.words(of); }
      element("mesh-note").textContent = of === wanted ? "" : `surface of frame ${of}`;
      state.shown = wanted;
      sequence.prepare(index);
      if (wanted === state.frame && chosen === element("coloring").value) return;
    }
  } catch (error) {
    element("mesh-note").textContent = `the surface cannot be shown: ${error.message}`;
  } finally {
    busy = false;
  }
}

function makeScene() {
  if (!sequences.length) return null;
  const [low, high] = data.sequences[0].box, sizes = low.map((value, axis) => Number((1000 * (high[axis] - value)).toPrecision(3)));
  const axis = Number((1000 * roundLength(radiusOf(low, high))).toPrecision(2));
  element("box").textContent = `x right, y down, z away from the camera, ${axis} mm long; the reference lies in ${sizes.join(" × ")} mm`;
  try {
    return new MeshScene(element("mesh"), data.colors, low, high);
  } catch (error) {
    element("mesh-note").textContent = `the surface cannot be shown, for this browser has no WebGL: ${error.message}`;
    return null;
  }
}

function fillColorings() {
  for (const { name, unit } of data.sequences[0].fields) element("coloring").append(new Option(`${name}, ${unit}`, name));
  element("coloring").onchange = () => { showLegend(); showMesh(); };
}

function showLegend() {
  const field = data.sequences[0].fields.find(each => each.name === element("coloring").value);
  element("legend").hidden = !field;
  if (!field) return;
  const table = data.colors[field.colors], stops = [];
  for (let i = 0; i < 255; i += 16) stops.push(`rgb(${table.slice(3 * i, 3 * i + 3)})`);
  element("legend-bar").style.background = `linear-gradient(to right, ${stops})`;
  const signed = field.name === "strain", end = value => `${Number(Math.abs(valueOf(field, value)).toPrecision(2))} ${field.unit}`;
  element("legend-low").textContent = end(0) + (signed ? " shorter" : "");
  element("legend-high").textContent = end(254) + (signed ? " longer" : "");
}

// What a shade, 0 to 254, stands for
function valueOf({ low, high, log }, shade) {
  const value = low + shade / 254 * (high - low);
  return log ? 10 ** value : value;
}

function tellVertex(event) {
  const vertex = event.buttons ? -1 : scene.vertexAt(event.clientX, event.clientY), { surface, mesh } = state;
  if (vertex < 0 || !surface) { element("vertex").textContent = ""; return; }
  const place = [0, 1, 2].map(axis => surface.vertices[3 * vertex + axis].toFixed(4)).join(", ");
  const values = mesh.told.fields.map((field, i) => {
    const shade = surface.fields[i][vertex];
    return shade === 255 ? `${field.name} not known` : `${field.name} ${valueOf(field, shade).toFixed(2)} ${field.unit}`;
  });
  element("vertex").textContent = `vertex ${vertex} at (${place}) m, ${surface.visible[vertex] ? "seen" : "not seen"}, ${values.join(", ")}`;
}

// ---------------------------------------------------------------- start

const movePlots = makePlots(columns, data.colors, frame => goTo(frame));
const scene = makeScene(), film = openFilm();
const named = scene && data.points.length ? new NamedPoints(scene, data.points, data.colors) : null;
state.scene = scene;
if (element("sheet")) element("sheet").src = URL.createObjectURL(new Blob([blockBytes("sheet")], { type: "image/jpeg" }));
if (scene) {
  fillColorings();
  showLegend();
  element("mesh").onpointermove = tellVertex;
  element("from-camera").onclick = () => scene.lookFromCamera();
  element("from-aside").onclick = () => scene.look(HOME.yaw, HOME.pitch);
}
element("frame").max = last;
element("frame").oninput = event => goTo(Number(event.target.value), false);
element("play").onclick = () => play(!state.playing);
for (const bar of document.querySelectorAll("[data-frame]")) bar.onclick = () => goTo(Number(bar.dataset.frame));
addEventListener("keydown", event => {
  if (event.key === " " && !/^(BUTTON|SELECT|INPUT|SUMMARY|VIDEO)$/.test(document.activeElement?.tagName)) { event.preventDefault(); play(!state.playing); }
});
goTo(0);
