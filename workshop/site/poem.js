// A poem on a page as it is written, each line judged by its tune; and a model that writes one.
// TUNES and RHYMES are in tunes.js: the same rules as tools/poems.py.
"use strict";

const MARKS = "，。、？！";
const groupsOf = new Map(); // {character: its rhyme groups}
for (const line of RHYMES.trimEnd().split("\n")) {
  const [part, tone, chars] = line.split(" ");
  for (const char of chars) groupsOf.set(char, [...(groupsOf.get(char) ?? []), part + (tone === "平")]);
}
const rhyme = (a, b) => (groupsOf.get(a) ?? []).some((group) => groupsOf.get(b)?.includes(group));
const fill = (text, ...values) => values.reduce((done, value) => done.replace("{}", value), text);

function element(tag, properties, ...children) {
  const made = Object.assign(document.createElement(tag), properties);
  made.append(...children);
  return made;
}

class Poem {
  constructor(node, summary, words) {
    Object.assign(this, { node, summary, words });
    this.clear();
  }

  clear() {
    this.chars = []; // an element each
    this.lengths = []; // of the lines of verse that have ended
    this.ends = []; // the last character of each
    this.rule = null;
    this.node.replaceChildren();
    this.summary.textContent = "";
    this.newRow();
  }

  newRow() {
    this.length = 0;
    this.verse = element("span", { className: "verse" });
    this.check = element("span", { className: "check" });
    this.row = element("div", { className: "row" }, this.verse, this.check);
    this.node.append(this.row);
  }

  get text() {
    return this.chars.map((char) => char.textContent.replace("⏎", "\n")).join("");
  }

  // Show one more character, given or written; a line of verse ends at a mark or a line break
  add(char, given = false) {
    const span = element(given ? "b" : "span", {}, char);
    if (char === "\n") [span.className, span.textContent] = ["break", "⏎"];
    const isEnd = MARKS.includes(char) || char === "\n";
    this.chars.push(span);
    this.verse.append(span);
    if (this.titled && isEnd && this.length) this.judge(this.chars.at(-2));
    if (!isEnd) this.length++;
    if (char !== "\n") return span;
    if (!this.titled && this.length) this.begin();
    this.newRow();
    return span;
  }

  // The first line is the title: its tune says what is to come
  begin() {
    this.rule = TUNES[this.text.trim().split(" ")[0]];
    this.row.classList.add("title");
    if (!this.rule) this.summary.textContent = this.words.unjudged;
  }

  get titled() {
    return this.node.querySelector(".title") !== null;
  }

  judge(last) {
    const i = this.lengths.length, n = this.length, { rule, words } = this;
    this.lengths.push(n);
    this.ends.push(last.textContent);
    this.length = 0;
    if (this.check.textContent) this.check.append("+");
    if (!rule) return this.check.append(String(n));
    const fits = rule.forms.some((form) => form[i] === n);
    const title = fits ? "" : fill(words.line, n, rule.forms[0][i] ?? 0);
    this.check.append(element("span", { className: fits ? "good" : "bad", title }, `${n}${fits ? "✓" : "✗"}`));
    const partners = rule.pairs.filter((pair) => pair[1] === i).map(([j]) => this.ends[j]);
    if (partners.length) {
      const rhymes = partners.some((other) => other !== last.textContent && rhyme(other, last.textContent));
      this.check.append(element("span", { className: rhymes ? "good" : "bad" }, rhymes ? " 韵✓" : " 韵✗"));
    }
    if (rule.pairs.flat().includes(i)) last.classList.add("rhymes");
    this.summary.textContent = this.verdict();
  }

  // As tools/form.py counts: two lines rhyme if their last characters do and are not the same
  verdict() {
    const { forms, pairs } = this.rule, { lengths, ends } = this;
    const right = lengths.filter((n, i) => forms.some((form) => form[i] === n)).length;
    const asked = pairs.filter(([, j]) => j < ends.length);
    const rhymed = asked.filter(([i, j]) => ends[i] !== ends[j] && rhyme(ends[i], ends[j])).length;
    return fill(this.words.summary, right, lengths.length, rhymed, asked.length);
  }
}

// Each file in weights/ calls this: from disk, browsers refuse fetch(), but not a classic script
const models = new Map();
const loaded = (name, saved) => models.set(name, new BabyGPT(saved));

const load = (name) => new Promise((resolve) => {
  const done = () => resolve(models.get(name));
  if (models.has(name)) return done();
  document.head.append(element("script", { src: `../weights/${name}.js`, onload: done, onerror: done }));
});

// Let a model go on from a beginning, up to the blank line that ends a poem; goesOn() says whether
// to, see(element, probabilities, looks, n) sees each character that is written
async function compose(model, poem, { begin, temperature, seed, length, goesOn, see }) {
  const ids = [...begin].map((char) => model.ids.get(char)), random = randomNumbers(seed);
  for (const char of begin) poem.add(char, true);
  let logits = model.read(ids);
  for (let n = 0; n < length && goesOn(); n++) {
    const probs = softmax(logits.map((v) => v / temperature)), id = draw(probs, random());
    const looks = model.looks.at(-1);
    if (model.chars[id] === "\n" && poem.chars.at(-1)?.textContent === "⏎") break;
    const span = poem.add(model.chars[id]);
    see?.(span, probs, looks, ids.length);
    ids.push(id);
    logits = model.next(ids);
    await new Promise((resolve) => setTimeout(resolve)); // let the page show it
  }
}
