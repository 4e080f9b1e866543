// v1: the ten likeliest characters after one, by counting the training text and by the trained v1.
"use strict";

figures.next_character = function (node, { words, chars, tries }) {
  const input = kit.make("input", {
    type: "text", value: tries[0], size: 2, autocomplete: "off", lang: "zh-CN", onfocus: () => input.select(),
    oninput: typed, // what an input method is still composing is no character yet
  });
  input.addEventListener("compositionend", typed);
  const keys = tries.map((char) => kit.make("button", { type: "button", lang: "zh-CN", onclick: () => {
    input.value = kit.visible(char);
    show(char);
  } }, kit.visible(char)));
  const says = kit.make("p", { role: "status" }), lists = kit.make("div", { class: "two" });
  const label = kit.make("label", {}, kit.make("span", {}, words.type), input);
  node.append(kit.make("div", { class: "keys" }, label, ...keys), says, lists);
  show(tries[0]);

  function typed(event) {
    const char = [...input.value.trim()].at(-1);
    if (char && !(event.isComposing && event.type === "input")) show(char === "⏎" ? "\n" : char);
  }

  function show(char) {
    const seen = kit.visible(char);
    lists.replaceChildren();
    if (!chars[char]) return (says.textContent = kit.fill(words.rare, { char: seen }));
    const [n, counted, counts, guessed, probs] = chars[char];
    const both = [...counted].filter((other) => guessed.includes(other));
    says.textContent = kit.fill(words.says, { char: seen, n: n.toLocaleString("en"), both: both.length });
    const shares = counts.map((count) => count / n), top = Math.max(...shares, ...probs);
    const list = (title, others, sizes) => kit.make("div", {},
      kit.make("p", { class: "name" }, title),
      kit.make("ol", {}, ...[...others].map((other, i) => kit.make("li",
        { class: both.includes(other) ? "both" : "" },
        kit.make("b", { lang: "zh-CN" }, kit.visible(other)),
        kit.bar(sizes[i] / top, kit.percent(sizes[i]))))));
    lists.append(list(words.counted, counted, shares), list(words.v1, guessed, probs));
  }
};
