"use strict";
// A blind test in the manner of MUSHRA. The order of the sounds is drawn when a test begins and kept with the scores, so
// that a reload loses nothing. All sounds of an excerpt run side by side in a loop, and only their gains change.
const FADE = 0.005;
// Below this, a hidden reference was not recognised (ITU-R BS.1534-3 asks for 90).
const RECOGNISED = 90;
const STORE = `circuitnn-listening-${IDENTITY}`;
const trials = JSON.parse(document.getElementById("data").textContent);
const byId = (id) => document.getElementById(id);

let state = restored() ?? begun();
let context = null;
let voices = null;
let wanted = null;

function shuffled(count) {
  const order = Array.from({ length: count }, (_, k) => k);
  for (let k = count - 1; k > 0; k -= 1) {
    const other = Math.floor(Math.random() * (k + 1));
    [order[k], order[other]] = [order[other], order[k]];
  }
  return order;
}

function begun() {
  return {
    began: new Date().toISOString(),
    finished: null,
    trial: 0,
    trials: trials.map(({ conditions, seconds }) => ({
      order: shuffled(conditions.length), scores: conditions.map(() => null), loop: [0, seconds],
    })),
  };
}

function restored() {
  try {
    const kept = JSON.parse(localStorage.getItem(STORE));
    const fits = kept?.trials?.length === trials.length &&
      kept.trials.every((one, k) => one.order.length === trials[k].conditions.length);
    return fits ? kept : null;
  } catch {
    return null;
  }
}

function keep() {
  try {
    localStorage.setItem(STORE, JSON.stringify(state));
  } catch {
    // A browser may refuse; the test goes on, and only a reload would begin it anew.
  }
}

const here = () => state.trials[state.trial];
const rated = (one) => one.scores.every((score) => score !== null);

function results() {
  const scores = trials.flatMap(({ recording, conditions }, k) => conditions.map(({ name, role }, c) => ({
    recording, name, role, score: state.trials[k].scores[c], position: state.trials[k].order.indexOf(c) + 1,
  })));
  return { format: "circuitnn-listening", version: 1, test: IDENTITY, began: state.began, finished: state.finished, scores };
}

function csv() {
  const quoted = (value) => `"${String(value ?? "").replaceAll('"', '""')}"`;
  const columns = ["recording", "name", "role", "score", "position"];
  return [columns, ...results().scores.map((row) => columns.map((column) => row[column]))]
    .map((row) => row.map(quoted).join(",")).join("\r\n") + "\r\n";
}

function decode(source) {
  const text = atob(source.slice(source.indexOf(",") + 1));
  return context.decodeAudioData(Uint8Array.from(text, (letter) => letter.charCodeAt(0)).buffer);
}

async function start() {
  context ??= new AudioContext();
  await context.resume();
  const buffers = await Promise.all(trials[state.trial].conditions.map(({ source }) => decode(source)));
  const [loopStart, loopEnd] = here().loop;
  const when = context.currentTime + 0.05;
  return buffers.map((buffer) => {
    const source = new AudioBufferSourceNode(context, { buffer, loop: true, loopStart, loopEnd });
    const volume = new GainNode(context, { gain: 0 });
    source.connect(volume).connect(context.destination);
    source.start(when, loopStart);
    return { source, volume };
  });
}

function stop() {
  voices?.then((playing) => playing.forEach(({ source }) => source.stop()));
  voices = null;
  wanted = null;
  mark();
}

// place: the number of a sound in this listener's order, or "reference".
async function play(place) {
  wanted = place;
  mark();
  voices ??= start();
  const own = voices;
  const playing = await own;
  // Keys may come faster than the sounds: the last one counts.
  if (voices !== own || wanted !== place) return;
  const audible = place === "reference"
    ? trials[state.trial].conditions.findIndex(({ role }) => role === "reference") : here().order[place];
  playing.forEach(({ volume }, c) => volume.gain.setTargetAtTime(c === audible ? 1 : 0, context.currentTime, FADE));
}

function mark() {
  document.querySelectorAll("[data-play]").forEach((button) => {
    button.setAttribute("aria-pressed", String(button.dataset.play === String(wanted)));
  });
}

function rate(place, score) {
  here().scores[here().order[place]] = score;
  keep();
  update();
}

function update() {
  here().order.forEach((c, place) => {
    const row = byId("conditions").children[place];
    const score = here().scores[c];
    row.classList.toggle("unrated", score === null);
    row.querySelector("output").textContent = score ?? "–";
  });
  const done = state.trials.filter(rated).length;
  byId("progress").textContent = `${done} of ${trials.length} rated`;
  byId("back").disabled = state.trial === 0;
  byId("next").disabled = state.trial === trials.length - 1;
  byId("finish").disabled = done < trials.length;
  const [begin, end] = here().loop;
  byId("region").textContent = `${begin.toFixed(2)} to ${end.toFixed(2)} s`;
}

function show() {
  stop();
  const { seconds } = trials[state.trial];
  byId("heading").textContent = `Excerpt ${state.trial + 1} of ${trials.length}`;
  byId("conditions").replaceChildren(...here().order.map((c, place) => {
    const row = document.createElement("div");
    row.className = "condition";
    const button = document.createElement("button");
    button.type = "button";
    button.dataset.play = place;
    button.append(`${place + 1} `);
    button.addEventListener("click", () => play(place));
    const slider = document.createElement("input");
    Object.assign(slider, { type: "range", min: 0, max: 100, step: 1, value: here().scores[c] ?? 50 });
    slider.setAttribute("aria-label", `Score of sound ${place + 1}`);
    slider.addEventListener("input", () => rate(place, slider.valueAsNumber));
    // Leaving a slider where it stands is a score, too.
    slider.addEventListener("click", () => rate(place, slider.valueAsNumber));
    row.append(button, slider, document.createElement("output"));
    return row;
  }));
  for (const [k, id] of ["from", "to"].entries()) Object.assign(byId(id), { max: seconds, value: here().loop[k] });
  mark();
  update();
  byId("trial").hidden = state.finished !== null;
  byId("result").hidden = state.finished === null;
  if (state.finished !== null) report();
}

function go(trial) {
  state.trial = trial;
  keep();
  show();
}

function region() {
  const [from, to] = [byId("from").valueAsNumber, byId("to").valueAsNumber];
  const { seconds } = trials[state.trial];
  // A loop of less than a tenth of a second is a buzz, and without a length none at all.
  const begin = Math.max(0, Math.min(from, to, seconds - 0.1));
  here().loop = [begin, Math.min(Math.max(from, to, begin + 0.1), seconds)];
  keep();
  update();
  voices?.then((playing) => playing.forEach(({ source }) => {
    [source.loopStart, source.loopEnd] = here().loop;
  }));
}

function report() {
  const { scores } = results();
  // All excerpts have the same sounds in the same order; their names, which somebody chose, need not differ.
  const rows = trials[0].conditions.map(({ name }, c) => {
    const own = state.trials.map((trial) => trial.scores[c]);
    return [name, ...own, (own.reduce((sum, score) => sum + score, 0) / own.length).toFixed(1)];
  }).sort((a, b) => b.at(-1) - a.at(-1));
  const line = (cells, kind) => {
    const row = document.createElement("tr");
    cells.forEach((text, k) => {
      const cell = document.createElement(kind);
      cell.textContent = text;
      if (k) cell.className = "number";
      row.append(cell);
    });
    return row;
  };
  byId("result-head").replaceChildren(line(["sound", ...trials.map(({ recording }) => recording), "mean"], "th"));
  byId("result-body").replaceChildren(...rows.map((row) => line(row, "td")));
  const missed = scores.filter(({ role, score }) => role === "reference" && score < RECOGNISED).length;
  byId("screening").textContent = missed
    ? `The hidden reference got less than ${RECOGNISED} in ${missed} of ${trials.length} excerpts: differences this small were not heard reliably.`
    : "The hidden reference was recognised in every excerpt.";
  const save = (id, text, type) => {
    URL.revokeObjectURL(byId(id).href);
    byId(id).href = URL.createObjectURL(new Blob([text], { type }));
  };
  save("json", JSON.stringify(results(), null, 2), "application/json");
  save("csv", csv(), "text/csv");
}

byId("stop").addEventListener("click", stop);
byId("back").addEventListener("click", () => go(state.trial - 1));
byId("next").addEventListener("click", () => go(state.trial + 1));
byId("finish").addEventListener("click", () => {
  state.finished = new Date().toISOString();
  keep();
  show();
});
byId("again").addEventListener("click", () => {
  state = begun();
  keep();
  show();
});
byId("from").addEventListener("input", region);
byId("to").addEventListener("input", region);
document.querySelector('[data-play="reference"]').addEventListener("click", () => play("reference"));
document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.altKey || event.metaKey || state.finished !== null) return;
  const place = "1234567890".indexOf(event.key);
  if (place >= 0 && place < here().order.length) {
    play(place);
    byId("conditions").children[place].querySelector("input").focus();
  } else if (event.key.toUpperCase() === "R") play("reference");
  else if (event.key === " ") stop();
  else return;
  event.preventDefault();
});
show();
