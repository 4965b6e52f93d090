"use strict";
// Predicts and explains by the routes of this server. What a server or a file says goes into the page as text alone.

const $ = (id) => document.getElementById(id);
const PORTION = 200, SHOWN = 25, BARS = 10, LETTERS = 150, MANY = 20000, HUGE = 2e7;

const MADE_UP = () => {
  let state = 7;
  const letters = (count) => Array.from({ length: count }, () => {
    state = (state * 1103515245 + 12345) % 2147483648;
    return "ACGT"[Math.floor(state / 536870912)];
  }).join("");
  const half = Math.floor(((model.length || model.window || 200) - 12) / 2);
  const whole = 2 * half + 12 + ((model.length || model.window || 200) % 2);
  return `>made_up_with_a_TATA_box\n${letters(half)}GCTATAAAAGGC${letters(whole - half - 12)}\n`;
};
const EXAMPLES = {
  dna: MADE_UP,
  protein: () => ">beta_lactamase_TEM-1\nMSIQHFRVALIPFFAAFCLPVFAHPETLVKVKDAEDQLGARVGYIELDLNSGKILESFRPEERFPMMSTFKVLLCGAVLSRIDAGQEQLG\n"
    + "RRIHYSQNDLVEYSPVTEKHLTDGMTVRELCSAAITMSDNTAANLLLTTIGGPKELTAFLHNMGDHVTRLDRWEPELNEAIPNDERDTTMPA\n"
    + "AMATTLRKLLTGELLTLASRQQLIDWMEADKVAGPLLRSALPAGWFIADKSGAGERGSRGIIAALGPDGKPSRIVVIYTTGSQATMDERNRQI\n"
    + "AEIGASLIKHW\n>ubiquitin\nMQIFVKTLTGKTITLEVEPSDTIENVKAKIQDKEGIPPDQQRLIFAGKQLEDGRTLSDYNIQKESTLHLVLRLRGG\n",
};

let model = null, given = null, file = null, records = [], first = 0, chosen = null, explained = null, view = [0, 1], stopping = null;

// Asking the server

class Refused extends Error {}

async function fetched(path, options = {}, tries = 5) {
  const headers = { ...options.headers };
  if ($("key").value) headers.Authorization = `Bearer ${$("key").value}`;
  let answer;
  try {
    answer = await fetch(path, { ...options, headers });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Refused("The server cannot be reached. Is it still running?");
  }
  if (answer.status === 429 && tries > 0) {
    await new Promise((done) => setTimeout(done, 1000 * Number(answer.headers.get("Retry-After") || 1)));
    return fetched(path, options, tries - 1);
  }
  if (answer.status === 401) $("key-field").hidden = false;
  if (!answer.ok) {
    const told = await answer.json().catch(() => ({}));
    throw new Refused(told.error || `The server answered with status ${answer.status}.`);
  }
  return answer;
}

const ask = async (path, options) => (await fetched(path, options)).json();

const post = (path, asked, signal) =>
  ask(path, { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(asked), signal });

// Reading sequences

function parse(text) {
  const found = [];
  if (!text.trimStart().startsWith(">")) {
    const sequence = text.replace(/\s+/g, "");
    return sequence ? [{ id: "pasted", sequence }] : [];
  }
  for (const line of text.split(/\r?\n/)) {
    if (line.trimStart().startsWith(">")) {
      found.push({ id: line.trim().slice(1).trim().split(/\s+/)[0] || `sequence_${found.length + 1}`, parts: [] });
    } else if (found.length) {
      found[found.length - 1].parts.push(line.replace(/\s+/g, ""));
    }
  }
  return found.map(({ id, parts }) => ({ id, sequence: parts.join("") }));
}

async function open(chosen) {
  try {
    if (chosen.size > HUGE) {
      take("");
      $("sequences").value = `${chosen.name}, ${Math.ceil(chosen.size / 1e6)} MB`;
      $("sequences").readOnly = true;
      say("This file is too large to be shown here. Send it as a job.");
    } else {
      let stream = chosen.stream();
      const magic = new Uint8Array(await chosen.slice(0, 2).arrayBuffer());
      if (magic[0] === 0x1f && magic[1] === 0x8b) stream = stream.pipeThrough(new DecompressionStream("gzip"));
      take(await new Response(stream).text(), chosen.name);
    }
    file = chosen;
  } catch (error) {
    say(`${chosen.name} cannot be read: ${error.message}`, true);
  }
}

// A large file stays out of the text field, which would be slow to scroll.
function take(text, name = "") {
  const found = parse(text);
  file = null;
  given = text.length > MANY ? found : null;
  $("sequences").value = given ? `${text.slice(0, MANY)}\n... (${name || "the text"} goes on)` : text;
  $("sequences").readOnly = given !== null;
  $("read").textContent = found.length ? `${found.length.toLocaleString()} sequence${found.length > 1 ? "s" : ""}` : "";
  say("");
}

// Predicting

function say(text, bad = false) {
  $("status").textContent = text;
  $("status").className = bad ? "bad" : "";
}

async function predict(event) {
  event.preventDefault();
  if (file && file.size > HUGE) return sendJob();
  const asked = given || parse($("sequences").value);
  if (!asked.length) return say("There is no sequence yet: paste one, open a file, or take the example.", true);
  records = [];
  chosen = explained = null;
  for (const id of ["results", "one"]) $(id).hidden = true;
  stopping = new AbortController();
  $("predict").disabled = true;
  $("stop").hidden = $("progress").hidden = asked.length <= PORTION;
  $("progress").max = asked.length;
  const size = Math.min(PORTION, model.limits.max_sequences), began = performance.now();
  try {
    for (let start = 0; start < asked.length; start += size) {
      $("progress").value = start;
      const left = start ? ((performance.now() - began) / start) * (asked.length - start) / 1000 : 0;
      say(asked.length > size
        ? `${start.toLocaleString()} of ${asked.length.toLocaleString()} sequences${left > 1 ? `, ${Math.ceil(left)} s to go` : ""}`
        : "Predicting ...");
      const inputs = asked.slice(start, start + size), parameters = { model: model.name, top_k: BARS };
      parameters.length_policy = model.length ? $("policy").value : "error";
      const told = await post("predict", { inputs, parameters }, stopping.signal);
      const sequences = new Map(inputs.map((each) => [each.id, each.sequence]));
      for (const record of told.predictions) records.push({ ...record, sequence: sequences.get(record.id) });
    }
    say(`${records.length.toLocaleString()} prediction${records.length > 1 ? "s" : ""} in ${((performance.now() - began) / 1000).toFixed(1)} s`);
  } catch (error) {
    say(error.name === "AbortError" ? `Stopped after ${records.length.toLocaleString()} predictions.` : error.message,
      error.name !== "AbortError");
  } finally {
    $("predict").disabled = false;
    $("stop").hidden = $("progress").hidden = true;
  }
  if (records.length) {
    first = 0;
    showTable();
    choose(0);
  }
}

function cell(content, name = "") {
  const made = document.createElement("td");
  made.className = name;
  made.append(content);
  return made;
}

const place = (record) => model.alphabet === "dna" ? `${record.start}-${record.end}` : `${record.start + 1}-${record.end}`;

function showTable() {
  $("results").hidden = false;
  $("calls-head").hidden = !model.calibrated;
  $("rows").replaceChildren(...records.slice(first, first + SHOWN).map((record, row) => {
    const made = document.createElement("tr"), button = document.createElement("button");
    button.type = "button";
    button.textContent = record.id;
    button.addEventListener("click", () => { choose(first + row); $("one").scrollIntoView(); });
    made.append(cell(button), cell(place(record), "place"), cell(record.top[0].label), cell(record.top[0].probability.toFixed(3), "number"));
    if (model.calibrated) made.append(cell((record.calls || []).join(", ")));
    if (first + row === chosen) made.className = "chosen";
    return made;
  }));
  const last = Math.min(first + SHOWN, records.length);
  $("page-of").textContent = `${first + 1}-${last} of ${records.length.toLocaleString()}`;
  $("earlier").disabled = first === 0;
  $("later").disabled = last === records.length;
}

function choose(index) {
  chosen = index;
  const record = records[index];
  showTable();
  $("one").hidden = false;
  $("one-title").textContent = `${record.id}: the ${record.top.length} most probable of ${model.targets.length.toLocaleString()} targets`;
  $("bars").replaceChildren(...record.top.map(({ label, probability }) => {
    const made = document.createElement("div"), track = document.createElement("div"), fill = document.createElement("span");
    made.className = "bar";
    track.className = "track";
    fill.className = "fill";
    fill.style.width = `${100 * probability}%`;
    track.append(fill);
    const name = document.createElement("button"), value = document.createElement("span");
    name.type = "button";
    name.textContent = label;
    name.title = "Explain this target";
    name.disabled = !model.methods.length;
    name.addEventListener("click", () => { $("target").value = label; explain(); });
    value.className = "value";
    value.textContent = probability < 0.001 ? probability.toExponential(0) : probability.toFixed(3);
    made.append(name, track, value);
    return made;
  }));
  $("target").value = record.top[0].label;
  $("saliency").hidden = true;
  $("explain-status").textContent = "";
}

// Explaining

async function explain() {
  const record = records[chosen];
  $("explain").disabled = true;
  $("explain-status").textContent = "Explaining ...";
  $("saliency").hidden = true;
  try {
    const whole = !record.windowed;
    const input = { id: record.id, sequence: whole ? record.sequence : record.sequence.slice(record.start, record.end) };
    explained = await post("explain", {
      input, target: $("target").value,
      parameters: { model: model.name, method: $("method").value, length_policy: model.length ? "centre" : "error" },
    });
    if (!whole) { explained.start += record.start; explained.end += record.start; }
    $("explain-status").textContent = explained.faithful ? "" : "This method is not model-faithful: read it with care.";
    $("saliency-title").textContent = `${explained.id}: ${explained.target}, probability ${explained.probability.toFixed(3)}, by ${explained.method}`;
    $("saliency").hidden = false;
    const length = explained.letters.length, peak = explained.saliency.indexOf(Math.max(...explained.saliency));
    zoom(Math.min(length, fitting()), peak);
  } catch (error) {
    $("explain-status").textContent = error.message;
  } finally {
    $("explain").disabled = false;
  }
}

const fitting = () => Math.max(20, Math.min(60, Math.floor($("picture").clientWidth / 12) || 60));

function zoom(width, centre) {
  const length = explained.letters.length;
  const size = Math.max(Math.min(10, length), Math.min(length, Math.round(width)));
  const start = Math.max(0, Math.min(length - size, Math.round(centre - size / 2)));
  view = [start, start + size];
  draw();
}

const middle = () => (view[0] + view[1]) / 2, width = () => view[1] - view[0];

const LIGHT = { text: "#222", faint: "#666", line: "#ddd", for: "#0072B2", against: "#999", paper: "#fff", green: "#009E73",
  orange: "#b87900", vermilion: "#D55E00", dark: "#333" };

function colours() {
  const style = getComputedStyle(document.documentElement);
  return Object.fromEntries(Object.keys(LIGHT).map((name) => [name, style.getPropertyValue(`--${name}`).trim()]));
}

function colour(letter, palette) {
  if (model.alphabet === "dna") return { A: palette.green, C: palette.for, G: palette.orange, T: palette.vermilion }[letter] || palette.faint;
  const groups = { DE: palette.vermilion, KRH: palette.for, STNQ: palette.green, CGP: palette.orange };
  for (const [letters, found] of Object.entries(groups)) if (letters.includes(letter)) return found;
  return palette.dark;
}

function node(name, attributes, text = "") {
  const made = document.createElementNS("http://www.w3.org/2000/svg", name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  made.textContent = text;
  return made;
}

function picture(pixels, palette) {
  const { letters, saliency } = explained, length = letters.length, [from, to] = view;
  const left = 8, right = pixels - 8, across = right - left, height = 270;
  const svg = node("svg", { viewBox: `0 0 ${pixels} ${height}`, width: pixels, height, xmlns: "http://www.w3.org/2000/svg" });
  svg.append(node("rect", { width: pixels, height, fill: palette.paper }));
  const largest = Math.max(1e-12, ...saliency.map(Math.abs)), number = model.alphabet === "dna" ? 0 : 1;
  const at = (position) => left + (position / length) * across;
  const label = (x, y, text, anchor) =>
    svg.append(node("text", { x, y, fill: palette.faint, "font-size": 11, "text-anchor": anchor, "font-family": "sans-serif" }, text));

  const columns = Math.min(length, Math.floor(across));
  for (let column = 0; column < columns; column++) {
    const start = Math.floor(column * length / columns), end = Math.max(start + 1, Math.floor((column + 1) * length / columns));
    let value = 0;
    for (let i = start; i < end; i++) if (Math.abs(saliency[i]) > Math.abs(value)) value = saliency[i];
    svg.append(node("rect", { x: at(start), y: 22, width: at(end) - at(start) + 0.4, height: 26,
      fill: value > 0 ? palette.for : palette.against, "fill-opacity": (Math.abs(value) / largest).toFixed(3) }));
  }
  svg.append(node("rect", { x: left, y: 22, width: across, height: 26, fill: "none", stroke: palette.line }));
  svg.append(node("rect", { x: at(from), y: 19, width: Math.max(3, at(to) - at(from)), height: 32, fill: "none", stroke: palette.text, "stroke-width": 1.5 }));
  label(left, 14, `${explained.start + number}`, "start");
  label(right, 14, `${explained.end - 1 + number}`, "end");

  const part = saliency.slice(from, to), up = Math.max(0, ...part), down = Math.min(0, ...part), top = 66, bottom = 238;
  const scale = (bottom - top) / Math.max(1e-12, up - down), zero = top + up * scale, cell = across / part.length;
  part.forEach((value, i) => {
    const x = left + i * cell, size = Math.abs(value) * scale;
    if (part.length > LETTERS || cell < 5) {
      svg.append(node("rect", { x, y: value > 0 ? zero - size : zero, width: Math.max(0.5, cell * 0.9), height: size, fill: value > 0 ? palette.for : palette.against }));
    } else if (size > 0.5) {
      // Capital letters of this font are .73 of its size high and about .72 wide.
      const glyph = node("text", { "font-size": 10, "font-weight": "bold", "font-family": "sans-serif", "text-anchor": "middle",
        fill: colour(letters[from + i], palette), "fill-opacity": value > 0 ? 1 : 0.6,
        transform: `translate(${(x + cell / 2).toFixed(2)} ${(value > 0 ? zero : zero + size).toFixed(2)}) scale(${(cell / 7.6).toFixed(3)} ${(size / 7.3).toFixed(3)})` },
      letters[from + i]);
      svg.append(glyph);
    }
  });
  svg.append(node("line", { x1: left, x2: right, y1: zero, y2: zero, stroke: palette.faint, "stroke-width": 0.7 }));
  if (cell >= 8) {
    part.forEach((_, i) => svg.append(node("text", { x: left + (i + 0.5) * cell, y: 252, fill: palette.faint, "font-size": Math.min(10, cell),
      "text-anchor": "middle", "font-family": "monospace" }, letters[from + i])));
  }
  label(left, 266, `${explained.start + from + number}`, "start");
  label(right, 266, `${explained.start + to - 1 + number}`, "end");
  return svg;
}

function draw() {
  $("picture").replaceChildren(picture(Math.max(280, $("picture").clientWidth), colours()));
  const peak = explained.saliency.indexOf(Math.max(...explained.saliency));
  $("picture").setAttribute("aria-label", `Saliency of ${explained.letters.length} residues; the largest is at ${explained.letters[peak]} `
    + `${explained.start + peak + (model.alphabet === "dna" ? 0 : 1)}. Shown letter by letter: ${explained.letters.slice(...view)}`);
}

// Downloads

function save(name, type, text) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(text instanceof Blob ? text : new Blob([text], { type }));
  link.download = name.replace(/[^\w.-]+/g, "_");
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10000);
}

const clean = (text) => String(text).replace(/[\t\r\n]/g, " ");

function saveTable() {
  const rank = records[0].top.flatMap((_, i) => [`label_${i + 1}`, `probability_${i + 1}`]);
  const rows = records.map((r) => [r.id, r.start, r.end, ...r.top.flatMap((each) => [each.label, each.probability]),
    (r.calls || []).join(";"), r.model].map(clean).join("\t"));
  save("predictions.tsv", "text/tab-separated-values", `${["id", "start", "end", ...rank, "calls", "model"].join("\t")}\n${rows.join("\n")}\n`);
}

function saveSaliency() {
  const rows = explained.saliency.map((value, i) => [clean(explained.id), explained.start + i, explained.letters[i], value].join("\t"));
  save(`${explained.id}.${explained.target}.tsv`, "text/tab-separated-values", `id\tposition\tletter\tsaliency\n${rows.join("\n")}\n`);
}

function savePicture() {
  save(`${explained.id}.${explained.target}.svg`, "image/svg+xml", new XMLSerializer().serializeToString(picture(900, LIGHT)));
}

// Beginning

async function chooseModel(name) {
  model = await ask(`models/${encodeURIComponent(name)}`);
  const unit = model.alphabet === "dna" ? "bp" : "residues";
  const length = model.length ? `sequences of ${model.length.toLocaleString()} ${unit}` : `sequences of any length up to ${model.limits.max_length.toLocaleString()} ${unit}`;
  $("about").textContent = model.input_kind === "tokens"
    ? `${model.alphabet === "dna" ? "DNA" : "Proteins"}, ${length}; ${model.targets.length.toLocaleString()} targets; version ${model.version}`
    : "This model reads vectors, which this page cannot make of sequences.";
  $("predict").disabled = $("send-job").disabled = model.input_kind !== "tokens";
  $("policy-field").hidden = !model.length;
  $("evidence").hidden = !model.methods.length;
  $("targets").replaceChildren(...model.targets.map(({ name }) => new Option(name, name)));
  $("method").replaceChildren(...model.methods.map((method) => new Option(method, method)));
  for (const id of ["results", "one"]) $(id).hidden = true;
}

async function begin() {
  try {
    const models = await ask("models");
    $("model").replaceChildren(...models.map(({ name }) => new Option(name, name)));
    await chooseModel(models[0].name);
    say("");
  } catch (error) {
    say(error.message, true);
  }
}

$("form").addEventListener("submit", predict);
$("sequences").addEventListener("keydown", (event) => { if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) $("form").requestSubmit(); });
$("sequences").addEventListener("input", () => { file = null; });
$("sequences").addEventListener("paste", (event) => {
  const text = event.clipboardData.getData("text");
  if (text.length > MANY) { event.preventDefault(); take(text); keepWhole(text); }
});
$("sequences").addEventListener("dragover", (event) => { event.preventDefault(); $("sequences").className = "over"; });
$("sequences").addEventListener("dragleave", () => { $("sequences").className = ""; });
$("sequences").addEventListener("drop", (event) => {
  event.preventDefault();
  $("sequences").className = "";
  const [file] = event.dataTransfer.files;
  if (file) open(file); else { take(event.dataTransfer.getData("text")); keepWhole(event.dataTransfer.getData("text")); }
});
$("pick").addEventListener("click", () => $("file").click());
$("file").addEventListener("change", () => { if ($("file").files[0]) open($("file").files[0]); $("file").value = ""; });
$("example").addEventListener("click", () => take(EXAMPLES[model.alphabet]()));
$("clear").addEventListener("click", () => { take(""); $("sequences").focus(); });
$("model").addEventListener("change", () => chooseModel($("model").value).catch((error) => say(error.message, true)));
$("key").addEventListener("change", () => { if (!model) begin(); });
$("stop").addEventListener("click", () => stopping.abort());
$("earlier").addEventListener("click", () => { first = Math.max(0, first - SHOWN); showTable(); });
$("later").addEventListener("click", () => { first += SHOWN; showTable(); });
$("explain").addEventListener("click", explain);
$("target").addEventListener("keydown", (event) => { if (event.key === "Enter") explain(); });
$("save-table").addEventListener("click", saveTable);
$("save-saliency").addEventListener("click", saveSaliency);
$("save-picture").addEventListener("click", savePicture);
$("zoom-in").addEventListener("click", () => zoom(width() / 1.5, middle()));
$("zoom-out").addEventListener("click", () => zoom(width() * 1.5, middle()));
$("zoom-all").addEventListener("click", () => zoom(explained.letters.length, 0));
$("picture").addEventListener("keydown", (event) => {
  const moves = { ArrowLeft: () => zoom(width(), middle() - width() / 4), ArrowRight: () => zoom(width(), middle() + width() / 4),
    "+": () => zoom(width() / 1.5, middle()), "=": () => zoom(width() / 1.5, middle()), "-": () => zoom(width() * 1.5, middle()),
    0: () => zoom(explained.letters.length, 0) };
  if (moves[event.key] && !event.ctrlKey && !event.metaKey) { event.preventDefault(); moves[event.key](); }
});
$("picture").addEventListener("wheel", (event) => {
  event.preventDefault();
  zoom(width() * (event.deltaY > 0 ? 1.2 : 1 / 1.2), middle());
}, { passive: false });

// One finger or the mouse moves the frame: on the strip to where it is, on the letters along with them. Two fingers zoom.
const fingers = new Map();
let apart = 0;
$("picture").addEventListener("pointerdown", (event) => {
  fingers.set(event.pointerId, event);
  $("picture").setPointerCapture(event.pointerId);
  if (event.offsetY < 55) zoom(width(), explained.letters.length * event.offsetX / $("picture").clientWidth);
});
$("picture").addEventListener("pointermove", (event) => {
  const before = fingers.get(event.pointerId);
  if (!before) return;
  fingers.set(event.pointerId, event);
  if (fingers.size === 2) {
    const [one, other] = [...fingers.values()], now = Math.abs(one.clientX - other.clientX);
    if (apart) zoom(width() * apart / Math.max(10, now), middle());
    apart = now;
  } else if (event.offsetY < 55) {
    zoom(width(), explained.letters.length * event.offsetX / $("picture").clientWidth);
  } else {
    const moved = Math.round((before.clientX - event.clientX) * width() / $("picture").clientWidth);
    if (moved) zoom(width(), middle() + moved); else fingers.set(event.pointerId, before);
  }
});
for (const name of ["pointerup", "pointercancel"]) {
  $("picture").addEventListener(name, (event) => { fingers.delete(event.pointerId); apart = 0; });
}
addEventListener("resize", () => { if (explained && !$("saliency").hidden) draw(); });
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => { if (explained && !$("saliency").hidden) draw(); });
