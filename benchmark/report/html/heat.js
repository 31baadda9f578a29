// Methods by benchmarks or by shifts. One tab stop; arrow keys move within.
const MEASURES = {
  'R@1_difference': 'R@1 against source',
  'R@1': 'R@1',
  forgetting: 'forgetting',
};
const measure = document.getElementById('measure');

function heatHead(columns, heads) {
  const head = el('thead');
  const levels = heads[columns[0]].length;
  for (let level = 0; level < levels; level += 1) {
    const row = el('tr', {}, el(level ? 'td' : 'th', level ? {} : {
      class: 'corner text', scope: 'col', text: 'method',
    }));
    for (let at = 0; at < columns.length;) {
      const names = heads[columns[at]];
      let span = 1;
      const same = (other) => level + 1 < levels && other && other[level] === names[level];
      while (same(heads[columns[at + span]])) span += 1;
      row.append(el('th', {
        scope: span > 1 ? 'colgroup' : 'col', colspan: span > 1 ? span : null,
      }, ...breakable(names[level])));
      at += span;
    }
    head.append(row);
  }
  return head;
}

function heatCell(row, key, names, most) {
  const value = row ? row[key] : undefined;
  if (value === undefined || value === null) {
    return el('td', {}, el('span', { class: 'none', text: NONE, title: row ? row.status || '' : '' }));
  }
  const levels = key === 'R@1';
  const text = levels ? plain(value, 1) : difference(row, key);
  const button = el('button', {
    type: 'button', tabindex: '-1', text, class: value < 0 ? 'loss' : 'gain',
    'aria-label': `${row.method}, ${names.join(', ')}: ${text}`, onclick: () => openRow(row),
  });
  button.style.setProperty('--share', (100 * Math.abs(value) / most).toFixed(0) + '%');
  return el('td', {}, button);
}

function showMap() {
  const view = state.view === 'cell' ? 'shift' : state.view;
  const key = measure.value, box = document.getElementById('map');
  const rows = rowsOf(view).filter(passes);
  const columns = [...new Set(rows.map((row) => row.head))].sort((a, b) => a - b);
  const heads = data.heads[view];
  const methods = data.methods.map((number) => data.strings[number])
    .filter((name) => rows.some((row) => row.method === name))
    .filter((name) => name !== 'source' || key !== 'R@1_difference');
  const found = new Map(rows.map((row) => [row.method + '\n' + row.head, row]));
  const sizes = rows.map((row) => Math.abs(row[key] ?? 0));
  const most = key === 'R@1' ? 100 : Math.max(1, ...sizes);
  if (!columns.length) { box.replaceChildren(); return; }
  const body = el('tbody');
  for (const name of methods) {
    const line = el('tr', {}, el('th', { scope: 'row', text: name, title: name }));
    for (const at of columns) {
      line.append(heatCell(found.get(name + '\n' + at), key, heads[at], most));
    }
    body.append(line);
  }
  box.replaceChildren(el('table', {}, heatHead(columns, heads), body));
  const first = box.querySelector('button');
  if (first) first.tabIndex = 0;
  const unit = key === 'R@1' ? 'percent' : 'points; blue is a gain, orange a loss';
  const noise = key === 'R@1_difference' ? '; in brackets where the 95 % interval includes 0 (p of 0.05 or more), each comparison for itself' : '';
  document.getElementById('map-note').textContent = `In ${unit}${noise}.`;
}

function moveInMap(event) {
  const step = { ArrowLeft: [0, -1], ArrowRight: [0, 1], ArrowUp: [-1, 0], ArrowDown: [1, 0] }[event.key];
  if (!step || event.target.tagName !== 'BUTTON') return;
  const td = event.target.parentElement, lines = [...td.closest('tbody').rows];
  let line = lines.indexOf(td.parentElement), place = td.cellIndex;
  for (;;) {
    line += step[0];
    place += step[1];
    const next = lines[line] && lines[line].cells[place];
    if (!next || next.tagName === 'TH') return;
    const button = next.querySelector('button');
    if (!button) continue;
    event.preventDefault();
    event.target.tabIndex = -1;
    button.tabIndex = 0;
    button.focus();
    return;
  }
}

function buildMap() {
  for (const [key, name] of Object.entries(MEASURES)) {
    const known = rowsOf('shift').some((row) => row[key] !== undefined && row[key] !== null);
    if (known) measure.append(el('option', { value: key, text: name }));
  }
  measure.addEventListener('change', showMap);
  document.getElementById('map').addEventListener('keydown', moveInMap);
}
