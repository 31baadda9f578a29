// The table: headings sort; missing numbers stand last in both directions.
const SHOWN_AT_FIRST = 250;

function compare(key, direction) {
  return (a, b) => {
    const x = a[key], y = b[key];
    if (x === null || x === undefined || x === '') {
      return y === null || y === undefined || y === '' ? 0 : 1;
    }
    if (y === null || y === undefined || y === '') return -1;
    return (x < y ? -1 : x > y ? 1 : 0) * direction;
  };
}

function sorted(rows) {
  if (!state.sort) return rows;
  return [...rows].sort(compare(state.sort.key, state.sort.up ? 1 : -1));
}

// Left out on a narrow screen: the filters and the dialog say them, too.
const MINOR = ['task', 'preset'];

// Methods first: that column stays in sight when the table is scrolled sideways.
function columnsOf(view) {
  const columns = data.tables[view].columns;
  const method = columns.filter((column) => column.key === 'method');
  return [...method, ...columns.filter((column) => column.key !== 'method')];
}

function sortBy(column) {
  const old = state.sort;
  const up = old && old.key === column.key ? !old.up : column.kind === 'text';
  state.sort = { key: column.key, up };
  showTable();
}

function headOf(columns) {
  const row = el('tr');
  columns.forEach((column, place) => {
    const used = state.sort && state.sort.key === column.key;
    const arrow = used ? (state.sort.up ? ' \u25b2' : ' \u25bc') : '';
    const button = el('button', {
      type: 'button', 'data-key': column.key, title: column.note || null,
      onclick: () => {
        sortBy(column);
        document.querySelector(`#results button[data-key="${CSS.escape(column.key)}"]`).focus();
      },
    }, column.label, el('span', { 'aria-hidden': 'true', text: arrow }));
    const kind = [column.kind === 'text' ? 'text' : '', place ? '' : 'key',
      MINOR.includes(column.key) ? 'minor' : ''].join(' ').trim();
    const sort = used ? (state.sort.up ? 'ascending' : 'descending') : null;
    row.append(el('th', { scope: 'col', class: kind, 'aria-sort': sort }, button));
  });
  return el('thead', {}, row);
}

function valueOf(row, column) {
  const value = row[column.key];
  if (column.key === 'method') {
    return el('td', { class: 'text key' }, el('button', {
      type: 'button', class: 'open', text: value, title: value, onclick: () => openRow(row),
    }));
  }
  if (column.kind === 'text') {
    const bad = column.key === 'status' && value !== 'done';
    const minor = MINOR.includes(column.key) ? ' minor' : '';
    return el('td', { class: (bad ? 'text bad' : 'text') + minor, text: value });
  }
  if (column.kind === 'p' && value !== null && value < 0.001) return el('td', { text: '<0.001' });
  if (column.kind !== 'difference') return el('td', { text: plain(value, column.digits) });
  const cell = el('td', {
    class: noisy(row, column.key) ? 'noise' : null, text: difference(row, column.key, column.digits),
  });
  const low = row[column.key + '_low'], high = row[column.key + '_high'];
  if (low !== undefined && low !== null) {
    const bounds = `${signed(low, column.digits)} to ${signed(high, column.digits)}`;
    cell.append(' ', el('span', { class: 'bounds', text: bounds }));
  }
  return cell;
}

function showTable() {
  const rows = sorted(rowsOf(state.view).filter(passes));
  const columns = columnsOf(state.view);
  const shown = state.all ? rows : rows.slice(0, SHOWN_AT_FIRST);
  const body = el('tbody');
  for (const row of shown) {
    const line = el('tr');
    for (const column of columns) line.append(valueOf(row, column));
    body.append(line);
  }
  document.getElementById('results').replaceChildren(el('table', {}, headOf(columns), body));
  const more = document.getElementById('more');
  more.hidden = shown.length === rows.length;
  more.textContent = `Show all ${rows.length} rows`;
  const total = rowsOf(state.view).length;
  document.getElementById('count').textContent = rows.length
    ? `${rows.length} of ${total} rows, one for each ${state.view} and method`
    : 'No row passes the filters: untick some, or clear them';
}

document.getElementById('more').addEventListener('click', () => {
  state.all = true;
  showTable();
  document.getElementById('results').focus();
});
