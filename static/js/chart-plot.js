/* One chart: a uPlot, its legend, its words and its table. It draws what the store (charts.js) holds. */
(() => {
  "use strict";
  const { SPECS, number, metricsOf } = window.KilroyCharts;
  const TABLE_ROWS = 200;
  const LABEL_PX = 30; // between two marks whose labels are both written

  const lastOf = (map) => (map?.size ? map.get(Math.max(...map.keys())) : null);

  /* Custom properties may hold light-dark(), which only a real property resolves. */
  const probe = document.createElement("span");
  probe.hidden = true;
  document.body.append(probe);
  const colour = (token, alpha = 1) => {
    probe.style.color = `var(--${token})`;
    const [r, g, b] = getComputedStyle(probe).color.match(/[\d.]+/g);
    return `rgb(${r} ${g} ${b} / ${alpha})`;
  };

  const counted = (count, noun) => `${count} ${noun}${count === 1 ? "" : "s"}`;
  const tick = (value) => (value !== 0 && Math.abs(value) < 0.001 ? value.toExponential() : String(+value.toFixed(3))).replaceAll("-", "−");

  class Chart {
    constructor(figure, store) {
      this.figure = figure;
      this.store = store;
      this.spec = SPECS[figure.dataset.chart];
      this.plotBox = figure.querySelector(".chart__plot");
      this.empty = figure.querySelector(".chart__empty");
      this.nothing = this.empty.textContent;
      this.tableBox = figure.querySelector(".chart__table");
      this.toggle = figure.querySelector("[data-chart-table]");
      this.status = figure.querySelector("[data-chart-status]");
      this.keys = this.legend(figure.querySelector(".chart__legend"));
      this.data = [[]];
      this.shown = [];
      this.shape = ""; // which lines the plot has been built for
      this.toggle?.addEventListener("click", () => this.showTable(this.tableBox.hidden));
      new ResizeObserver(() => this.resize()).observe(this.plotBox);
    }

    legend(list) {
      return this.spec.series.map((line) => {
        const key = document.createElement("span");
        key.className = "chart__key";
        key.dataset.tone = line.tone;
        if (line.dash) key.dataset.dash = "";
        const value = document.createElement("b");
        value.textContent = "–";
        key.append(`${line.label} `, value);
        key.hidden = Boolean(line.optional);
        list.append(key);
        return { key, value, line };
      });
    }

    get run() {
      return this.store.runFor(this.figure.dataset.kind);
    }

    get marks() {
      return this.run?.marks ?? [];
    }

    /* Each column of the plot: a line or an edge of an interval, of the chart's own run or of one beside it. */
    columns() {
      const own = this.spec.series.flatMap((line) =>
        (line.low ? [line.metric, line.low, line.high] : [line.metric]).map((metric, at) => ({ run: this.run, metric, line, edge: at > 0 })),
      );
      const beside = this.store.beside().flatMap(({ run, style }) =>
        this.spec.series.filter((line) => !line.aside && run.metrics[line.metric]?.size).map((line) => ({ run, metric: line.metric, line, style })),
      );
      return [...own, ...beside];
    }

    options(columns) {
      const axis = (extra) => ({
        stroke: colour("muted"),
        font: "12px system-ui, sans-serif",
        grid: { stroke: colour("line"), width: 1 },
        ticks: { show: false },
        ...extra,
      });
      const bands = [];
      const series = columns.map(({ line, edge, style }, at) => {
        if (edge) return { width: 0, stroke: "transparent", spanGaps: true, points: { show: false } };
        if (line.low && !style) bands.push({ series: [at + 3, at + 2], fill: colour(line.tone, line.dash ? 0.1 : 0.18) });
        const tone = style?.tone ?? line.tone;
        return {
          stroke: colour(tone, line.thin && !style ? 0.75 : 1),
          width: line.thin ? 1.25 : style ? 1.75 : 2.25,
          dash: style?.dash ?? (line.dash ? [6, 5] : undefined),
          spanGaps: true,
          points: { show: line.thin || style ? false : undefined, size: 6, fill: colour(tone), stroke: colour(tone), filter: line.dots ? undefined : this.fewPoints },
        };
      });
      return {
        width: Math.max(this.plotBox.clientWidth, 60),
        height: Math.max(this.plotBox.clientHeight, 60),
        padding: [this.marks.length ? 18 : 10, 10, 0, 0],
        legend: { show: false },
        cursor: {
          drag: { x: this.store.zooms, y: false, setScale: false },
          bind: { dblclick: () => () => this.store.zoom(null) },
          points: { size: 7 },
          y: false,
          sync: this.figure.dataset.kind ? { key: `kilroy-${this.figure.dataset.kind}` } : undefined,
        },
        scales: { x: { time: false, range: () => this.span() }, y: { range: (_u, min, max) => this.range(min, max) } },
        axes: [
          axis({ incrs: [1, 2, 5].flatMap((n) => [...Array(9).keys()].map((e) => n * 10 ** e)).sort((a, b) => a - b), grid: { show: false }, size: 28, values: (_u, ticks) => ticks.map((at) => (Number.isInteger(at) ? at : "")) }),
          axis({ size: 52, values: (_u, ticks) => ticks.map(tick) }),
        ],
        series: [{}, ...series],
        bands,
        hooks: {
          draw: [(plot) => this.drawLevel(plot), (plot) => this.drawMarks(plot)],
          setCursor: [(plot) => this.values(plot.cursor.idx)],
          setSelect: [(plot) => this.chosen(plot)],
        },
      };
    }

    /* Dots help while there are few points to see, and clutter afterwards. */
    fewPoints(plot, index) {
      const shown = [...plot.data[index].keys()].filter((at) => plot.data[index][at] !== null);
      return shown.length <= 30 ? shown : [];
    }

    /* A stretch that was dragged over. */
    chosen(plot) {
      const { left, width } = plot.select;
      if (width < 6) return;
      const [from, to] = [plot.posToVal(left, "x"), plot.posToVal(left + width, "x")];
      plot.setSelect({ left: 0, top: 0, width: 0, height: 0 }, false);
      this.store.zoom([Math.floor(from), Math.ceil(to)]);
    }

    span() {
      if (this.store.view) return this.store.view;
      const xs = this.data[0];
      return xs.length > 1 ? [xs[0], xs.at(-1)] : [xs[0] - 1, xs[0] + 1];
    }

    range(min, max) {
      if (min === null || max === null) return [0, 1];
      let [low, high] = [min, max];
      const { level, floor } = this.spec;
      if (Number.isFinite(level)) [low, high] = [Math.min(low, level), Math.max(high, level)];
      if (Number.isFinite(floor)) low = Math.min(low, floor);
      const room = (high - low || Math.abs(high) || 1) * 0.08;
      return [low === floor ? low : low - room, high + room];
    }

    line(plot, [x0, y0], [x1, y1], dash = []) {
      const { ctx } = plot;
      ctx.strokeStyle = colour("line-strong");
      ctx.lineWidth = devicePixelRatio;
      ctx.setLineDash(dash.map((length) => length * devicePixelRatio));
      ctx.beginPath();
      ctx.moveTo(x0, y0);
      ctx.lineTo(x1, y1);
      ctx.stroke();
    }

    drawLevel(plot) {
      if (!Number.isFinite(this.spec.level)) return;
      const { ctx, bbox } = plot;
      const y = Math.round(plot.valToPos(this.spec.level, "y", true)) + 0.5;
      ctx.save();
      this.line(plot, [bbox.left, y], [bbox.left + bbox.width, y]);
      ctx.restore();
    }

    /* Versions of the model: where each was made. Labels that would lie on each other are left to the table. */
    drawMarks(plot) {
      const { ctx, bbox } = plot;
      const [from, to] = this.span();
      let free = -Infinity;
      ctx.save();
      ctx.font = `${11 * devicePixelRatio}px system-ui, sans-serif`;
      ctx.textAlign = "center";
      ctx.fillStyle = colour("muted");
      for (const mark of this.marks) {
        if (mark.step < from || mark.step > to) continue;
        const x = Math.round(plot.valToPos(mark.step, "x", true)) + 0.5;
        this.line(plot, [x, bbox.top], [x, bbox.top + bbox.height], [1, 3]);
        if (x < free) continue;
        ctx.fillText(mark.label, Math.min(x, bbox.left + bbox.width - 8 * devicePixelRatio), bbox.top - 5 * devicePixelRatio);
        free = x + LABEL_PX * devicePixelRatio;
      }
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
      const columns = this.columns();
      const steps = new Set(columns.flatMap(({ run: of, metric }) => [...(of?.metrics[metric]?.keys() ?? [])]));
      const xs = [...steps].sort((a, b) => a - b);
      this.data = [xs, ...columns.map(({ run: of, metric }) => xs.map((x) => of?.metrics[metric]?.get(x) ?? null))];
      this.shown = columns;
      const shape = columns.map(({ run: of, metric, style }) => `${of?.id} ${metric} ${style?.tone}`).join() + Boolean(this.marks.length);
      this.empty.hidden = xs.length > 0;
      this.empty.textContent = this.store.view ? "No values in this stretch." : this.nothing;
      if (!xs.length || shape !== this.shape) {
        this.plot?.destroy();
        this.plot = undefined;
      }
      this.shape = shape;
      if (this.plot) this.plot.setData(this.data);
      else if (xs.length) this.plot = new window.uPlot(this.options(columns), this.data, this.plotBox);
      if (this.status && run) this.status.textContent = ` · ${run.state}`;
      this.values(null);
      this.describe();
      if (!this.tableBox.hidden) this.fillTable();
    }

    values(index) {
      for (const { key, value, line } of this.keys) {
        const map = this.run?.metrics[line.metric];
        const column = this.shown.findIndex((each) => each.line === line && !each.edge && !each.style);
        const under = index === null || index === undefined ? null : this.data[column + 1]?.[index];
        value.textContent = number(under ?? lastOf(map));
        if (line.optional) key.hidden = !map?.size;
      }
    }

    describe() {
      const parts = this.spec.series.flatMap((line) => {
        const map = this.run?.metrics[line.metric];
        if (!map?.size) return line.optional ? [] : [`${line.label}: no value ${this.store.view ? "in this stretch" : "yet"}`];
        const first = map.get(Math.min(...map.keys()));
        return [`${line.label}: ${counted(map.size, "point")}, from ${number(first)} to ${number(lastOf(map))}`];
      });
      const beside = this.store.beside().map(({ run }) => run.label);
      if (beside.length) parts.push(`Beside it: ${beside.join(", ")}`);
      if (this.marks.length) parts.push(`${counted(this.marks.length, "model version")} marked`);
      this.plotBox.setAttribute("aria-label", `${parts.join(". ")}. A table with the numbers is behind the button “Table”.`);
    }

    showTable(open) {
      this.tableBox.hidden = !open;
      this.toggle.setAttribute("aria-expanded", String(open));
      this.toggle.lastChild.textContent = open ? "Chart" : "Table"; // the name of the chart before it stays, for people who only hear the button
      if (open) this.fillTable();
    }

    fillTable() {
      const heads = this.shown.map(({ line, edge, metric, run, style }) => {
        if (edge) return metric === line.low ? "95 % from" : "to";
        return style ? `${line.label}, ${run.label}` : line.label;
      });
      const [xs, ...columns] = this.data;
      const rows = [];
      for (let at = xs.length - 1; at >= Math.max(0, xs.length - TABLE_ROWS); at -= 1) rows.push([xs[at], ...columns.map((column) => number(column[at]))]);
      const tables = [this.table([this.spec.x, ...heads], rows)];
      if (this.marks.length) tables.unshift(this.table([this.spec.x, "Version", "What it is"], this.marks.map((mark) => [mark.step, mark.label, mark.title])));
      this.tableBox.replaceChildren(...tables);
    }

    table(heads, rows) {
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
      const table = document.createElement("table");
      const head = document.createElement("thead");
      head.append(row(heads.map((text) => cell("th", text, "col"))));
      const body = document.createElement("tbody");
      body.append(...rows.map(([first, ...others]) => row([cell("th", first, "row"), ...others.map((text) => cell("td", text))])));
      table.append(head, body);
      return table;
    }
  }

  Object.assign(window.KilroyCharts, { Chart, lastOf, metricsOf });
})();
