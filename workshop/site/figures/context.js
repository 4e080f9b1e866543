// v11: the same model writes to the same tune, seeing 8 to 128 characters; line lengths marked.
"use strict";

figures.context = function (node, { words, contexts, tunes, asked, losses }) {
  let tune = 0, seen = contexts.length - 1;
  const place = kit.make("div"), says = kit.make("p", { role: "status" });
  node.append(
    kit.choose(words.tune, tunes.map(({ name }) => name), 0, (i) => draw((tune = i))),
    kit.choose(words.context, contexts.map(({ context }) => context), seen, (i) => draw((seen = i))),
    place, says);
  draw();

  function draw() {
    const { context, whole } = contexts[seen], { name, form, author, poems } = tunes[tune];
    place.replaceChildren(kit.poem(`${name} ${author}`, poems[context], words.extra,
      (i, length) => ({ wanted: form[i], right: length === form[i] })));
    says.textContent = kit.fill(words.says, {
      context, whole, asked, loss: losses[seen].loss.toFixed(2), ends: losses[seen].line_ends.toFixed(2),
      form: form.join(" "), name,
    });
  }
};
