// BabyGPT once more, in another language: the forward pass of every version, v1 to v15, without a
// framework. One position at a time, so a layer is a matrix times a vector. What a version has is
// read from the names of its weights; that v7 and later add to x and v6 does not, no name can say.
"use strict";

class BabyGPT {
  // saved: {version, block_size, n_head, chars, tensors: [[name, shape]...], data: base64 of float16}
  constructor(saved) {
    Object.assign(this, saved);
    this.chars = [...saved.chars];
    this.ids = new Map(this.chars.map((char, id) => [char, id]));
    this.weights = new Map();
    const numbers = halfFloats(saved.data);
    let begin = 0;
    for (const [name, shape] of saved.tensors) {
      const end = begin + shape.reduce((a, b) => a * b, 1);
      this.weights.set(name, numbers.subarray(begin, end));
      begin = end;
    }
    if (begin !== numbers.length) throw new Error("weights: too few or too many numbers");
    const layers = new Set();
    for (const name of this.weights.keys()) if (name.startsWith("blocks.")) layers.add(name.split(".")[1]);
    // Before v6 there is one block without a name, before v3 none
    this.blocks = layers.size ? [...layers].map((i) => `blocks.${i}.`) : [""];
    this.reset();
  }

  has(name) {
    return this.weights.has(name);
  }

  reset() {
    this.position = 0;
    this.cache = new Map(); // of each head: the keys and values of the positions so far (v15)
    this.attention = []; // of each position: {head: its weights over the positions up to it}
  }

  // nn.Linear: each output is a row of the matrix times x, plus a bias if there is one
  linear(name, x) {
    const matrix = this.weights.get(`${name}.weight`), bias = this.weights.get(`${name}.bias`);
    const y = new Float32Array(matrix.length / x.length);
    for (let row = 0; row < y.length; row++) {
      let sum = bias ? bias[row] : 0;
      const start = row * x.length;
      for (let i = 0; i < x.length; i++) sum += matrix[start + i] * x[i];
      y[row] = sum;
    }
    return y;
  }

  // v9: mean 0 and variance 1 over the numbers of this position, then a learned scale and shift
  norm(name, x) {
    if (!this.has(`${name}.weight`)) return x;
    const scale = this.weights.get(`${name}.weight`), shift = this.weights.get(`${name}.bias`);
    const mean = x.reduce((a, b) => a + b, 0) / x.length;
    const variance = x.reduce((a, b) => a + (b - mean) ** 2, 0) / x.length;
    return x.map((v, i) => ((v - mean) / Math.sqrt(variance + 1e-5)) * scale[i] + shift[i]);
  }

  // v7: what a part computes is added to what it was given
  join(x, y) {
    return this.version >= 7 ? x.map((v, i) => v + y[i]) : y;
  }

  // v3: compare this query with all keys up to here, mix the values by how well they match
  head(name, query, key, value) {
    if (!this.cache.has(name)) this.cache.set(name, []);
    const past = this.cache.get(name);
    past.push([key, value]); // nothing later is there yet: no mask is needed
    const scores = past.map(([k]) => k.reduce((sum, v, i) => sum + v * query[i], 0) / Math.sqrt(key.length));
    const weights = softmax(scores);
    this.attention[this.position][name] = weights;
    const mix = new Float32Array(value.length);
    past.forEach(([, v], j) => v.forEach((number, i) => (mix[i] += weights[j] * number)));
    return mix;
  }

  // v14: number i of the first half and number i of the second are a point, turned by an angle
  rotate(x) {
    const half = x.length / 2, y = new Float32Array(x.length);
    for (let i = 0; i < half; i++) {
      const angle = this.position * 1000 ** (-i / half);
      const cos = Math.cos(angle), sin = Math.sin(angle);
      y[i] = x[i] * cos - x[half + i] * sin;
      y[half + i] = x[i] * sin + x[half + i] * cos;
    }
    return y;
  }

  heads(sa, x) {
    if (this.has(`${sa}.key.weight`)) {
      const [query, key, value] = ["query", "key", "value"].map((n) => this.linear(`${sa}.${n}`, x));
      return this.head(sa, query, key, value); // v3: a single one
    }
    const mixes = [];
    const fused = this.has(`${sa}.qkv.weight`) && this.linear(`${sa}.qkv`, x); // v13
    for (let h = 0; h < this.n_head; h++) {
      const name = `${sa}.heads.${h}`, size = x.length / this.n_head;
      const part = (n, i) =>
        fused ? fused.subarray(i * x.length + h * size).subarray(0, size) : this.linear(`${name}.${n}`, x);
      let [query, key, value] = ["query", "key", "value"].map(part);
      const rotary = !this.has("position_embedding_table.weight");
      if (rotary) [query, key] = [this.rotate(query), this.rotate(key)];
      mixes.push(this.head(name, query, key, value));
    }
    const y = new Float32Array(x.length); // v4: side by side
    mixes.forEach((mix, h) => y.set(mix, h * mix.length));
    return this.has(`${sa}.proj.weight`) ? this.linear(`${sa}.proj`, y) : y; // v8
  }

  // Take in the next character, by its id; return the logits of what may follow it
  feed(id) {
    const table = this.weights.get("token_embedding_table.weight");
    const size = table.length / this.chars.length;
    let x = table.slice(id * size, (id + 1) * size);
    this.attention.push({});
    if (this.has("position_embedding_table.weight")) { // v2
      const positions = this.weights.get("position_embedding_table.weight");
      x = x.map((v, i) => v + positions[this.position * size + i]);
    }
    for (const block of this.blocks) {
      const part = (name) => [...this.weights.keys()].some((key) => key.startsWith(block + name));
      if (part("sa.")) x = this.join(x, this.heads(`${block}sa`, this.norm(`${block}ln1`, x)));
      if (part("ffwd.")) { // v5
        const inner = this.linear(`${block}ffwd.net.0`, this.norm(`${block}ln2`, x));
        x = this.join(x, this.linear(`${block}ffwd.net.2`, inner.map((v) => Math.max(0, v)))); // ReLU
      }
    }
    this.position++;
    return this.linear("lm_head", this.norm("ln_final", x));
  }

  // Take in a whole text; of more than block_size characters, only the last ones are seen (v2)
  read(ids) {
    this.reset();
    let logits;
    for (const id of this.version === 1 ? ids.slice(-1) : ids.slice(-this.block_size)) logits = this.feed(id);
    return logits;
  }
}

function softmax(scores) {
  const top = Math.max(...scores), powers = Array.from(scores, (s) => Math.exp(s - top));
  const sum = powers.reduce((a, b) => a + b, 0);
  return powers.map((p) => p / sum);
}

// Draw an id by its probability: the first at which the probabilities add up to more than chance
function draw(probs, chance) {
  let sum = 0;
  for (let id = 0; id < probs.length; id++) if ((sum += probs[id]) > chance) return id;
  return probs.length - 1;
}

// Random numbers from 0 to 1, the same for the same seed (mulberry32, by Tommy Ettinger)
function randomNumbers(seed) {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = Math.imul(state ^ (state >>> 15), state | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
}

// base64 of 16-bit floats (1 bit for the sign, 5 for the exponent, 10 for the fraction) as numbers
function halfFloats(base64) {
  const bytes = Uint8Array.from(atob(base64), (char) => char.charCodeAt(0));
  const numbers = new Float32Array(bytes.length / 2);
  for (let i = 0; i < numbers.length; i++) {
    const half = bytes[2 * i] | (bytes[2 * i + 1] << 8);
    const exponent = (half >> 10) & 31, fraction = half & 1023, sign = half >> 15 ? -1 : 1;
    numbers[i] = sign * (exponent ? 2 ** (exponent - 15) * (1 + fraction / 1024) : 2 ** -24 * fraction);
  }
  return numbers;
}
