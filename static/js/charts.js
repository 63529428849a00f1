/* Charts of a bot's or a run's metrics: one JSON fetch for the past, the live connection for what comes.

   <section data-charts data-series-url="…" [data-charts-run="<id>"]>   one store of runs
     <figure class="chart" data-chart="reward" data-kind="online">      one chart of SPECS, on the newest run of that kind
   Colours come from the tokens, heights from the style sheet; nothing here changes the layout. */
(() => {
  "use strict";
  const root = document.querySelector("[data-charts]");
  if (!root || !window.uPlot) return;

  const REDRAW_MS = 200;
  const SPEAK_MS = 6000;
  const TABLE_ROWS = 200;
  const RETRY_MS = 5000;
  const LIVING = new Set(["queued", "running", "paused"]); // at most one run of a bot is in one of these

  /* One entry per chart. `low` and `high` name the metrics of a 95 % interval; `level` draws a horizontal line. */
  const SPECS = {
    reward: {
      x: "Round",
      level: null,
      series: [
        { metric: "baseline_mean", label: "Frozen baseline", tone: "baseline", dash: true, low: "baseline_low", high: "baseline_high" },
        { metric: "reward_mean", label: "Learning", tone: "learning", low: "reward_low", high: "reward_high" },
      ],
    },
    lift: {
      x: "Round",
      level: 0,
      series: [{ metric: "lift", label: "Learning − baseline", tone: "learning", low: "lift_low", high: "lift_high" }],
    },
    kl: { x: "Round", floor: 0, series: [{ metric: "kl", label: "KL, nats per post", tone: "second" }] },
    distinct_2: { x: "Round", series: [{ metric: "distinct_2", label: "Distinct-2", tone: "second" }] },
    loss: {
      x: "Step",
      series: [
        { metric: "loss", label: "Training", tone: "baseline", thin: true },
        { metric: "heldout_loss", label: "Held-out", tone: "learning", dots: true },
      ],
    },
  };

  const runs = new Map(); // id → {id, kind, state, metrics: {name: Map(step → value)}}, oldest first

  const addRun = (raw) => {
    const metrics = {};
    for (const [name, points] of Object.entries(raw.metrics ?? {})) metrics[name] = new Map(points);
    runs.set(String(raw.id), { ...raw, id: String(raw.id), metrics });
  };

  const runFor = (kind) => {
    const wanted = root.dataset.chartsRun;
    if (wanted) return runs.get(wanted);
    const ofKind = [...runs.values()].filter((run) => run.kind === kind);
    return ofKind.find((run) => LIVING.has(run.state)) ?? ofKind.at(-1);
  };

  const number = (value) => {
    if (value === null || value === undefined || !Number.isFinite(value)) return "–";
    return (Math.abs(value) >= 100 ? value.toFixed(0) : value.toFixed(2)).replace("-", "−");
  };

  /* Custom properties may hold light-dark(), which only a real property resolves. */
  const probe = document.createElement("span");
  probe.hidden = true;
  root.append(probe);
  const colour = (token, alpha = 1) => {
    probe.style.color = `var(--${token})`;
    const [r, g, b] = getComputedStyle(probe).color.match(/[\d.]+/g);
    return `rgb(${r} ${g} ${b} / ${alpha})`;
  };

  /* The metrics a chart draws, in uPlot's order: each line, then its interval's edges. */
  const columnsOf = (spec) => spec.series.flatMap((line) => (line.low ? [line.metric, line.low, line.high] : [line.metric]));

  const align = (run, spec) => {
    const names = columnsOf(spec);
    const steps = new Set();
    for (const name of names) for (const step of run?.metrics[name]?.keys() ?? []) steps.add(step);
    const xs = [...steps].sort((a, b) => a - b);
    return [xs, ...names.map((name) => xs.map((x) => run?.metrics[name]?.get(x) ?? null))];
  };

  const lastOf = (map) => (map?.size ? map.get(Math.max(...map.keys())) : null);

  class Chart {
    constructor(figure) {
      this.figure = figure;
      this.spec = SPECS[figure.dataset.chart];
      this.plotBox = figure.querySelector(".chart__plot");
      this.empty = figure.querySelector(".chart__empty");
      this.tableBox = figure.querySelector(".chart__table");
      this.toggle = figure.querySelector("[data-chart-table]");
      this.status = figure.querySelector("[data-chart-status]");
      this.keys = this.legend(figure.querySelector(".chart__legend"));
      this.data = [[]];
      this.toggle?.addEventListener("click", () => this.showTable(this.tableBox.hidden));
      new ResizeObserver(() => this.resize()).observe(this.plotBox);
    }

    legend(list) {
      return [...this.spec.series].map((line) => {
        const key = document.createElement("span");
        key.className = "chart__key";
        key.dataset.tone = line.tone;
        if (line.dash) key.dataset.dash = "";
        const value = document.createElement("b");
        value.textContent = "–";
        key.append(`${line.label} `, value);
        list.append(key);
        return { key, value, line };
      });
    }

    get run() {
      return runFor(this.figure.dataset.kind);
    }

    options() {
      const axis = (extra) => ({
        stroke: colour("muted"),
        font: "12px system-ui, sans-serif",
        grid: { stroke: colour("line"), width: 1 },
        ticks: { show: false },
        ...extra,
      });
      const series = [{}];
      const bands = [];
      for (const line of this.spec.series) {
        const at = series.length;
        series.push({
          stroke: colour(line.tone, line.thin ? 0.75 : 1),
          width: line.thin ? 1.25 : 2.25,
          dash: line.dash ? [6, 5] : undefined,
          spanGaps: true,
          points: { show: line.thin ? false : undefined, size: 6, fill: colour(line.tone), stroke: colour(line.tone), filter: line.dots ? undefined : this.fewPoints },
        });
        if (line.low) {
          const edge = { width: 0, stroke: "transparent", spanGaps: true, points: { show: false } };
          series.push(edge, edge);
          bands.push({ series: [at + 2, at + 1], fill: colour(line.tone, line.dash ? 0.1 : 0.18) });
        }
      }
      return {
        width: Math.max(this.plotBox.clientWidth, 60),
        height: Math.max(this.plotBox.clientHeight, 60),
        padding: [10, 10, 0, 0],
        legend: { show: false },
        cursor: {
          drag: { x: false, y: false },
          points: { size: 7 },
          y: false,
          sync: this.figure.dataset.kind ? { key: `kilroy-${this.figure.dataset.kind}` } : undefined,
        },
        scales: { x: { time: false, range: () => this.span() }, y: { range: (_u, min, max) => this.range(min, max) } },
        axes: [
          axis({ label: undefined, incrs: [1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 10000], grid: { show: false }, size: 28, values: (_u, ticks) => ticks.map((tick) => (Number.isInteger(tick) ? tick : "")) }),
          axis({ size: 46, values: (_u, ticks) => ticks.map((tick) => String(+tick.toFixed(3)).replace("-", "−")) }),
        ],
        series,
        bands,
        hooks: { draw: [(plot) => this.drawLevel(plot)], setCursor: [(plot) => this.values(plot.cursor.idx)] },
      };
    }

    /* Dots help while there are few points to see, and clutter afterwards. */
    fewPoints(plot, index) {
      const shown = plot.data[index].reduce((n, value, at) => (value === null ? n : [...n, at]), []);
      return shown.length <= 30 ? shown : [];
    }

    span() {
      const xs = this.data[0];
      return xs.length > 1 ? [xs[0], xs.at(-1)] : [xs[0] - 1, xs[0] + 1];
    }

    range(min, max) {
      if (min === null || max === null) return [0, 1];
      let [low, high] = [min, max];
      if (Number.isFinite(this.spec.level)) [low, high] = [Math.min(low, this.spec.level), Math.max(high, this.spec.level)];
      if (Number.isFinite(this.spec.floor)) low = Math.min(low, this.spec.floor);
      const room = (high - low || Math.abs(high) || 1) * 0.08;
      return [low === this.spec.floor ? low : low - room, high + room];
    }

    drawLevel(plot) {
      if (!Number.isFinite(this.spec.level)) return;
      const y = Math.round(plot.valToPos(this.spec.level, "y", true)) + 0.5;
      const { ctx, bbox } = plot;
      ctx.save();
      ctx.strokeStyle = colour("line-strong");
      ctx.lineWidth = devicePixelRatio;
      ctx.beginPath();
      ctx.moveTo(bbox.left, y);
      ctx.lineTo(bbox.left + bbox.width, y);
      ctx.stroke();
      ctx.restore();
    }

    resize() {
      if (this.plot && this.plotBox.clientWidth) this.plot.setSize({ width: this.plotBox.clientWidth, height: this.plotBox.clientHeight });
    }

    rebuild() {
      this.plot?.destroy();
      this.plot = undefined;
      this.update();
    }

    update() {
      const { run } = this;
      this.data = align(run, this.spec);
      const some = this.data[0].length > 0;
      this.empty.hidden = some;
      if (some) {
        if (this.plot) this.plot.setData(this.data);
        else this.plot = new window.uPlot(this.options(), this.data, this.plotBox);
      } else if (this.plot) {
        this.plot.destroy();
        this.plot = undefined;
      }
      if (this.status && run) this.status.textContent = ` · ${run.state}`;
      this.values(null);
      this.describe();
      if (!this.tableBox.hidden) this.fillTable();
    }

    values(index) {
      let column = 1;
      for (const { value, line } of this.keys) {
        const under = index === null || index === undefined ? null : this.data[column]?.[index];
        value.textContent = number(under ?? lastOf(this.run?.metrics[line.metric]));
        column += line.low ? 3 : 1;
      }
    }

    describe() {
      const sentence = this.spec.series
        .map((line) => {
          const map = this.run?.metrics[line.metric];
          if (!map?.size) return `${line.label}: no value yet`;
          const first = map.get(Math.min(...map.keys()));
          return `${line.label}: ${map.size} points, from ${number(first)} to ${number(lastOf(map))}`;
        })
        .join(". ");
      this.plotBox.setAttribute("aria-label", `${sentence}. A table with the numbers is behind the button “Table”.`);
    }

    showTable(open) {
      this.tableBox.hidden = !open;
      this.toggle.setAttribute("aria-expanded", String(open));
      this.toggle.lastChild.textContent = open ? "Chart" : "Table"; // the name of the chart before it stays, for people who only hear the button
      if (open) this.fillTable();
    }

    fillTable() {
      const cell = (name, text, scope) => {
        const node = document.createElement(name);
        node.textContent = text;
        if (scope) node.scope = scope;
        else node.className = "number";
        return node;
      };
      const row = (cells) => {
        const node = document.createElement("tr");
        node.append(...cells);
        return node;
      };
      const heads = this.spec.series.flatMap((line) => (line.low ? [line.label, "95 % from", "to"] : [line.label]));
      const [xs, ...columns] = this.data;
      const table = document.createElement("table");
      const head = document.createElement("thead");
      head.append(row([this.spec.x, ...heads].map((text) => cell("th", text, "col"))));
      const body = document.createElement("tbody");
      for (let at = xs.length - 1; at >= Math.max(0, xs.length - TABLE_ROWS); at -= 1) {
        body.append(row([cell("th", String(xs[at]), "row"), ...columns.map((column) => cell("td", number(column[at])))]));
      }
      table.append(head, body);
      this.tableBox.replaceChildren(table);
    }
  }

  const charts = [...root.querySelectorAll("[data-chart]")].filter((f) => SPECS[f.dataset.chart]).map((f) => new Chart(f));

  let pending;
  let lastDraw = 0;
  const redraw = () => {
    if (pending) return;
    pending = setTimeout(
      () => {
        pending = undefined;
        lastDraw = performance.now();
        for (const chart of charts) chart.update();
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
    const online = root.dataset.chartsRun ? runs.get(root.dataset.chartsRun) : runFor("online");
    const rewards = online?.metrics.reward_mean;
    if (rewards?.size) {
      const round = Math.max(...rewards.keys());
      return `Round ${round}: learning ${number(rewards.get(round))}, baseline ${number(online.metrics.baseline_mean?.get(round) ?? lastOf(online.metrics.baseline_mean))}`;
    }
    const offline = root.dataset.chartsRun ? online : runFor("offline");
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

  const load = async () => {
    const answer = await fetch(root.dataset.seriesUrl, { headers: { Accept: "application/json" } });
    if (!answer.ok) throw new Error(`series: ${answer.status}`);
    const { runs: fresh } = await answer.json();
    runs.clear();
    fresh.forEach(addRun);
    redraw();
  };
  let loading;
  const reload = () => {
    loading ??= load()
      .catch(() => {
        window.Kilroy?.toast("The charts' numbers could not be loaded. Trying again…");
        setTimeout(reload, RETRY_MS);
      })
      .finally(() => {
        loading = undefined;
      });
    return loading;
  };

  document.body.addEventListener("kilroy:message", ({ detail: message }) => {
    const run = runs.get(String(message.run));
    if (message.type === "metrics") {
      if (!run) {
        if (!root.dataset.chartsRun) reload(); // a run that began after the page was loaded
        return;
      }
      for (const [name, step, value] of message.points) (run.metrics[name] ??= new Map()).set(step, value);
      redraw();
    } else if (message.type === "run") {
      if (!run && !root.dataset.chartsRun) reload();
      else if (run) {
        run.state = message.state;
        redraw();
      }
    }
  });
  document.body.addEventListener("kilroy:reconnected", reload);
  document.addEventListener("kilroy:theme", () => charts.forEach((chart) => chart.rebuild()));

  reload();
})();
