// v11: the same model writes to the same tune, seeing 8 to 128 characters; line lengths marked.
"use strict";

figures.context = function (node, { words, contexts, tunes, asked, losses }) {
  let tune = 0, seen = contexts.length - 1;
  const poem = kit.make("div", { class: "written", lang: "zh-CN" }), says = kit.make("p", { role: "status" });
  node.append(
    kit.choose(words.tune, tunes.map(({ name }) => name), 0, (i) => draw((tune = i))),
    kit.choose(words.context, contexts.map(({ context }) => context), seen, (i) => draw((seen = i))),
    poem, says);
  draw();

  function draw() {
    const { context, whole } = contexts[seen], { name, form, author, poems } = tunes[tune];
    const rows = [];
    let n = 0;
    for (const row of poems[context].split("\n").filter(Boolean)) {
      const parts = row.match(/[^，。、？！]+[，。、？！]?|[，。、？！]/g).map((part) => {
        const length = [...part.replace(/[，。、？！]/g, "")].length;
        if (!length) return part;
        const wanted = form[n++], right = length === wanted;
        const mark = right ? "✓" : wanted ? `${length}≠${wanted}` : words.extra;
        return kit.make("span", { class: right ? "good" : "bad" }, kit.make("span", {}, part),
          kit.make("sub", {}, mark));
      });
      rows.push(kit.make("p", {}, ...parts));
    }
    poem.replaceChildren(kit.make("p", { class: "muted" }, `${name} ${author}`), ...rows);
    says.textContent = kit.fill(words.says, {
      context, whole, asked, loss: losses[seen].loss.toFixed(2), ends: losses[seen].line_ends.toFixed(2),
      form: form.join(" "), name,
    });
  }
};
