// Curves over time, with uPlot: one cursor for all, a click goes to that frame, a line stands at the frame that is shown.
"use strict";

function makePlots(columns, colors, goTo) {
  const unit = columns.time_unit === "s" ? "s" : "";
  const plots = [
    ["plot-residual", "depth residual, mm", [["residual", columns.residual]]],
    ["plot-matches", "matches", ["matches", "verified", "inliers"].map(name => [name, columns[name]])],
    ["plot-time", "time a frame, ms (powers of ten)", [["time", columns.milliseconds.map(value => value || null)]], true],
  ].filter(([, , curves]) => curves.some(([, values]) => values.some(value => value !== null)))
    .map(([id, ...more]) => [placeFor(id), ...more])        // all of them, before one is measured
    .map(([place, title, curves, log]) => plot(place, title, unit, columns.time, curves, log, colors, goTo));
  addEventListener("resize", () => plots.forEach(({ chart, place }) => chart.setSize(sizeOf(place))));
  return frame => plots.forEach(({ chart, line }) => { line.dataset.time = columns.time[frame]; moveLine(chart, line); });
}

function placeFor(id) {
  const place = Object.assign(document.createElement("div"), { id });
  document.getElementById("plots").append(place);
  return place;
}

function sizeOf(place) { return { width: place.clientWidth, height: 190 }; }

function plot(place, title, unit, time, curves, log, colors, goTo) {
  const axis = { stroke: colors.ink, grid: { stroke: "#3a4149", width: 1 }, ticks: { stroke: "#3a4149" } };
  const number = (_, value) => (value === null || value === undefined ? "–" : String(Number(value.toPrecision(4))));
  const line = Object.assign(document.createElement("div"), { className: "now" });
  const chart = new uPlot({
    ...sizeOf(place), title,
    scales: { x: { time: false }, y: log ? { distr: 3 } : { range: (_, low, high) => [0, high > 0 ? 1.08 * high : 1] } },
    cursor: { sync: { key: "run" }, drag: { x: true, y: false } },
    axes: [{ ...axis, values: (_, splits) => splits.map(value => `${value}${unit && " " + unit}`) }, { ...axis, size: 72 }],
    series: [{ label: unit ? "seconds" : "frame", value: number },
      ...curves.map(([label], i) => ({ label, stroke: colors.curves[i], width: 1.5, value: number, points: { show: time.length < 2 } }))],
    hooks: { setScale: [chart => moveLine(chart, line)] },
  }, [time, ...curves.map(([, values]) => values)], place);
  chart.over.append(line);
  chart.over.addEventListener("click", () => { if (chart.cursor.idx !== null) goTo(chart.cursor.idx); });
  return { chart, line, place };
}

function moveLine(chart, line) { if (line.dataset.time !== undefined) line.style.left = `${chart.valToPos(Number(line.dataset.time), "x")}px`; }
