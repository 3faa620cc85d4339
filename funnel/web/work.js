// Proof of work: a number that gives, with the key of a form, a SHA-256 that begins with so many zero bits.
// SHA-256 is our own, because browsers offer theirs on https only, and a call of it costs more than the sum.
// The text is ASCII and fits one block: at most 55 characters.
function workFor(key) {
  const BITS = "BITS";
  const primes = [];
  for (let n = 2; primes.length < 64; n += 1) if (primes.every((prime) => n % prime)) primes.push(n);
  const parts = (root) => Int32Array.from(primes, (prime) => (prime ** (1 / root) % 1) * 2 ** 32);
  const START = parts(2);
  const ROUND = parts(3);
  const block = new Int32Array(64);
  const turn = (word, by) => word >>> by | word << (32 - by);

  function solves(text) {
    block.fill(0, 0, 16);
    const put = (at, code) => (block[at >> 2] |= code << (24 - (at % 4) * 8));
    for (let at = 0; at < text.length; at += 1) put(at, text.charCodeAt(at));
    put(text.length, 128);
    block[15] = text.length * 8;
    let [a, b, c, d, e, f, g, h] = START;
    for (let at = 0; at < 64; at += 1) {
      if (at > 15) {
        const x = block[at - 15];
        const y = block[at - 2];
        block[at] = block[at - 16] + block[at - 7] +
          (turn(x, 7) ^ turn(x, 18) ^ x >>> 3) + (turn(y, 17) ^ turn(y, 19) ^ y >>> 10);
      }
      const s = h + (turn(e, 6) ^ turn(e, 11) ^ turn(e, 25)) + (e & f ^ ~e & g) + ROUND[at] + block[at];
      const t = (turn(a, 2) ^ turn(a, 13) ^ turn(a, 22)) + (a & b ^ a & c ^ b & c);
      h = g;
      g = f;
      f = e;
      e = d + s | 0;
      d = c;
      c = b;
      b = a;
      a = s + t | 0;
    }
    return (a + START[0]) >>> (32 - BITS) === 0;
  }

  // A little at a time: whoever types or scrolls meanwhile notices nothing. Some clocks go in large steps, so we count too.
  return new Promise((done) => {
    let n = 0;
    (function some() {
      const end = performance.now() + 8;
      for (let left = 99; left && performance.now() < end; left -= 1) {
        for (const rest = n + 20; n < rest; n += 1) if (solves(key + ":" + n)) return done(n);
      }
      setTimeout(some);
    })();
  });
}
