// The dialog: the cells behind a row, and one cell with all that is stored of it.
const dialog = document.getElementById('detail');
const SECTIONS = { metrics: 'Quality', probes: 'Behaviour', cost: 'Cost' };

function openDialog(heading, back, ...content) {
  const close = el('button', { type: 'button', text: 'Close', onclick: () => dialog.close() });
  const bar = el('div', { class: 'bar' });
  if (back) bar.append(el('button', { type: 'button', text: 'Back', onclick: back }));
  bar.append(close);
  const head = el('h2', { id: 'detail-heading', tabindex: '-1', text: heading });
  address.write('cell', '');
  dialog.replaceChildren(el('header', {}, head, bar), ...content);
  if (!dialog.open) dialog.showModal();
  dialog.scrollTop = 0;
  head.focus();
}

// What is behind a row: a method's benchmarks, the cells of a benchmark or shift, or the cell.
function openRow(row, back = null) {
  const ofMethod = row.view === 'method';
  if (!row.members.length) {
    openDialog(row.method, back, el('p', { text: 'This page leaves single cells out.' }));
    return;
  }
  if (!ofMethod && row.members.length === 1) { openCell(row.members[0], back); return; }
  const parts = row.members.map((at) => rowsOf(ofMethod ? 'benchmark' : 'cell')[at]);
  const where = ofMethod ? `${parts.length} benchmarks`
    : `${row.benchmark}${row.view === 'shift' ? `, ${shiftName(row)}` : ''}: ${parts.length} cells`;
  const body = el('tbody');
  for (const part of parts) {
    const name = ofMethod ? part.benchmark : `${shiftName(part)}, seed ${part.seed}`;
    const button = el('button', {
      type: 'button', class: 'open', text: name,
      onclick: () => openRow(part, () => openRow(row, back)),
    });
    body.append(el('tr', {}, el('td', { class: 'text' }, button),
      el('td', { text: plain(part['R@1'], 1) }),
      el('td', { text: difference(part, 'R@1_difference') }),
      el('td', { text: signed(part.forgetting) }),
      el('td', { class: 'text', text: part.status || '' })));
  }
  const head = el('tr', {});
  for (const [text, kind] of [[ofMethod ? 'benchmark' : 'cell', 'text'], ['R@1', ''],
    ['against source', ''], ['forgetting', ''], [ofMethod ? '' : 'status', 'text']]) {
    head.append(el('th', { scope: 'col', class: kind, text }));
  }
  const table = el('table', {}, el('thead', {}, head), body);
  openDialog(`${row.method} on ${where}`, back,
    el('div', { class: 'scroll', tabindex: '0', role: 'region', 'aria-label': 'Parts' }, table));
}

function figureOf(title, chart) {
  return el('figure', {}, el('figcaption', { text: title }), chart);
}

function numbersOf(cell) {
  const names = data.strings[cell.names] ? data.strings[cell.names].split('\n') : [];
  const box = el('div', { class: 'numbers' });
  for (const [section, title] of Object.entries(SECTIONS)) {
    const body = el('tbody');
    names.forEach((name, at) => {
      if (!name.startsWith(section + '.')) return;
      const value = cell.values[at];
      body.append(el('tr', {}, el('td', { class: 'text', text: name.slice(section.length + 1) }),
        el('td', { text: value === null ? 'not a number' : String(value).replace('-', MINUS) })));
    });
    if (!body.children.length) continue;
    box.append(el('div', {}, el('h3', { text: title }), el('table', {}, body)));
  }
  return box;
}

function chartsOf(cell, row) {
  const source = cell.source < 0 ? null : data.cells[cell.source];
  const charts = el('div', { class: 'charts' });
  charts.style.setProperty('--own', colours.get(row.method));
  if (cell.curve.length) {
    charts.append(figureOf('R@1 along the stream', curveChart(cell, source)));
  }
  if (cell.ranks.length) {
    charts.append(figureOf('Queries by rank of the best relevant item', histogramChart(cell, source)));
  }
  const legend = `Filled, solid: ${row.method}. Outlined, dashed: the unadapted model.`;
  return source && charts.children.length
    ? [charts, el('p', { class: 'quiet', text: legend })] : [charts];
}

function configOf(cell) {
  const parts = [];
  for (const [name, number] of Object.entries(cell.config)) {
    if (name === 'started' || data.strings[number] === '{}') continue;
    parts.push(el('h3', { text: name }), el('pre', { text: data.strings[number] }));
  }
  return el('details', { open: !cell.curve.length },
    el('summary', { text: 'Configuration and environment' }), ...parts);
}

function openCell(at, back) {
  const cell = data.cells[at], row = rowsOf('cell')[at];
  const facts = el('p', {}, `Status: ${row.status}. Cell ${cell.key || '(no key)'}. `);
  const started = data.strings[cell.config.started];
  if (started) facts.append(`Started ${started}. `);
  if (cell.link) facts.append(el('a', { href: cell.link, text: 'Its JSON file' }));
  const reason = cell.reason ? [el('pre', { text: cell.reason })] : [];
  const heading = `${row.method} on ${row.benchmark}, ${shiftName(row)}, seed ${row.seed}`;
  openDialog(heading, back, facts, ...reason, ...chartsOf(cell, row), numbersOf(cell),
    configOf(cell));
  address.write('cell', cell.key);
}

function openFromAddress() {
  const at = address.read('cell') ? data.cells.findIndex(({ key }) => key === address.read('cell')) : -1;
  if (at >= 0) openCell(at, null);
}

dialog.addEventListener('click', (event) => { if (event.target === dialog) dialog.close(); });
dialog.addEventListener('close', () => address.write('cell', ''));
