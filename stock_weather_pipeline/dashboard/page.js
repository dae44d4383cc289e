// Draws what the page holds. Every value comes from the panels' SQL; nothing of it is computed here. What is computed
// is where it goes on the screen: which sessions are shown, how far an axis reaches, how a number is written.
"use strict";
(() => {
  const DATA = JSON.parse(document.getElementById("data").textContent);
  const DAY_MS = 86400000;
  const NO_INTEGER = -(2 ** 31);
  const $ = (id) => document.getElementById(id);

  // --- answers of the panels -------------------------------------------------------------------------------------

  const bytes = (text) => Uint8Array.from(atob(text), (c) => c.charCodeAt(0)).buffer;
  const isoDay = (day) => new Date(day * DAY_MS).toISOString().slice(0, 10);
  const DECODE = {
    VARCHAR: (v) => Array.from(new Int32Array(bytes(v.codes)), (code) => (code === NO_INTEGER ? null : v.texts[code])),
    DATE: (v) => Array.from(new Int32Array(bytes(v)), (day) => (day === NO_INTEGER ? null : isoDay(day))),
    TIMESTAMP: (v) => Array.from(new Float64Array(bytes(v)), (ms) => new Date(ms).toISOString().slice(0, 19).replace("T", " ")),
  };
  const number = (v) => Array.from(new Float64Array(bytes(v)), (x) => (Number.isNaN(x) ? null : x));
  const decoded = new Map();

  /** The columns of a panel for a ticker, a location, or nothing; each an array, all of one length. */
  function columns(panelName, key = "") {
    const id = `${panelName}/${key}`;
    if (!decoded.has(id)) {
      const panel = DATA.panels[panelName];
      const rows = panel.rows[key] || {};
      decoded.set(id, Object.fromEntries(Object.entries(panel.fields).map(([name, field]) =>
        [name, rows[name] === undefined ? [] : (DECODE[field.type] || number)(rows[name])])));
    }
    return decoded.get(id);
  }

  // --- how things are written ------------------------------------------------------------------------------------

  function digits(value, unit) {
    if (unit === "shares" || unit === "rows" || unit === "sessions" || unit === "checks" || unit === "days" || unit === "queries" || unit === "bytes") return 0;
    if (unit === "USD") return Math.abs(value) < 1 ? 4 : 2;
    return unit === "°C" || unit === "mm" ? 1 : unit === "fraction" || unit === "" ? 3 : 2;
  }
  function written(value, unit) {
    if (value === null || value === undefined) return "–";
    const places = digits(value, unit);
    const text = value.toLocaleString("en-US", { minimumFractionDigits: places, maximumFractionDigits: places });
    return text.replace("-", "−");
  }
  const withUnit = (value, unit) => written(value, unit) + (value === null || !unit ? "" : unit === "%" ? " %" : ` ${unit}`);
  const WEEKDAYS = ["Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"];
  const MONTHS = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
  const weekday = (day) => new Date(`${day}T00:00Z`).getUTCDay();
  const dayAfter = (day, n) => isoDay(Date.parse(`${day}T00:00Z`) / DAY_MS + n);

  function element(tag, attributes = {}, ...children) {
    const made = document.createElement(tag);
    for (const [name, value] of Object.entries(attributes)) {
      if (name === "class") made.className = value;
      else made.setAttribute(name, value);
    }
    made.append(...children);
    return made;
  }
  const color = (name) => getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();

  // --- the chart of the sessions ---------------------------------------------------------------------------------

  // One entry a curve: panel, field, pane, and the colour's name in the style sheet.
  const SERIES = [
    { panel: "price", field: "close", label: "Candles", pane: "price", color: "up", kind: "candles" },
    { panel: "moving_averages", field: "sma_7", pane: "price", color: "sma-7", kind: "line" },
    { panel: "moving_averages", field: "sma_30", pane: "price", color: "sma-30", kind: "line" },
    { panel: "bollinger_bands", field: "lower_band", pane: "price", color: "band", kind: "dots" },
    { panel: "bollinger_bands", field: "upper_band", pane: "price", color: "band", kind: "dots", fill: "band-fill" },
    { panel: "bollinger_bands", field: "middle_band", pane: "price", color: "band", kind: "thin" },
    { panel: "volume", field: "volume", pane: "volume", color: "volume", kind: "bars" },
    { panel: "daily_change", field: "change_pct", pane: "change", color: "up", kind: "signed" },
    { panel: "macd", field: "histogram", pane: "macd", color: "volume", kind: "signed" },
    { panel: "macd", field: "macd", pane: "macd", color: "macd", kind: "line" },
    { panel: "macd", field: "signal", pane: "macd", color: "signal", kind: "line" },
  ];
  const OHLC = ["open", "high", "low", "close"];
  // Heights in pixels, from the top; above each but the first is its value line.
  const PANES = { price: { axis: "yaxis", ref: "y", height: 380 }, volume: { axis: "yaxis2", ref: "y2", height: 84 },
    change: { axis: "yaxis3", ref: "y3", height: 84 }, macd: { axis: "yaxis4", ref: "y4", height: 110 } };
  const GAP = 28, TOP = 20, BOTTOM = 26, LEFT = 8;
  const HEIGHT = TOP + BOTTOM + Object.values(PANES).reduce((sum, pane) => sum + pane.height, 0) + 3 * GAP;
  const right = () => (innerWidth <= 640 ? 52 : 64);
  const RANGES = [["1M", 21], ["3M", 63], ["6M", 126], ["1Y", 252], ["3Y", 756], ["All", Infinity]];
  const FEWEST = 5;

  const state = { ticker: null, location: null, low: 0, high: 0, cursor: 0, log: false, off: new Set(), days: [], values: {} };
  const fieldOf = (one) => DATA.panels[one.panel].fields[one.field];
  const nameOf = (one) => one.label || fieldOf(one).label;
  const keyOf = (one) => `${one.panel}.${one.field}`;
  const shown = (one) => !state.off.has(keyOf(one));

  /** The sessions of the ticker, and every curve's value for each of them. */
  function load(ticker) {
    state.ticker = ticker;
    state.days = columns("price", ticker).trade_date;
    const position = new Map(state.days.map((day, i) => [day, i]));
    const aligned = (panel, field) => {
      const found = columns(panel, ticker);
      const values = new Array(state.days.length).fill(null);
      found.trade_date.forEach((day, i) => { if (position.has(day)) values[position.get(day)] = found[field][i]; });
      return values;
    };
    state.values = {};
    for (const one of SERIES) state.values[keyOf(one)] = aligned(one.panel, one.field);
    for (const field of OHLC) state.values[`price.${field}`] = aligned("price", field);
  }

  const visible = () => [Math.max(0, Math.ceil(state.low)), Math.min(state.days.length - 1, Math.floor(state.high))];

  /** Lowest and highest of what is visible in a pane; bars reach to zero. */
  function reach(paneName) {
    const [first, last] = visible();
    let low = Infinity, high = -Infinity;
    for (const one of SERIES) {
      if (one.pane !== paneName || !shown(one)) continue;
      const fields = one.kind === "candles" ? ["price.low", "price.high"] : [keyOf(one)];
      for (const key of fields) {
        for (let i = first; i <= last; i++) {
          const value = state.values[key][i];
          if (value === null) continue;
          if (value < low) low = value;
          if (value > high) high = value;
        }
      }
      if (one.kind === "bars" || one.kind === "signed") { low = Math.min(low, 0); high = Math.max(high, 0); }
    }
    if (low > high) return [0, 1];
    if (paneName === "price" && state.log) {
      const ends = [Math.log10(low), Math.log10(high)], pad = (ends[1] - ends[0] || 0.01) * 0.06;
      return [ends[0] - pad, ends[1] + pad];
    }
    const pad = (high - low || Math.abs(high) || 1) * 0.06;
    return [low === 0 ? 0 : low - pad, high === 0 ? 0 : high + pad];
  }

  /** Where a label stands below the sessions: at the first session of weeks, months or years, as many as fit. */
  function ticks() {
    const [first, last] = visible();
    const most = Math.max(2, Math.floor(($("plot").clientWidth - 80) / 76));
    const month = (day) => Number(day.slice(0, 4)) * 12 + Number(day.slice(5, 7)) - 1;
    const week = (day) => Math.floor((Date.parse(`${day}T00:00Z`) / DAY_MS + 3) / 7);
    const units = [[(day, i) => i, 1], [week, 1], [week, 2], ...[1, 2, 3, 6, 12, 24, 60, 120].map((n) => [month, n])];
    for (const [unit, step] of units) {
      const at = [];
      for (let i = first; i <= last; i++) {
        const here = Math.floor(unit(state.days[i], i) / step);
        const before = i ? Math.floor(unit(state.days[i - 1], i - 1) / step) : here - (unit === month && first === 0 ? 0 : 1);
        if (here !== before) at.push(i);
      }
      if (at.length <= most) {
        const text = at.map((i) => {
          const [year, m, d] = state.days[i].split("-");
          const named = MONTHS[Number(m) - 1];
          if (unit !== month) return `${named} ${Number(d)}`;
          return m === "01" || step >= 12 ? year : named;
        });
        return { tickvals: at, ticktext: text };
      }
    }
    return { tickvals: [], ticktext: [] };
  }

  function traces() {
    const x = state.days.map((_, i) => i);
    const found = [];
    for (const one of SERIES) {
      const pane = PANES[one.pane];
      const base = { x, y: state.values[keyOf(one)], yaxis: pane.ref, name: nameOf(one), visible: shown(one), hoverinfo: "skip", meta: keyOf(one) };
      const stroke = color(one.color);
      if (one.kind === "candles") {
        const side = (tint) => ({ line: { color: tint, width: 1 }, fillcolor: tint });
        delete base.y;
        found.push({ ...base, type: "candlestick", ...Object.fromEntries(OHLC.map((f) => [f, state.values[`price.${f}`]])),
          increasing: side(color("up")), decreasing: side(color("down")) });
      } else if (one.kind === "bars" || one.kind === "signed") {
        found.push({ ...base, type: "bar", marker: { color: one.kind === "bars" ? stroke : signed(base.y), line: { width: 0 } }, opacity: one.panel === "macd" ? 0.6 : 1 });
      } else {
        found.push({ ...base, type: "scatter", mode: "lines", connectgaps: false,
          line: { color: stroke, width: one.kind === "line" ? 1.6 : 1, dash: one.kind === "dots" ? "dot" : "solid" },
          ...(one.fill ? { fill: "tonexty", fillcolor: color(one.fill) } : {}) });
      }
    }
    return found;
  }
  function signed(values) {
    const up = color("up"), down = color("down");
    return values.map((value) => (value < 0 ? down : up));
  }

  /** The splits of the ticker at the first session traded at the new price. */
  function splitMarkers() {
    const found = columns("splits", state.ticker);
    return found.execution_date.map((day, n) => ({
      at: day > state.days[0] ? state.days.findIndex((session) => session >= day) : -1,
      text: `Split ${found.split_to[n]}:${found.split_from[n]}`,
    })).filter((marker) => marker.at >= 0);
  }

  function font() {
    return { family: getComputedStyle(document.body).fontFamily, size: 12, color: color("muted") };
  }
  function axis(extra) {
    return { gridcolor: color("grid"), linecolor: color("line"), zerolinecolor: color("line"), zerolinewidth: 1, ...extra };
  }

  /** Labels of a logarithmic axis that reaches far: the library would write 90 as 9. */
  function priceTicks(paneName) {
    if (paneName !== "price" || !state.log) return {};
    const [low, high] = reach("price");
    if (high - low < 0.5) return { tickmode: "auto" };
    const tickvals = [];
    for (let power = Math.floor(low); power <= high; power++) {
      for (const step of high - low < 1.2 ? [1, 1.5, 2, 3, 5, 7] : [1, 2, 5]) tickvals.push(step * 10 ** power);
    }
    return { tickmode: "array", tickvals, ticktext: tickvals.map((value) => String(Number(value.toPrecision(3)))) };
  }

  function layout() {
    const plotted = HEIGHT - TOP - BOTTOM;
    let below = plotted;
    const axes = {};
    for (const [name, pane] of Object.entries(PANES)) {
      const domain = [Math.max(0, (below - pane.height) / plotted), below / plotted];
      below -= pane.height + GAP;
      axes[pane.axis] = axis({ domain, side: "right", fixedrange: true, range: reach(name), nticks: name === "price" ? 8 : 4,
        type: name === "price" && state.log ? "log" : "linear", exponentformat: "B", ...priceTicks(name),
        ticksuffix: name === "change" ? " %" : "" });
    }
    const markers = splitMarkers();
    return {
      height: HEIGHT, margin: { l: LEFT, r: right(), t: TOP, b: BOTTOM }, autosize: true,
      paper_bgcolor: color("surface"), plot_bgcolor: color("surface"), font: font(), showlegend: false, hovermode: false,
      dragmode: matchMedia("(pointer: coarse)").matches ? false : "pan", bargap: 0.25,
      xaxis: axis({ anchor: "y4", range: [state.low, state.high], rangeslider: { visible: false }, tickmode: "array", ...ticks() }),
      ...axes,
      shapes: markers.map((marker) => ({ type: "line", xref: "x", yref: "paper", x0: marker.at, x1: marker.at, y0: 0, y1: 1,
        line: { color: color("muted"), width: 1, dash: "dot" } })),
      annotations: markers.map((marker) => ({ x: marker.at, y: 1, xref: "x", yref: "paper", yanchor: "bottom", text: marker.text,
        showarrow: false, font: { size: 11, color: color("ink") } })),
    };
  }

  const CONFIG = { displayModeBar: false, responsive: true, scrollZoom: true, doubleClick: false };
  let drawing = false;

  async function drawChart() {
    drawing = true;
    await Plotly.react("plot", traces(), layout(), CONFIG);
    drawing = false;
    placePanes();
    drawOverview();
    afterRange();
  }

  function placePanes() {
    let top = TOP + PANES.price.height;
    for (const name of ["volume", "change", "macd"]) {
      $(`values-${name}`).style.top = `${top + 2}px`;
      top += GAP + PANES[name].height;
    }
    $("cursor-x").style.height = `${HEIGHT - BOTTOM}px`;
    $("cursor-y").style.right = `${right()}px`;
    $("cursor-day").style.top = `${HEIGHT - BOTTOM + 3}px`;
  }

  /** Show the sessions from `low` to `high`, which are positions, and fit every axis to them. */
  async function setRange(low, high) {
    const count = state.days.length;
    const width = Math.min(Math.max(high - low, FEWEST), count);
    low = Math.min(Math.max(low, -0.5), count - 0.5 - width);
    [state.low, state.high] = [low, low + width];
    const change = { "xaxis.range": [state.low, state.high], ...Object.fromEntries(Object.entries(ticks()).map(([k, v]) => [`xaxis.${k}`, v])) };
    for (const [name, pane] of Object.entries(PANES)) {
      change[`${pane.axis}.range`] = reach(name);
      for (const [key, value] of Object.entries(priceTicks(name))) change[`${pane.axis}.${key}`] = value;
    }
    drawing = true;
    await Plotly.relayout("plot", change);
    drawing = false;
    afterRange();
  }

  function afterRange() {
    const [first, last] = visible();
    const all = last - first + 1 === state.days.length;
    for (const button of $("ranges").children) {
      const wanted = Number(button.dataset.sessions);
      button.setAttribute("aria-pressed", String(wanted === Infinity ? all : !all && last - first + 1 === wanted));
    }
    const count = state.days.length;
    for (const [input, value] of [[$("from"), first], [$("to"), last]]) {
      Object.assign(input, { min: 0, max: count - 1, step: 1, value });
      input.setAttribute("aria-valuetext", state.days[value]);
    }
    $("window").style.left = `${(first / Math.max(1, count - 1)) * 100}%`;
    $("window").style.right = `${(1 - last / Math.max(1, count - 1)) * 100}%`;
    $("plot").setAttribute("aria-valuemin", first);
    $("plot").setAttribute("aria-valuemax", last);
    setCursor(Math.min(Math.max(state.cursor, first), last), null);
    if ($("table-details").open) drawTable();
    followRange();
  }

  // --- crosshair and value lines ---------------------------------------------------------------------------------

  const axisOf = (name) => $("plot")._fullLayout[name];

  /** Put the crosshair on a session. `pointer` is where the mouse is, for the horizontal line, or null. */
  function setCursor(index, pointer, follow = false) {
    state.cursor = index;
    const day = state.days[index];
    const value = (key) => state.values[key][index];
    for (const line of document.querySelectorAll("[data-key]")) {
      const of = value(line.dataset.key);
      line.dataset.value = of === null ? "" : String(of);
      line.querySelector("b").textContent = written(of, line.dataset.unit);
    }
    document.querySelectorAll(".values .session").forEach((node) => {
      node.textContent = `${WEEKDAYS[weekday(day)]} ${day}`;
      node.dataset.day = day;
    });
    const plot = $("plot");
    plot.setAttribute("aria-valuenow", index);
    plot.setAttribute("aria-valuetext", `${day}: close ${written(value("price.close"), "USD")} USD, change ${written(value("daily_change.change_pct"), "%")} %`);
    const x = axisOf("xaxis");
    const left = x._offset + x.d2p(index);
    const inside = index >= state.low && index <= state.high;
    const active = inside && (pointer !== null || follow);
    for (const id of ["cursor-x", "cursor-day"]) $(id).hidden = !active;
    $("cursor-x").style.left = `${left}px`;
    $("cursor-x").dataset.index = index;
    $("cursor-day").textContent = day;
    $("cursor-day").style.left = `${Math.min(Math.max(0, left - 40), plot.clientWidth - right() - 80)}px`;
    const pane = pointer === null ? undefined : Object.entries(PANES).find(([, p]) => {
      const y = axisOf(p.axis);
      return pointer >= y._offset && pointer <= y._offset + y._length;
    });
    $("cursor-y").hidden = $("cursor-value").hidden = pane === undefined;
    if (pane !== undefined) {
      const y = axisOf(pane[1].axis);
      const units = { price: "USD", volume: "shares", change: "%", macd: "USD" };
      $("cursor-y").style.top = $("cursor-value").style.top = `${pointer}px`;
      $("cursor-value").style.marginTop = "-10px";
      $("cursor-value").style.left = `${plot.clientWidth - right()}px`;
      const at = y.p2d(pointer - y._offset);
      $("cursor-value").textContent = pane[0] === "volume" ? at.toLocaleString("en-US", { notation: "compact", maximumFractionDigits: 1 }) : written(at, units[pane[0]]);
    }
  }

  function drawValueLines() {
    const line = { price: $("values-price"), volume: $("values-volume"), change: $("values-change"), macd: $("values-macd") };
    for (const node of Object.values(line)) node.replaceChildren();
    line.price.append(element("span", { class: "session" }));
    for (const field of OHLC) {
      const about = DATA.panels.price.fields[field];
      line.price.append(element("span", { class: "value", "data-key": `price.${field}`, "data-unit": about.unit, title: about.unit }, `${about.label} `, element("b")));
    }
    for (const one of SERIES) {
      const about = fieldOf(one);
      const isCandles = one.kind === "candles";
      const made = element("button", { type: "button", class: "value", "aria-pressed": String(shown(one)), title: isCandles ? "Show or hide" : `${about.unit}: show or hide` }, `${nameOf(one)} `);
      if (!isCandles) {
        made.dataset.key = keyOf(one);
        made.dataset.unit = about.unit;
        made.append(element("b"));
      }
      made.style.setProperty("--swatch", color(one.color));
      made.addEventListener("click", async () => {
        if (shown(one)) state.off.add(keyOf(one)); else state.off.delete(keyOf(one));
        made.setAttribute("aria-pressed", String(shown(one)));
        const position = SERIES.indexOf(one);
        await Plotly.restyle("plot", { visible: shown(one) }, [position]);
        setRange(state.low, state.high);
      });
      line[one.pane].append(made);
    }
  }

  function pointed(event) {
    const box = $("plot").getBoundingClientRect();
    const x = axisOf("xaxis");
    const [first, last] = visible();
    const index = Math.round(x.p2d(event.clientX - box.left - x._offset));
    setCursor(Math.min(Math.max(index, first), last), event.clientY - box.top);
  }

  function keyed(event) {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const [first, last] = visible();
    const end = state.days.length - 1;
    const to = { ArrowLeft: state.cursor - 1, ArrowRight: state.cursor + 1, ArrowDown: state.cursor - 1, ArrowUp: state.cursor + 1,
      PageUp: state.cursor - 20, PageDown: state.cursor + 20, Home: first, End: last, Escape: end }[event.key];
    const middle = (state.low + state.high) / 2, half = (state.high - state.low) / 2;
    if (to !== undefined) {
      const index = Math.min(Math.max(to, 0), end);
      const shift = index < first ? index - first : index > last ? index - last : 0;
      if (shift) {
        state.cursor = index;
        setRange(state.low + shift, state.high + shift).then(() => setCursor(index, null, true));
      } else setCursor(index, null, true);
    } else if (event.key === "+" || event.key === "=") setRange(middle - half * 0.7, middle + half * 0.7);
    else if (event.key === "-") setRange(middle - half / 0.7, middle + half / 0.7);
    else if (event.key === "0") setRange(-0.5, end + 0.5);
    else if (event.key.toLowerCase() === "l") setLog(!state.log);
    else if (event.key === "?") $("help").showModal();
    else return;
    event.preventDefault();
  }

  function setLog(log) {
    state.log = log;
    $("linear").setAttribute("aria-pressed", String(!log));
    $("log").setAttribute("aria-pressed", String(log));
    drawChart();
  }

  // --- slider, table, downloads ----------------------------------------------------------------------------------

  function drawOverview() {
    const closes = state.values["price.close"];
    const low = Math.min(...closes), high = Math.max(...closes);
    const count = Math.max(1, closes.length - 1);
    $("overview").setAttribute("viewBox", "0 0 1000 100");
    const line = document.createElementNS("http://www.w3.org/2000/svg", "polyline");
    line.setAttribute("points", closes.map((c, i) => `${((i / count) * 1000).toFixed(1)},${(94 - ((c - low) / (high - low || 1)) * 88).toFixed(1)}`).join(" "));
    $("overview").replaceChildren(line);
  }

  const TABLE = [...OHLC.map((field) => ({ panel: "price", field })), ...SERIES.filter((one) => one.kind !== "candles")];
  const MOST_ROWS = 300;

  function tableOf(head, rows) {
    const cell = (tag, column, text) => element(tag, { class: column.text ? (column.wide ? "text wide" : "text") : "", ...(tag === "th" ? { scope: "col" } : {}) }, text);
    return element("table", { class: "data" },
      element("thead", {}, element("tr", {}, ...head.map((column) => cell("th", column, column.label)))),
      element("tbody", {}, ...rows.map((row) => element("tr", {}, ...row.map((text, n) => cell("td", head[n], text))))));
  }

  function drawTable() {
    const [first, last] = visible();
    const start = Math.max(first, last - MOST_ROWS + 1);
    const head = [{ label: "Session", text: true }, ...TABLE.map((one) => ({ label: fieldOf(one).unit ? `${fieldOf(one).label} (${fieldOf(one).unit})` : fieldOf(one).label }))];
    const rows = [];
    for (let i = last; i >= start; i--) rows.push([state.days[i], ...TABLE.map((one) => written(state.values[keyOf(one)][i], fieldOf(one).unit))]);
    const table = tableOf(head, rows);
    table.prepend(element("caption", {}, start > first ? `The newest ${MOST_ROWS} of ${last - first + 1} sessions shown; the CSV file has all.` : `${last - first + 1} sessions`));
    $("table").replaceChildren(table);
  }

  function save(name, blob) {
    const url = URL.createObjectURL(blob);
    element("a", { href: url, download: name }).click();
    setTimeout(() => URL.revokeObjectURL(url), 10000);
  }
  const fileName = (suffix) => {
    const [first, last] = visible();
    return `${DATA.simulated ? "simulated-" : ""}${state.ticker}-${state.days[first]}-${state.days[last]}.${suffix}`;
  };

  function saveCsv() {
    const [first, last] = visible();
    const lines = [["ticker", "trade_date", ...TABLE.map((one) => one.field)].join(",")];
    for (let i = first; i <= last; i++) lines.push([state.ticker, state.days[i], ...TABLE.map((one) => state.values[keyOf(one)][i] ?? "")].join(","));
    save(fileName("csv"), new Blob([lines.join("\n") + "\n"], { type: "text/csv" }));
  }

  async function savePng() {
    const [first, last] = visible();
    const title = `${DATA.simulated ? "SIMULATED DATA, " : ""}${state.ticker}, ${state.days[first]} to ${state.days[last]}, USD, adjusted for splits`;
    const drawn = layout();
    const picture = { ...drawn, height: HEIGHT + 90, showlegend: true, legend: { orientation: "h", y: -0.05, traceorder: "normal" }, title: { text: title, x: 0.01, font: { size: 16, color: color("ink") } }, margin: { ...drawn.margin, t: 60, b: 76 } };
    const url = await Plotly.toImage({ data: traces(), layout: picture }, { format: "png", width: 1400, height: HEIGHT + 90, scale: 2 });
    const binary = bytes(url.split(",")[1]);
    save(fileName("png"), new Blob([binary], { type: "image/png" }));
  }

  // --- the other charts ------------------------------------------------------------------------------------------

  const small = (extra) => ({ margin: { l: 62, r: 12, t: 8, b: 34 }, autosize: true, paper_bgcolor: color("surface"), plot_bgcolor: color("surface"),
    font: font(), showlegend: false, dragmode: false, hoverlabel: { font: { family: font().family } }, ...extra });
  const SMALL_CONFIG = { displayModeBar: false, responsive: true };
  const fixed = (extra) => axis({ fixedrange: true, ...extra });

  /** Says why a panel has no rows, in the place of its chart; true when it has some. */
  function hasRows(panelName, place, key) {
    const panel = DATA.panels[panelName];
    const empty = key === undefined ? Object.keys(panel.rows).length === 0 : !(key in panel.rows);
    const sentence = panel.failed ? `This panel could not be made: ${panel.failed}` : panel.missing ? `${panel.missing} Run: stock-weather run` : empty ? "There are no rows for this choice." : "";
    place.querySelectorAll(":scope > .state").forEach((node) => node.remove());
    place.classList.toggle("none", sentence !== "");
    if (!sentence) return true;
    Plotly.purge(place);
    place.replaceChildren(element("p", { class: panel.failed ? "state bad" : "state" }, sentence));
    return false;
  }

  function rangeOfDays() {
    const [first, last] = visible();
    return state.days.length ? [state.days[first], state.days[last]] : null;
  }

  function drawVolatility() {
    const place = $("volatility");
    $("volatility-scale").hidden = true;
    if (!hasRows("volatility", place, state.ticker)) return;
    const found = columns("volatility", state.ticker);
    const weeks = new Map();
    found.trade_date.forEach((day, i) => {
      const monday = dayAfter(day, 1 - weekday(day));
      if (!weeks.has(monday)) weeks.set(monday, [null, null, null, null, null].map(() => ({ z: null, text: "" })));
      weeks.get(monday)[weekday(day) - 1] = { z: found.range_pct[i], text: `${WEEKDAYS[weekday(day)]} ${day}<br>range ${written(found.range_pct[i], "%")} %<br>volatility 20: ${written(found.volatility_20[i], "fraction")} per year` };
    });
    const x = [...weeks.keys()];
    const row = (key) => [0, 1, 2, 3, 4].map((n) => x.map((monday) => weeks.get(monday)[n][key]));
    const sorted = found.range_pct.filter((v) => v !== null).sort((a, b) => a - b);
    // One wild day would leave all others pale.
    const top = sorted[Math.floor((sorted.length - 1) * 0.98)];
    Plotly.react(place, [{ type: "heatmap", x, y: ["Mon", "Tue", "Wed", "Thu", "Fri"], z: row("z"), text: row("text"), hovertemplate: "%{text}<extra></extra>", hoverongaps: false,
      zmin: 0, zmax: top, colorscale: [[0, color("heat-0")], [0.5, color("heat-1")], [1, color("heat-2")]], showscale: false, xgap: 1, ygap: 1 }],
    small({ height: 190, xaxis: fixed({ type: "date", range: weekRange(), showgrid: false }), yaxis: fixed({ autorange: "reversed", showgrid: false, zeroline: false }) }), SMALL_CONFIG);
    $("volatility-scale").replaceChildren("0 %", element("i"), `${written(top, "%")} % and more`);
    $("volatility-scale").hidden = false;
  }
  const weekRange = () => {
    const days = rangeOfDays();
    return [dayAfter(days[0], -4 - (weekday(days[0]) - 1)), dayAfter(days[1], 4)];
  };

  function drawWeather() {
    const place = $("weather");
    if (!hasRows("temperature", place, state.location) || !hasRows("precipitation", place, state.location)) return;
    const t = columns("temperature", state.location), p = columns("precipitation", state.location);
    const line = (field, tint, width, extra) => ({ type: "scatter", mode: "lines", x: t.local_date, y: t[field], name: DATA.panels.temperature.fields[field].label, line: { color: tint, width }, hovertemplate: "%{y:.1f} °C", ...extra });
    const range = rangeOfDays();
    Plotly.react(place, [
      line("temperature_min_c", color("cold"), 1), line("temperature_max_c", color("warm"), 1, { fill: "tonexty", fillcolor: color("warm-fill") }),
      line("temperature_mean_c", color("ink"), 1.4),
      { type: "bar", x: p.local_date, y: p.precipitation_mm, yaxis: "y2", name: "Precipitation", marker: { color: color("rain"), line: { width: 0 } }, hovertemplate: "%{y:.1f} mm" },
    ], small({ height: 340, hovermode: "x unified", xaxis: fixed({ type: "date", anchor: "y2", ...(range ? { range } : {}), hoverformat: "%a %Y-%m-%d" }),
      yaxis: fixed({ domain: [0.36, 1], ticksuffix: " °C" }), yaxis2: fixed({ domain: [0, 0.26], ticksuffix: " mm", rangemode: "tozero" }) }), SMALL_CONFIG);
  }

  function drawAgainst() {
    const place = $("against");
    $("against-note").textContent = "";
    if (!hasRows("stock_weather", place, state.ticker)) return;
    const found = columns("stock_weather", state.ticker), about = DATA.panels.stock_weather.fields;
    const here = found.location.map((location, i) => i).filter((i) => found.location[i] === state.location);
    const pick = (field) => here.map((i) => found[field][i]);
    if (!here.length) {
      Plotly.purge(place);
      place.classList.add("none");
      place.replaceChildren(element("p", { class: "state" }, `${state.location} is neither at the exchange nor at the headquarters of ${state.ticker}: choose another location.`));
      return;
    }
    Plotly.react(place, [{ type: "scatter", mode: "markers", x: pick("temperature_mean_c"), y: pick("change_pct"), text: pick("trade_date"),
      marker: { color: color("accent"), size: 5, opacity: 0.5 }, hovertemplate: "%{text}<br>%{x:.1f} °C<br>%{y:.2f} %<extra></extra>" }],
    small({ height: 340, margin: { l: 62, r: 12, t: 8, b: 44 }, hovermode: "closest",
      xaxis: fixed({ title: { text: `${about.temperature_mean_c.label} in ${state.location} (°C)` } }), yaxis: fixed({ title: { text: `${about.change_pct.label} (%)` } }) }), SMALL_CONFIG);
    const r = columns("stock_weather_correlation", state.ticker);
    const n = r.location.indexOf(state.location);
    if (n < 0) return;
    const unknown = r.r[n] === null || r.r_low[n] === null;
    const zero = !unknown && r.r_low[n] <= 0 && r.r_high[n] >= 0;
    $("against-note").textContent = unknown ? `n = ${written(r.n[n], "sessions")}: too few sessions to say.` :
      `n = ${written(r.n[n], "sessions")}, r = ${written(r.r[n], "")}, 95 % interval ${written(r.r_low[n], "")} to ${written(r.r_high[n], "")}. ` +
      (zero ? "The interval holds zero: these sessions show no linear relation. " : "The interval does not hold zero. ") +
      "Correlation is not cause: season, news and chance move both, and with many pairs some look related by luck.";
  }

  function followRange() {
    const range = rangeOfDays();
    if (!range) return;
    if ($("weather").data) Plotly.relayout("weather", { "xaxis.range": range });
    if ($("volatility").data) Plotly.relayout("volatility", { "xaxis.range": weekRange() });
  }

  // --- health ----------------------------------------------------------------------------------------------------

  const LEVELS = ["good", "warning", "bad"];
  function levelOf(panelName, field, value) {
    const over = DATA.panels[panelName].thresholds.filter((limit) => limit.field === field && value >= limit.value);
    return over.length ? over[over.length - 1].level : "good";
  }

  /** How many sessions have closed in New York since the newest one that is here. */
  function sessionsBehind() {
    const now = new Intl.DateTimeFormat("en-CA", { timeZone: DATA.timeZone, year: "numeric", month: "2-digit", day: "2-digit" }).format(new Date());
    return DATA.sessionsAfter.filter((day) => day < now).length;
  }
  /** The calendar in the page ends some day. */
  const atLeast = (behind) => (behind === DATA.sessionsAfter.length ? `more than ${behind}` : String(behind));

  function stat(label, value, level, word) {
    $("health-stats").append(element("div", { class: level }, element("dt", {}, label), element("dd", {}, value + (word ? `, ${word}` : ""))));
  }

  function drawHealth() {
    $("health-stats").replaceChildren();
    const newest = columns("newest_session"), checks = columns("failed_check_count"), aside = columns("quarantined");
    if (newest.newest_session[0]) {
      const behind = sessionsBehind();
      stat("Newest session", newest.newest_session[0], LEVELS[behind === 0 ? 0 : behind === 1 ? 1 : 2], behind ? `${atLeast(behind)} behind` : "as expected");
      stat(DATA.panels.newest_session.fields.expected_session.label + " when written", newest.expected_session[0], "", "");
    }
    if (DATA.newestWeatherDay) stat("Newest day of weather", DATA.newestWeatherDay, "", "");
    if (checks.checked[0]) stat("Checks of days failed", `${written(checks.failed[0], "checks")} of ${written(checks.checked[0], "checks")}`, levelOf("failed_check_count", "failed", checks.failed[0]), checks.failed[0] ? "see below" : "all passed");
    const rows = aside.row_count.reduce((sum, n) => sum + n, 0);
    if (!DATA.panels.quarantined.failed && !DATA.panels.quarantined.missing) stat("Rows quarantined", written(rows, "rows"), levelOf("quarantined", "row_count", rows), rows ? "see below" : "none");
    $("rows-title").textContent = DATA.panels.rows_per_day.title;
    if (hasRows("rows_per_day", $("rows"), "")) {
      const found = columns("rows_per_day"), about = DATA.panels.rows_per_day.fields;
      const bars = (field, name, tint) => ({ type: "bar", x: found.day, y: found[field], yaxis: name, name: about[field].label, marker: { color: color(tint), line: { width: 0 } }, hovertemplate: "%{y:,}" });
      Plotly.react("rows", [bars("stock_rows", "y", "accent"), bars("weather_rows", "y2", "rain")],
        small({ height: 240, hovermode: "x unified", xaxis: fixed({ type: "date", anchor: "y2", hoverformat: "%a %Y-%m-%d" }),
          yaxis: fixed({ domain: [0.58, 1], title: { text: about.stock_rows.label }, nticks: 4 }), yaxis2: fixed({ domain: [0, 0.42], title: { text: about.weather_rows.label }, nticks: 4 }) }), SMALL_CONFIG);
    }
    $("health-tables").replaceChildren();
    for (const name of ["quarantined", "failed_checks", "publish_history", "query_costs"]) {
      const panel = DATA.panels[name];
      if (!panel || (name === "query_costs" && panel.missing)) continue;
      $("health-tables").append(element("h3", {}, panel.title), element("p", { class: "question" }, panel.question));
      const place = element("div");
      $("health-tables").append(place);
      const found = columns(name);
      const fields = Object.entries(panel.fields);
      const count = found[fields[0][0]].length;
      if (panel.failed || panel.missing) hasRows(name, place, "");
      else if (!count) place.append(element("p", { class: "state" }, "None in the range of this page."));
      else {
        const head = fields.map(([, field]) => ({ label: field.label, text: ["VARCHAR", "DATE", "TIMESTAMP"].includes(field.type), wide: field.type === "VARCHAR" }));
        const rows = Array.from({ length: count }, (_, i) => fields.map(([key, field]) => (typeof found[key][i] === "number" ? written(found[key][i], field.unit) : found[key][i] ?? "")));
        place.append(element("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": panel.title }, tableOf(head, rows)));
      }
    }
  }

  // --- the whole page --------------------------------------------------------------------------------------------

  function notices() {
    const say = (text, bad) => $("notices").append(element("p", { class: bad ? "notice bad" : "notice" }, text));
    const failed = Object.values(DATA.panels).filter((panel) => panel.failed);
    if (failed.length) say(`${failed.length === 1 ? "One panel" : `${failed.length} panels`} could not be made: ${failed.map((panel) => panel.title).join(", ")}. The reason stands in its place.`, true);
    if (!DATA.newestSession && !DATA.newestWeatherDay) say("Nothing is published yet. Run: stock-weather run");
    else if (!DATA.newestSession) say("No prices are published yet. Run: stock-weather run --only stocks");
    const behind = DATA.newestSession ? sessionsBehind() : 0;
    if (behind > 1) say(`Stale: ${atLeast(behind)} sessions have closed since ${DATA.newestSession}, the newest one here. Run: stock-weather run, then stock-weather dashboard`);
    const [failures] = columns("failed_check_count").failed;
    if (failures) say(`${written(failures, "checks")} checks of days failed; these days are held back and not in the charts. See Pipeline health.`, true);
  }

  function drawOthers() {
    for (const [name, id] of [["volatility", "volatility"], ["stock_weather", "against"]]) {
      $(`${id}-title`).textContent = DATA.panels[name].title;
      $(`${id}-question`).textContent = DATA.panels[name].question;
    }
    $("weather-question").textContent = `${DATA.panels.temperature.question} ${DATA.panels.precipitation.question}`;
    drawVolatility();
    drawWeather();
    drawAgainst();
    drawHealth();
  }

  async function showTicker(ticker) {
    const last = state.days[visible()[1]];
    const span = state.high - state.low;
    load(ticker);
    const count = state.days.length;
    const width = Math.min(span || 252, count);
    const at = last ? state.days.findIndex((day) => day >= last) : -1;
    state.high = (at < 0 ? count - 1 : at) + 0.5;
    state.low = Math.max(-0.5, state.high - width);
    state.cursor = Math.floor(state.high);
    $("plot").setAttribute("aria-label", `Price and indicators of ${ticker}, by session`);
    $("stocks-title").textContent = `${ticker}: price and indicators`;
    drawValueLines();
    await drawChart();
  }

  function setTheme(theme) {
    document.documentElement.dataset.theme = theme;
    $("theme").textContent = theme === "dark" ? "Light" : "Dark";
    $("theme").setAttribute("aria-label", `Switch to the ${theme === "dark" ? "light" : "dark"} theme`);
  }

  function fill(select, values, chosen) {
    select.replaceChildren(...values.map((value) => element("option", { value }, value)));
    select.value = chosen;
  }

  function frame() {
    $("simulated").hidden = !DATA.simulated;
    $("through").textContent = [DATA.newestSession && `Prices through ${DATA.newestSession}`, DATA.newestWeatherDay && `weather through ${DATA.newestWeatherDay}`].filter(Boolean).join(", ");
    $("stocks-note").textContent = "Daily bars in USD, adjusted for splits, not for dividends. Days are sessions of the NYSE, time zone America/New_York. Indicators are blank until their window is full." +
      (DATA.moreTickers ? ` ${DATA.moreTickers} more tickers are in the table; stock-weather dashboard --tickers A,B shows others.` : "");
    const link = (url) => element("a", { href: url, rel: "noreferrer" }, new URL(url).hostname);
    const prices = DATA.simulated ? ["Prices and weather: SIMULATED DATA of the built-in sandbox."] :
      ["Prices: ", link(DATA.sources.stocks), ". Weather data by Open-Meteo.com, CC BY 4.0: ", link(DATA.sources.weather), "."];
    $("footer").append(element("p", {}, ...prices), element("p", {}, `Sessions and days: ${DATA.timeZone}; weather by each location's own clock. Written by stock-weather-pipeline ${DATA.version} from its SQL views.`));
  }

  function rangeButtons() {
    for (const [name, sessions] of RANGES) {
      const button = element("button", { type: "button", "aria-pressed": "false", "data-sessions": String(sessions) }, name);
      button.addEventListener("click", () => {
        const high = sessions === Infinity ? state.days.length - 0.5 : visible()[1] + 0.5;
        setRange(sessions === Infinity ? -0.5 : high - sessions, high);
      });
      $("ranges").append(button);
    }
  }

  function listen() {
    const plot = $("plot");
    plot.on("plotly_relayout", (change) => {
      if (drawing || change["xaxis.range[0]"] === undefined) return;
      setRange(Number(change["xaxis.range[0]"]), Number(change["xaxis.range[1]"]));
    });
    plot.addEventListener("pointermove", pointed);
    plot.addEventListener("pointerdown", pointed);
    plot.addEventListener("pointerleave", () => setCursor(state.cursor, null));
    plot.on("plotly_doubleclick", () => setRange(-0.5, state.days.length - 0.5));
    plot.addEventListener("keydown", keyed);
    plot.addEventListener("focus", () => setCursor(state.cursor, null, true));
    $("linear").addEventListener("click", () => setLog(false));
    $("log").addEventListener("click", () => setLog(true));
    $("csv").addEventListener("click", saveCsv);
    $("png").addEventListener("click", savePng);
    $("from").addEventListener("input", () => setRange(Math.min(Number($("from").value), visible()[1] - FEWEST + 1) - 0.5, state.high));
    $("to").addEventListener("input", () => setRange(state.low, Math.max(Number($("to").value), visible()[0] + FEWEST - 1) + 0.5));
    $("table-details").addEventListener("toggle", () => { if ($("table-details").open) drawTable(); });
    $("ticker").addEventListener("change", async () => {
      await showTicker($("ticker").value);
      chooseLocation();
      drawOthers();
    });
    let width = innerWidth;
    addEventListener("resize", () => {
      if (innerWidth !== width) { width = innerWidth; requestAnimationFrame(drawChart); }
    });
  }

  /** Where the exchange is, unless the location chosen before has sessions of this ticker. */
  function chooseLocation() {
    const paired = DATA.newestSession ? columns("stock_weather", state.ticker).location : [];
    if (state.location === null || (paired.length && !paired.includes(state.location))) state.location = paired[0] || DATA.locations[0] || null;
    fill($("location"), DATA.locations, state.location);
  }

  async function start() {
    const dark = matchMedia("(prefers-color-scheme: dark)");
    setTheme(dark.matches ? "dark" : "light");
    frame();
    notices();
    const redraw = () => {
      if (state.ticker) { drawValueLines(); drawChart(); }
      drawOthers();
    };
    dark.addEventListener("change", () => { setTheme(dark.matches ? "dark" : "light"); redraw(); });
    $("theme").addEventListener("click", () => { setTheme(document.documentElement.dataset.theme === "dark" ? "light" : "dark"); redraw(); });
    $("help-open").addEventListener("click", () => $("help").showModal());
    $("location").addEventListener("change", () => { state.location = $("location").value; drawWeather(); drawAgainst(); });
    $("ticker-pick").hidden = DATA.tickers.length === 0;
    fill($("ticker"), DATA.tickers, DATA.tickers[0]);
    if (DATA.panels.price.rows[DATA.tickers[0]]) {
      rangeButtons();
      await showTicker(DATA.tickers[0]);
      listen();
    } else {
      $("stocks").replaceChildren($("stocks-title"), element("div", { id: "no-prices" }));
      hasRows("price", $("no-prices"), DATA.tickers[0]);
    }
    document.documentElement.dataset.drawn = String(Math.round(performance.now()));
    chooseLocation();
    drawOthers();
    document.documentElement.dataset.ready = String(Math.round(performance.now()));
  }

  start();
})();
