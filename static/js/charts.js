/* Charts of a bot's or a run's metrics: one JSON fetch for the past, the live connection for what comes.

   <section data-charts data-series-url="…" [data-charts-run="<id>"] [data-charts-beside="<id> <id>"]>   one store of runs
     <form data-chart-tools>                                            zoom, smoothing, runs beside (components/_chart_tools.html)
     <figure class="chart" data-chart="reward" data-kind="online">      one chart of SPECS, on the newest run of that kind
   Colours come from the tokens, heights from the style sheet; nothing here changes the layout. */
(() => {
  "use strict";
  const root = document.querySelector("[data-charts]");
  if (!root || !window.uPlot) return;
  const { SPECS, BESIDE, PINNED, Chart, number, lastOf, metricsOf } = window.KilroyCharts;

  const REDRAW_MS = 200;
  const SPEAK_MS = 6000;
  const RETRY_MS = 5000;
  const SOON_MS = 3000; // between two askings for what cannot be gone on with here: smoothed numbers, a run that is not known
  const ROOM = 2000; // points that the server sends at most
  const LIVING = new Set(["queued", "running", "paused"]); // at most one run of a bot is in one of these

  const figures = [...root.querySelectorAll("[data-chart]")].filter((figure) => SPECS[figure.dataset.chart]);
  const names = [...new Set(figures.flatMap((figure) => metricsOf(SPECS[figure.dataset.chart])))];
  const wanted = root.dataset.chartsRun;
  const runs = new Map(); // id → {id, kind, state, label, pinned, marks, metrics: {name: Map(step → value)}}, oldest first

  const addRun = (raw) => {
    const metrics = {};
    for (const [name, points] of Object.entries(raw.metrics ?? {})) metrics[name] = new Map(points);
    runs.set(String(raw.id), { ...raw, id: String(raw.id), metrics });
  };

  const store = {
    view: null, // [first, last] step in sight; null: all
    smooth: 0, // steps that each value is the mean of
    chosen: (root.dataset.chartsBeside ?? "").split(" ").filter(Boolean),
    zooms: Boolean(root.querySelector("[data-chart-tools]")),
    runFor(kind) {
      if (wanted) return runs.get(wanted);
      const ofKind = [...runs.values()].filter((run) => run.kind === kind);
      return ofKind.find((run) => LIVING.has(run.state)) ?? ofKind.at(-1);
    },
    beside() {
      if (!wanted) return [];
      let next = 0;
      return [...runs.values()]
        .filter((run) => run.id !== wanted)
        .map((run) => ({ run, style: run.pinned ? PINNED : BESIDE[next++ % BESIDE.length] }));
    },
    /* The first and last step of all that was measured, as far as it is known here. */
    extent() {
      const steps = [...runs.values()].flatMap((run) => names.flatMap((name) => [...(run.metrics[name]?.keys() ?? [])]));
      return steps.length ? [steps.reduce((a, b) => Math.min(a, b)), steps.reduce((a, b) => Math.max(a, b))] : [0, 0];
    },
    zoom(view) {
      store.view = view && view[1] > view[0] ? [Math.max(0, view[0]), view[1]] : null;
      reload();
    },
    set(smooth, chosen) {
      store.smooth = smooth;
      store.chosen = chosen;
      reload();
    },
    changed: () => {}, // chart-tools.js listens
  };
  window.KilroyCharts.store = store;
  const charts = figures.map((figure) => new Chart(figure, store));

  let pending;
  let lastDraw = 0;
  const redraw = () => {
    if (pending) return;
    pending = setTimeout(
      () => {
        pending = undefined;
        lastDraw = performance.now();
        for (const chart of charts) chart.update();
        store.changed();
        speak();
      },
      Math.max(0, lastDraw + REDRAW_MS - performance.now()),
    );
  };

  /* One polite sentence for people who listen to the page, at most every few seconds and only when it changed. */
  const voice = document.querySelector("[data-chart-voice]");
  let lastSpoken = -SPEAK_MS;
  let lastSentence = "";
  let speakLater;
  const sentenceOf = () => {
    const online = wanted ? runs.get(wanted) : store.runFor("online");
    const rewards = online?.metrics.reward_mean;
    if (rewards?.size) {
      const round = Math.max(...rewards.keys());
      return `Round ${round}: learning ${number(rewards.get(round))}, baseline ${number(online.metrics.baseline_mean?.get(round) ?? lastOf(online.metrics.baseline_mean))}`;
    }
    const offline = wanted ? online : store.runFor("offline");
    const losses = offline?.metrics.heldout_loss;
    return losses?.size ? `Step ${Math.max(...losses.keys())}: held-out loss ${number(lastOf(losses))}` : "";
  };
  const speak = () => {
    const sentence = sentenceOf();
    if (!voice || !sentence || sentence === lastSentence) return;
    const wait = lastSpoken + SPEAK_MS - performance.now();
    if (wait > 0) {
      speakLater ??= setTimeout(() => {
        speakLater = undefined;
        speak();
      }, wait);
      return;
    }
    lastSpoken = performance.now();
    lastSentence = sentence;
    voice.textContent = sentence;
  };

  const address = () => {
    const url = new URL(root.dataset.seriesUrl, location.href);
    for (const name of names) url.searchParams.append("name", name);
    for (const id of store.chosen) url.searchParams.append("run", id);
    if (store.smooth) url.searchParams.set("smooth", store.smooth);
    if (store.view) {
      url.searchParams.set("after", store.view[0] - 1);
      url.searchParams.set("before", store.view[1] + 1);
    }
    return url;
  };

  let loaded = 0; // points that came with the last load; what is heard is added to them
  let heard = 0;
  let missed = []; // what was heard while a load was under way, which may be newer than its answer
  const load = async () => {
    missed = [];
    const answer = await fetch(address(), { headers: { Accept: "application/json" } });
    if (!answer.ok) throw new Error(`series: ${answer.status}`);
    const { runs: fresh } = await answer.json();
    runs.clear();
    fresh.forEach(addRun);
    trouble?.remove();
    trouble = undefined;
    loaded = fresh.reduce((sum, run) => sum + Object.values(run.metrics).reduce((n, points) => n + points.length, 0), 0);
    heard = 0;
    for (const message of missed) hear(message);
    redraw();
  };
  let loading;
  let again = false; // asked for something else meanwhile
  let retry;
  let trouble; // what was said of a failure, until it is over
  const reload = () => {
    clearTimeout(retry);
    if (loading) {
      again = true;
      return loading;
    }
    loading = load()
      .catch(() => {
        trouble ??= window.Kilroy?.toast("The charts' numbers could not be loaded. Trying again…");
        clearTimeout(retry);
        retry = setTimeout(reload, RETRY_MS);
      })
      .finally(() => {
        loading = undefined;
        if (again) {
          again = false;
          reload();
        }
      });
    return loading;
  };
  let later;
  const reloadSoon = () => {
    later ??= setTimeout(() => {
      later = undefined;
      reload();
    }, SOON_MS);
  };

  const hear = (message) => {
    const run = runs.get(String(message.run));
    if (message.type === "run" && run) run.state = message.state;
    if (message.type !== "metrics" || !run) return;
    if (store.smooth) {
      reloadSoon();
      return;
    }
    for (const [name, step, value] of message.points) {
      if (!names.includes(name) || (store.view && step > store.view[1])) continue;
      (run.metrics[name] ??= new Map()).set(step, value);
      heard += 1;
    }
    if (heard > Math.max(loaded, ROOM)) reload(); // thinned again by the server
  };

  document.body.addEventListener("kilroy:message", ({ detail: message }) => {
    if (message.type !== "metrics" && message.type !== "run") return;
    if (loading) missed.push(message);
    if (runs.has(String(message.run))) {
      hear(message);
      redraw();
    } else if (!wanted) reloadSoon(); // a run that began after the page was loaded
  });
  document.body.addEventListener("kilroy:reconnected", reload);
  document.addEventListener("kilroy:theme", () => charts.forEach((chart) => chart.rebuild()));

  reload();
})();
