// Two small charts, drawn as SVG.
function svg(tag, attributes = {}, text = null) {
  const node = document.createElementNS('http://www.w3.org/2000/svg', tag);
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
  if (text !== null) node.textContent = text;
  return node;
}

const WIDE = 440, HIGH = 250, LEFT = 40, TOP = 26, RIGHT = 428, BOTTOM = 196;

// An empty chart with the names of its axes.
function frame(label, across, upwards) {
  const chart = svg('svg', { viewBox: `0 0 ${WIDE} ${HIGH}`, role: 'img', 'aria-label': label });
  chart.append(svg('text', { x: RIGHT, y: HIGH - 6, 'text-anchor': 'end' }, across));
  chart.append(svg('text', { x: 4, y: 12 }, upwards));
  return chart;
}

// The smallest round step of which at most five span the values, and its multiples around them.
function scale(low, high) {
  const step = [1, 2, 5, 10, 20].find((size) => high - low <= 4 * size) || 25;
  const first = Math.floor(low / step), last = Math.max(first + 1, Math.ceil(high / step));
  return { low: first * step, high: last * step, step };
}

function rules(chart, { low, high, step }) {
  for (let value = low; value <= high; value += step) {
    const y = BOTTOM - (BOTTOM - TOP) * (value - low) / (high - low);
    chart.append(svg('line', { class: 'grid', x1: LEFT, x2: RIGHT, y1: y, y2: y }));
    chart.append(svg('text', { x: LEFT - 5, y: y + 4, 'text-anchor': 'end' }, String(value)));
  }
}

function line(cell, { low, high }, name) {
  const count = cell.curve.length;
  const points = cell.curve.map((value, at) => {
    const seen = Math.floor((at + 1) * cell.queries / count);
    const x = LEFT + (RIGHT - LEFT) * seen / cell.queries;
    const y = BOTTOM - (BOTTOM - TOP) * (value - low) / (high - low);
    return x.toFixed(1) + ',' + y.toFixed(1);
  });
  return svg('polyline', { class: name, points: points.join(' ') });
}

function curveChart(cell, source) {
  const values = source ? cell.curve.concat(source.curve) : cell.curve;
  const range = scale(Math.min(...values), Math.max(...values));
  const last = cell.curve[cell.curve.length - 1].toFixed(1);
  const chart = frame(`R@1 over the queries seen so far; it ends at ${last} percent`,
    'queries seen', 'R@1 (%)');
  rules(chart, range);
  if (source) chart.append(line(source, range, 'source'));
  chart.append(line(cell, range, 'own'));
  for (const part of [0, 0.5, 1]) {
    const anchor = part === 0 ? 'start' : part === 1 ? 'end' : 'middle';
    const x = LEFT + (RIGHT - LEFT) * part;
    const text = String(Math.round(cell.queries * part));
    chart.append(svg('text', { x, y: BOTTOM + 16, 'text-anchor': anchor }, text));
  }
  return chart;
}

function binName(at, count) {
  const first = data.bins[at], next = data.bins[at + 1];
  if (next === undefined) return first + '+';
  return next - first === 1 ? String(first) : first + NONE + (next - 1);
}

function histogramChart(cell, source) {
  const count = Math.max(cell.ranks.length, source ? source.ranks.length : 0);
  const share = (from, at) => 100 * (from.ranks[at] || 0) / from.queries;
  const bins = Array.from({ length: count }, (_, at) => at);
  const tops = bins.map((at) => Math.max(share(cell, at), source ? share(source, at) : 0));
  const range = scale(0, Math.max(...tops));
  const told = bins.map((at) => `${binName(at)}: ${cell.ranks[at] || 0}`).join(', ');
  const chart = frame('Queries by rank of the best relevant item. ' + told,
    'rank of the best relevant item', 'queries (%)');
  rules(chart, range);
  const step = (RIGHT - LEFT) / count;
  bins.forEach((at) => {
    const x = LEFT + step * at;
    const bar = (from, name, inset) => {
      const height = (BOTTOM - TOP) * share(from, at) / range.high;
      chart.append(svg('rect', {
        class: name, x: (x + inset).toFixed(1), y: (BOTTOM - height).toFixed(1),
        width: Math.max(1, step - 2 * inset).toFixed(1), height: height.toFixed(1),
      }));
    };
    bar(cell, 'own', step * 0.18);
    if (source) bar(source, 'source', step * 0.07);
    const label = { x: x + step / 2, y: BOTTOM + 13, 'text-anchor': 'end' };
    label.transform = `rotate(-30 ${x + step / 2} ${BOTTOM + 13})`;
    chart.append(svg('text', label, binName(at)));
  });
  return chart;
}
