// v9: val loss against the learning rate, of v7, v8 and v9; a handle on the rate.
"use strict";

figures.rates = function (node, { words, rates, versions, guess, range }) {
  const colours = { v7: ["muted", [2, 3]], v8: ["ink", [6, 4]], v9: ["accent", undefined] };
  const mean = (found) => (!found.length ? null : found.includes(null) ? 1e9 : kit.sum(found) / found.length);
  const lines = Object.entries(versions).flatMap(([name, found]) => {
    const [colour, dash] = colours[name], seeds = Math.max(...found.map((values) => values.length));
    const dots = Array.from({ length: seeds }, (_, seed) => ({
      colour, dots: true, values: found.map((values) => (seed < values.length ? values[seed] ?? 1e9 : null)),
    }));
    return [{ name, colour, dash, values: found.map(mean) }, ...dots];
  });
  const show = (rate) => rate.toExponential(); // 3e-3, as on the command line
  const tenths = Array.from({ length: 40 }, (_, i) => i / 10 + 3).filter((v) => v >= range[0] && v <= range[1]);
  const chart = kit.chart(words.title, {
    x: { values: rates, log: true, range: [rates[0] / 1.15, rates.at(-1) * 1.15], label: words.rate,
      ticks: rates.filter((rate) => /^[1236]e/.test(rate.toExponential())), show },
    y: { range, label: words.loss, ticks: tenths, show: (loss) => loss.toFixed(1) }, lines, room: 40, height: 280,
  });
  const usual = rates.indexOf(0.003), slider = kit.slide(words.handle,
    { min: 0, max: rates.length - 1, step: 1, value: usual < 0 ? 0 : usual }, draw);
  const place = kit.make("div", { role: "status" });
  const loss = (value) => (value === null ? words.stopped : value > guess
    ? kit.fill(words.diverged, { loss: kit.power(value) }) : value.toFixed(3));
  const cell = (found) => (found.length ? found.map(loss).join(" / ") : words.missing);
  node.append(slider.node, chart.node, place, kit.numbers(words.numbers,
    [words.rate, ...Object.keys(versions)],
    rates.map((rate, i) => [show(rate), ...Object.values(versions).map((found) => cell(found[i]))])));
  draw();

  function draw() {
    const i = slider.value;
    slider.say(show(rates[i]));
    chart.mark(rates[i]);
    place.replaceChildren(kit.table([words.version, words.seeds],
      Object.entries(versions).map(([name, found]) => [name, cell(found[i])])));
  }
};
