// Benchmarks (or their shifts) by methods, in the colours of the figures.
const PLACE = '(place)';
const measure = document.getElementById('measure');
const matrixRows = document.getElementById('matrix-rows');
let matrix = null;

function placeCell(cell) {
  const [benchmark, ...shift] = cell.getData()[OWN].names;
  if (!shift.length) return el('span', { class: 'place', title: benchmark }, ...breakable(benchmark));
  return el('span', { class: 'place', title: `${benchmark}, ${shift}` }, el('span', { text: shift[0] }),
    el('span', { class: 'quiet', text: benchmark }));
}

// Two neighbouring colours of the scale from loss to gain, and how much of the second.
function colour(node, share) {
  const at = 5 + 5 * Math.max(-1, Math.min(1, share)), low = Math.min(9, Math.floor(at));
  node.style.setProperty('--low', `var(--heat-${low})`);
  node.style.setProperty('--high', `var(--heat-${low + 1})`);
  node.style.setProperty('--part', `${(100 * (at - low)).toFixed(0)}%`);
  node.classList.toggle('strong', Math.abs(share) > 0.7);
}

function heatCell(cell, { key, method, digits, extent }) {
  const { names, of } = cell.getData()[OWN], row = of.get(method), value = row?.[key] ?? null;
  if (value === null) {
    const why = row && row.status !== 'done' ? row.status : null;
    return el('span', { class: 'none', text: NONE, title: why });
  }
  const text = key === 'R@1' ? plain(value, digits) : difference(row, key, digits);
  const button = el('button', {
    type: 'button', tabindex: '-1', text, class: 'heat',
    'aria-label': `${method}, ${names.join(', ')}: ${text}`, onclick: () => openRow(row),
  });
  colour(button, value / extent);
  return button;
}

function rowsOfMatrix(view, key) {
  const lines = new Map();
  for (const row of rowsOf(view)) {
    if (!lines.has(row.head)) {
      const names = data.heads[view][row.head];
      const texts = names.join('\n').toLowerCase();
      lines.set(row.head, { [OWN]: { names, texts, of: new Map() }, [PLACE]: names.join(', ') });
    }
    const line = lines.get(row.head);
    line[OWN].of.set(row.method, row);
    line[row.method] = row[key];
  }
  return [...lines.keys()].sort((a, b) => a - b).map((head) => lines.get(head));
}

async function showMatrix() {
  await matrix?.built;
  const view = matrixRows.value, key = measure.value, table = data.tables[view];
  const digits = table.columns.find((column) => column.key === key)?.digits ?? 1;
  const extent = table.extents[key] || 100;
  const rows = rowsOfMatrix(view, key);
  const methods = data.methods.map((at) => data.strings[at])
    .filter((name) => name !== 'source' || key === 'R@1')
    .filter((name) => rows.some((row) => row[OWN].of.has(name)));
  const first = columnOf(PLACE, view === 'shift' ? 'shift, benchmark' : 'benchmark', {
    kind: 'text',
    options: { frozen: true, formatter: placeCell, maxInitialWidth: narrow.matches ? 150 : 340 },
  });
  matrix?.destroy();
  matrix = makeTable('matrix', [first, ...methods.map((method) => columnOf(method, method, {
    kind: 'number',
    options: {
      formatter: heatCell, formatterParams: { key, method, digits, extent }, cssClass: 'field',
      headerHozAlign: 'center', width: 84,
    },
  }))], rows);
  const unit = key === 'R@1' ? 'Percent.' : 'Points; blue is a gain, red a loss.';
  const noise = key === 'R@1_difference'
    ? ' In brackets: the 95 % interval includes 0 (not corrected for several comparisons).' : '';
  document.getElementById('matrix-note').textContent = `${unit}${noise} Hatched: no number.`;
  return matrix.built.then(() => matrix.redraw(true)); // rows are as high as while names were narrow
}

function buildMatrix() {
  const known = data.tables.benchmark.columns.filter((column) => column.kind === 'difference');
  for (const { key, label } of known) {
    const name = key === 'R@1_difference' ? 'R@1 against source' : label;
    measure.append(el('option', { value: key, text: name }));
  }
  measure.append(el('option', { value: 'R@1', text: 'R@1' }));
  choice(measure, 'matrix.of', showMatrix);
  choice(matrixRows, 'matrix.rows', showMatrix);
  return showMatrix();
}
