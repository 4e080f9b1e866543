// What the figures share: elements, controls with a label, strips of numbers, charts with axes.
"use strict";

const kit = {
  // Functions and booleans become properties (onclick, checked), all else becomes attributes
  dress(made, attributes, children) {
    for (const [name, value] of Object.entries(attributes)) {
      if (["function", "boolean"].includes(typeof value)) made[name] = value;
      else made.setAttribute(name, value);
    }
    made.append(...children);
    return made;
  },
  make: (tag, attributes = {}, ...children) =>
    kit.dress(document.createElement(tag), attributes, children),
  svg: (tag, attributes = {}, ...children) =>
    kit.dress(document.createElementNS("http://www.w3.org/2000/svg", tag), attributes, children),

  fill: (text, values) => text.replace(/\{(\w+)\}/g, (_, name) => values[name]),
  visible: (char) => ({ "\n": "⏎", " ": "␣" })[char] ?? char,
  percent: (p) => `${(100 * p).toFixed(p > 0 && p < 0.0995 ? 1 : 0)}%`,
  fixed: (number, digits) => number.toFixed(digits).replace("-", "−"),
  sum: (numbers) => numbers.reduce((a, b) => a + b, 0),
  dot: (a, b) => kit.sum(a.map((number, i) => number * b[i])),
  softmax(scores) {
    const top = Math.max(...scores), powers = scores.map((s) => Math.exp(s - top));
    return powers.map((p) => p / kit.sum(powers));
  },
  // 0.00012 as 1.2×10⁻⁴, and what is neither tiny nor huge as it is, unless all are to be alike
  power(number, alike = false) {
    if (!number || (!alike && number >= 0.01 && number < 1000)) return String(+number.toPrecision(2));
    const [digits, power] = number.toExponential(1).split("e");
    const raised = [...power.replace("+", "")].map((c) => "⁻⁰¹²³⁴⁵⁶⁷⁸⁹"["-0123456789".indexOf(c)]);
    return `${digits === "1.0" ? "" : `${digits}×`}10${raised.join("")}`;
  },

  // Radio buttons that look like one row of keys; act(i) when another is chosen
  choose(legend, labels, chosen, act) {
    kit.groups = (kit.groups ?? 0) + 1;
    const keys = labels.map((label, i) => kit.make("label", {}, kit.make("input", {
      type: "radio", name: `choice-${kit.groups}`, value: i, checked: i === chosen,
      onchange: () => act(i),
    }), kit.make("span", {}, label)));
    const title = kit.make("legend", {}, legend);
    return kit.make("fieldset", { class: "choice" }, title, kit.make("div", {}, ...keys));
  },
  check(label, checked, act) {
    const box = kit.make("input", { type: "checkbox", checked, onchange: act });
    return { node: kit.make("label", { class: "tick" }, box, label), get on() { return box.checked; } };
  },
  // A slider; say(text) writes its value beside it
  slide(label, limits, act) {
    const input = kit.make("input", { type: "range", ...limits, oninput: () => act() });
    const output = kit.make("output");
    return {
      input, node: kit.make("label", { class: "slide" }, kit.make("span", {}, label), input, output),
      get value() { return Number(input.value); },
      say(text) {
        output.textContent = text;
        input.setAttribute("aria-valuetext", text);
      },
    };
  },

  table(head, rows) {
    const cell = (tag, scope) => (content) => kit.make(tag, scope ? { scope } : {}, content);
    const line = ([first, ...rest]) =>
      kit.make("tr", {}, cell("th", "row")(first), ...rest.map(cell("td")));
    const [corner, ...columns] = head;
    const top = [cell(corner ? "th" : "td", corner && "col")(corner), ...columns.map(cell("th", "col"))];
    return kit.make("table", {}, kit.make("thead", {}, kit.make("tr", {}, ...top)),
      kit.make("tbody", {}, ...rows.map(line)));
  },
  // The same numbers as text, for who cannot see the picture or wants to copy them
  numbers: (title, head, rows) => kit.make("details", { class: "numbers" },
    kit.make("summary", {}, title), kit.wide(title, kit.table(head, rows))),
  // What may be wider than a phone scrolls, by keyboard too
  wide: (name, ...children) => kit.make("div",
    { class: "wide", tabindex: 0, role: "group", "aria-label": name }, ...children),
  bar: (share, text) =>
    kit.make("span", { class: "portion", style: `--share: ${share.toFixed(4)}` }, text),
  // Numbers as a row of colours: positive, negative, both the stronger the further from 0
  strip(numbers, top, label) {
    const colours = numbers.map((number, i) => {
      const part = Math.min(1, Math.abs(number) / top) * 100, width = 100 / numbers.length;
      const mix = `color-mix(in srgb, var(--${number < 0 ? "muted" : "accent"}) ${part.toFixed(0)}%, var(--paper))`;
      return `${mix} ${(i * width).toFixed(2)}% ${((i + 1) * width).toFixed(2)}%`;
    });
    const style = `background-image: linear-gradient(90deg, ${colours.join(", ")})`;
    return kit.make("span", { class: "colours", role: "img", "aria-label": label, style });
  },

  // A poem, each line with its mark: judge(i, length) -> {wanted, right, rhymes}; rhymes if asked for
  poem(title, body, extra, judge) {
    let i = 0;
    const line = (text) => {
      const length = [...text.replace(/[，。、？！]/g, "")].length;
      if (!length) return text;
      const { wanted, right, rhymes } = judge(i++, length), kind = (good) => (good ? "good" : "bad");
      const mark = kit.make("sub", {}, right ? "✓" : wanted ? `${length}≠${wanted}` : extra);
      const rhyme = kit.make("sub", { class: kind(rhymes) }, `韵${rhymes ? "✓" : "✗"}`);
      return kit.make("span", { class: kind(right) }, kit.make("span", {}, text), mark,
        ...(typeof rhymes === "boolean" ? [rhyme] : []));
    };
    const rows = body.split("\n").filter(Boolean).map((row) =>
      kit.make("p", {}, ...row.match(/[^，。、？！]+[，。、？！]?|[，。、？！]/g).map(line)));
    return kit.make("div", { class: "written", lang: "zh-CN" }, kit.make("p", { class: "muted" }, title), ...rows);
  },

  // A colour as it is now, in light, in dark and on paper; a canvas knows no variables
  colour(name) {
    kit.probe ??= document.body.appendChild(kit.make("i", { hidden: true }));
    kit.probe.style.color = `var(--${name})`;
    return getComputedStyle(kit.probe).color;
  },
  // A chart of lines. x and y: {label, range, log, ticks, show}, x also values;
  // lines: [{name, values, colour, dash, dots, plain}]. What is out of range is named at the edge.
  chart(title, { x, y, lines, height = 230, room = 50 }) {
    let at = null;
    const box = kit.make("div", { class: "plot" }), ink = (name) => () => kit.colour(name);
    const inside = (v) => (v === null || v < y.range[0] || v > y.range[1] ? null : v);
    const axis = ({ ticks, show }, size) => ({
      size, stroke: ink("muted"), font: "12px system-ui, sans-serif", gap: 4,
      grid: { stroke: ink("line"), width: 1 }, ticks: { show: false },
      ...(ticks && { splits: () => ticks }), filter: (_, splits) => splits,
      ...(show && { values: (_, splits) => splits.map((v) => (v === null ? "" : show(v))) }),
    });
    const series = ({ colour, dash, dots, plain }) => ({
      stroke: ink(colour), dash, width: 2, ...(dots && { paths: () => null, width: 1 }),
      points: { show: !plain, size: dots ? 5 : 6, fill: ink(dots ? "paper" : colour) },
    });
    const scale = ({ log, range }) => ({ time: false, distr: log ? 3 : 1, range: () => range });
    const write = (u) => {
      const { ctx, bbox } = u, px = uPlot.pxRatio, shown = lines.filter((_, i) => u.series[i + 1].show);
      ctx.save();
      ctx.font = `${12 * px}px system-ui, sans-serif`;
      [ctx.textBaseline, ctx.textAlign] = ["middle", "left"];
      if (at !== null) {
        const left = u.valToPos(at, "x", true);
        ctx.fillStyle = kit.colour("ink");
        ctx.fillRect(left - px / 2, bbox.top, px, bbox.height);
      }
      const named = shown.filter(({ dots }) => !dots), used = {}; // how many stand there already
      for (const { name, values, colour } of named) values.forEach((v, i) => {
        if (v === null || inside(v) !== null) return;
        const up = v > y.range[1], place = `${up} ${i}`, n = (used[place] = (used[place] ?? -1) + 1);
        const top = up ? bbox.top + (8 + 15 * n) * px : bbox.top + bbox.height - (8 + 15 * n) * px;
        ctx.fillStyle = kit.colour(colour);
        ctx.fillText(v ? `↑ ${name ?? ""}` : "0", u.valToPos(x.values[i], "x", true) + 4 * px, top);
      });
      let above = -Infinity; // names stand at the ends of their lines, none on another
      named.filter(({ name }) => name).map(({ name, values, colour }) => {
        const end = values.findLastIndex((v) => inside(v) !== null);
        return { name, colour, left: u.valToPos(x.values[end], "x", true),
          top: u.valToPos(values[end], "y", true) };
      }).sort((a, b) => a.top - b.top).forEach(({ name, colour, left, top }) => {
        above = Math.max(top, above + 15 * px);
        ctx.fillStyle = kit.colour(colour);
        ctx.fillText(name, left + 8 * px, above);
      });
      ctx.restore();
    };
    const plot = new uPlot({
      width: 320, height, padding: [12, room, 0, 0], legend: { show: false }, cursor: { show: false },
      scales: { x: scale(x), y: scale(y) }, axes: [axis(x, 28), axis(y, 46)],
      series: [{}, ...lines.map(series)], hooks: { draw: [write] },
    }, [x.values, ...lines.map(({ values }) => values.map(inside))], box);
    const again = () => plot.redraw(false);
    for (const media of ["(prefers-color-scheme: dark)", "print"])
      matchMedia(media).addEventListener("change", again);
    new MutationObserver(again).observe(document.documentElement, { attributes: true });
    new ResizeObserver(() => box.clientWidth && plot.setSize({ width: box.clientWidth, height }))
      .observe(box);
    const label = (kind, text) => kit.make("span", { class: kind, "aria-hidden": "true" }, text);
    return {
      node: kit.make("div", { class: "drawing", role: "img", "aria-label": title },
        label("up", y.label), box, label("along", x.label)),
      mark(value) { at = value; again(); },
      show(test) { lines.forEach((line, i) => plot.setSeries(i + 1, { show: test(line) })); },
    };
  },
};
