"use strict";
// Jobs: what the service works on by itself. The address of the page holds the id, so a job is found again.

const EVERY = 700;
let watching = null;

async function sendJob() {
  const text = $("sequences").value;
  const body = file || (text.trimStart().startsWith(">") ? text : `>pasted\n${text}`);
  if (!file && !text.trim()) return say("There is no sequence yet: paste one, open a file, or take the example.", true);
  say("Sending ...");
  $("send-job").disabled = true;
  const policy = model.length ? $("policy").value : "error";
  try {
    const headers = { "Content-Type": "text/x-fasta" };
    const job = await ask(`jobs?model=${encodeURIComponent(model.name)}&length_policy=${policy}`, { method: "POST", headers, body });
    say("");
    location.hash = `job=${job.id}`;
    $("job").hidden = false;
    $("job-title").focus();
  } catch (error) {
    say(error.message, true);
  } finally {
    $("send-job").disabled = false;
  }
}

// Of a pasted text that is too long to be shown, the field holds the beginning alone.
function keepWhole(text) {
  file = new Blob([text.trimStart().startsWith(">") ? text : `>pasted\n${text}`]);
}

const plural = (count, word) => `${count.toLocaleString()} ${word}${count === 1 ? "" : "s"}`;

function left(seconds) {
  if (seconds === null || seconds === undefined) return "";
  if (seconds < 90) return `, ${Math.ceil(seconds)} s to go`;
  return seconds < 5400 ? `, ${Math.round(seconds / 60)} minutes to go` : `, ${(seconds / 3600).toFixed(1)} hours to go`;
}

function told(job) {
  if (job.state === "queued") return "It waits for its turn.";
  if (job.state === "running" && !job.total) return "The sequences are being read.";
  if (job.state === "running") return `${job.done.toLocaleString()} of ${plural(job.total, "prediction")}${left(job.eta_seconds)}`;
  if (job.state === "failed") return `It failed: ${job.error}`;
  return job.state === "done" ? `Done: ${plural(job.total, "prediction")} by ${job.model} ${job.version}` : "It was cancelled.";
}

function showJob(job) {
  const running = job.state === "queued" || job.state === "running", done = job.state === "done";
  $("job").hidden = false;
  if ($("job-status").textContent !== told(job)) $("job-status").textContent = told(job);
  $("job-status").className = job.state === "failed" ? "bad" : "";
  $("job-progress").hidden = $("job-cancel").hidden = !running;
  if (job.total) {
    $("job-progress").max = job.total;
    $("job-progress").value = job.done;
  } else {
    $("job-progress").removeAttribute("value");
  }
  for (const id of ["job-table", "job-plot", "job-delete"]) $(id).hidden = !done;
  $("job-preview").hidden = !done;
  if (!done) $("job-picture").hidden = true;
  const proteins = model?.name === job.model && model.alphabet !== "dna";
  $("job-rows").replaceChildren(...(job.preview || []).map(({ id, start, end, top }) => {
    const made = document.createElement("tr");
    made.append(cell(id), cell(`${start + (proteins ? 1 : 0)}-${end}`, "place"), cell(top[0].label), cell(top[0].probability.toFixed(3), "number"));
    return made;
  }));
  return running;
}

const named = () => new URLSearchParams(location.hash.slice(1)).get("job");

async function watchJob() {
  clearTimeout(watching);
  const id = named();
  $("job").hidden = !id;
  if (!id) return;
  try {
    const job = await ask(`jobs/${encodeURIComponent(id)}`);
    // Meanwhile another one may have been asked for.
    if (named() === id && showJob(job)) watching = setTimeout(watchJob, EVERY);
  } catch (error) {
    if (named() !== id) return;
    $("job-status").textContent = error.message;
    $("job-status").className = "bad";
    for (const hidden of ["job-progress", "job-cancel", "job-table", "job-plot", "job-delete", "job-preview"]) $(hidden).hidden = true;
  }
}

// Not by links, which would not bring the key.
async function withJob(work) {
  try {
    await work(`jobs/${encodeURIComponent(named())}`);
  } catch (error) {
    $("job-status").textContent = error.message;
    $("job-status").className = "bad";
  }
}

$("send-job").addEventListener("click", sendJob);
$("job-table").addEventListener("click", () => withJob(async (job) =>
  save("result.csv", "text/csv", await (await fetched(`${job}/result.csv`)).blob())));
$("job-plot").addEventListener("click", () => withJob(async (job) => {
  $("job-status").textContent = "Placing the sequences ...";
  $("job-picture").src = URL.createObjectURL(await (await fetched(`${job}/plot.png`)).blob());
  $("job-picture").hidden = false;
  watchJob();
}));
$("job-cancel").addEventListener("click", () => withJob(async (job) => { await fetched(job, { method: "DELETE" }); watchJob(); }));
$("job-delete").addEventListener("click", () => withJob(async (job) => { await fetched(job, { method: "DELETE" }); location.hash = ""; }));
$("key").addEventListener("change", watchJob);
addEventListener("hashchange", () => { $("job-picture").hidden = true; watchJob(); });

begin().then(watchJob);
