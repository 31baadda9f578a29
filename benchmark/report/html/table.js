// A table (Tabulator) with its tools: search, columns, CSV. What it shows is in the address.

// A text that a spreadsheet would run gets an apostrophe, as in our CSV files.
function noFormula(value) {
  const risky = typeof value === 'string' && /^[=+\-@\t\r]/.test(value);
  return risky && Number.isNaN(Number(value)) ? "'" + value.replaceAll('\r', ' ') : value;
}

// A column as the library takes it; titles are buttons, so that the keyboard reaches them.
function columnOf(field, label, more) {
  const isText = more.kind === 'text';
  return {
    field,
    title: label,
    titleDownload: noFormula(label),
    titleFormatter: () => el('button', {
      type: 'button', tabindex: '-1', title: more.note || null,
    }, ...breakable(label)),
    hozAlign: isText ? 'left' : 'right',
    headerHozAlign: isText ? 'left' : 'right',
    sorter: isText ? 'string' : 'number',
    sorterParams: { alignEmptyValues: 'bottom' },
    headerSortStartingDir: isText || field === 'average_rank' ? 'asc' : 'desc',
    accessorDownload: noFormula,
    visible: !more.folded,
    ...more.options,
  };
}

// The search: each word must occur in one of the row's texts.
function searchBox(name, table) {
  const box = el('input', {
    type: 'search', placeholder: 'Search', 'aria-label': 'Search these rows', value: address.read(name),
  });
  const search = () => {
    const words = box.value.toLowerCase().split(/\s+/).filter(Boolean);
    table.setFilter((row) => words.every((word) => row[OWN].texts.includes(word)));
    address.write(name, box.value.trim());
  };
  box.addEventListener('input', search);
  if (box.value) search();
  return box;
}

// The chooser ticks columns; only what differs from the first choice is in the address.
function columnChooser(name, table, columns) {
  const changed = new Set(address.read(name).split('\n').filter(Boolean));
  const list = el('div', { class: 'choices', role: 'group', 'aria-label': 'Columns' });
  const show = (column, on) => {
    table[on ? 'showColumn' : 'hideColumn'](column.field);
    if (on === column.visible) changed.delete(column.field); else changed.add(column.field);
    address.write(name, [...changed].join('\n'));
  };
  for (const column of columns) {
    if (changed.has(column.field)) show(column, !column.visible);
    const tick = el('input', { type: 'checkbox' });
    tick.checked = column.visible !== changed.has(column.field);
    tick.addEventListener('change', () => show(column, tick.checked));
    list.append(el('label', {}, tick, ' ' + column.title));
  }
  const summary = el('summary', { text: 'Columns' });
  const box = el('details', { class: 'chooser' }, summary, list);
  box.addEventListener('keydown', (event) => {
    if (event.key === 'Escape' && box.open) { box.open = false; summary.focus(); }
  });
  document.addEventListener('click', (event) => {
    if (!box.contains(event.target)) box.open = false;
  });
  return box;
}

function initialSort(name, columns) {
  const [dir, ...field] = address.read(name).split(' ');
  const known = columns.some((column) => column.field === field.join(' '));
  return known && ['asc', 'desc'].includes(dir) ? [{ column: field.join(' '), dir }] : [];
}

// Builds the table of a section. Frozen columns stay in sight and have no tick.
function makeTable(id, columns, rows) {
  const section = document.getElementById(id), place = section.querySelector('.table');
  const bar = section.querySelector('.bar');
  const count = el('span', { class: 'quiet', role: 'status' });
  const table = new Tabulator(place, {
    data: rows,
    columns,
    layout: 'fitDataTable',
    maxHeight: '75vh',
    nestedFieldSeparator: false,
    columnHeaderVertAlign: 'bottom',
    columnDefaults: { resizable: false, headerWordWrap: true },
    initialSort: initialSort(id + '.sort', columns),
    placeholder: 'No row matches the search',
  });
  const tell = (shown) => {
    const rest = `${rows.length} row${rows.length === 1 ? '' : 's'}`;
    count.textContent = `${shown === rows.length ? '' : `${shown} of `}${rest}`;
  };
  table.on('dataFiltered', (_, shown) => tell(shown.length));
  table.on('dataSorted', (sorters) => {
    address.write(id + '.sort', sorters.map((by) => `${by.dir} ${by.field}`)[0] || '');
  });
  table.built = new Promise((resolve) => table.on('tableBuilt', resolve)).then(() => {
    tell(rows.length);
    const download = el('button', {
      type: 'button', text: 'CSV', title: 'Download what is shown',
      onclick: () => table.download('csv', `${id}.csv`),
    });
    const ticked = columns.filter((column) => !column.frozen && column.download === undefined);
    const tools = el('span', { class: 'tools' }, searchBox(id + '.search', table),
      columnChooser(id + '.columns', table, ticked), download, count);
    bar.querySelector('.tools')?.remove();
    bar.append(tools);
  });
  return table;
}

const STEPS = { ArrowLeft: [0, -1], ArrowRight: [0, 1], ArrowUp: [-1, 0], ArrowDown: [1, 0] };

// One Tab stop for a table: arrow keys go from heading to heading and from button to button.
function moveInTable(event) {
  const step = STEPS[event.key], place = event.currentTarget;
  if (!step || !event.target.matches('.tabulator-tableholder, button')) return;
  const seen = (node) => node.offsetWidth > 0;
  const lines = [place.querySelector('.tabulator-headers'), ...place.querySelectorAll('.tabulator-row')]
    .map((line) => [...line.children].filter(seen));
  let line = lines.findIndex((cells) => cells.some((cell) => cell.contains(event.target)));
  let at = line < 0 ? 0 : lines[line].findIndex((cell) => cell.contains(event.target));
  if (line < 0) line = 0;
  for (;;) {
    line += step[0];
    at += step[1];
    const cells = lines[line];
    if (!cells || !cells[at]) return;
    // Where a column has no buttons, the row's first cell has one.
    const button = cells[at].querySelector('button') || (step[0] && cells[0].querySelector('button'));
    if (!button) continue;
    event.preventDefault();
    button.focus();
    return;
  }
}

for (const place of document.querySelectorAll('.table')) {
  place.addEventListener('keydown', moveInTable);
}
