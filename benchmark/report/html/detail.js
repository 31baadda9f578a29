// The dialog: the cells behind a row, and one cell with all that is stored of it.
const dialog = document.getElementById('detail');
const SECTIONS = { metrics: 'Quality', probes: 'Behaviour', cost: 'Cost' };

function openDialog(heading, back, ...content) {
  const close = el('button', { type: 'button', text: 'Close', onclick: () => dialog.close() });
  const bar = el('div', { class: 'bar' });
  if (back) bar.append(el('button', { type: 'button', text: 'Back', onclick: back }));
  bar.append(close);
  const head = el('h2', { id: 'detail-heading', tabindex: '-1', text: heading });
  dialog.replaceChildren(el('header', {}, head, bar), ...content);
  if (!dialog.open) dialog.showModal();
  dialog.scrollTop = 0;
  head.focus();
}

function openRow(row) {
  if (!row.members.length) {
    openDialog(row.method, null, el('p', { text: 'This page leaves single cells out.' }));
  } else if (row.members.length === 1) openCell(row.members[0], null);
  else openPool(row);
}

function openPool(row) {
  const where = row.shift === undefined ? row.benchmark : `${row.benchmark}, ${shiftName(row)}`;
  const body = el('tbody');
  for (const at of row.members) {
    const cell = cellRow(at);
    const name = `${shiftName(cell)}, seed ${cell.seed}`;
    const button = el('button', {
      type: 'button', class: 'open', text: name, onclick: () => openCell(at, () => openPool(row)),
    });
    body.append(el('tr', {}, el('td', { class: 'text' }, button),
      el('td', { text: plain(cell['R@1'], 1) }),
      el('td', { text: difference(cell, 'R@1_difference') }),
      el('td', { text: cell.forgetting === undefined ? NONE : signed(cell.forgetting) }),
      el('td', { class: 'text', text: cell.status })));
  }
  const head = el('tr', {});
  for (const [text, kind] of [['cell', 'text'], ['R@1', ''], ['against source', ''],
    ['forgetting', ''], ['status', 'text']]) {
    head.append(el('th', { scope: 'col', class: kind, text }));
  }
  const table = el('table', {}, el('thead', {}, head), body);
  openDialog(`${row.method} on ${where}: ${row.members.length} cells`, null,
    el('div', { class: 'scroll', tabindex: '0', role: 'region', 'aria-label': 'Cells' }, table));
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
  if (cell.curve.length) {
    charts.append(figureOf('R@1 (%) along the stream', curveChart(cell, source)));
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
  const cell = data.cells[at], row = cellRow(at);
  const facts = el('p', {}, `Status: ${row.status}. Cell ${cell.key || '(no key)'}. `);
  const started = data.strings[cell.config.started];
  if (started) facts.append(`Started ${started}. `);
  if (cell.link) facts.append(el('a', { href: cell.link, text: 'Its JSON file' }));
  const reason = cell.reason ? [el('pre', { text: cell.reason })] : [];
  const heading = `${row.method} on ${row.benchmark}, ${shiftName(row)}, seed ${row.seed}`;
  openDialog(heading, back, facts, ...reason, ...chartsOf(cell, row), numbersOf(cell),
    configOf(cell));
}

dialog.addEventListener('click', (event) => { if (event.target === dialog) dialog.close(); });
