// The table of methods, and that of all numbers: a row for each cell, shift or benchmark.
const rowsView = document.getElementById('rows-view');
const narrow = matchMedia('(max-width: 40rem)');
let allRows = null;

function methodCell(cell) {
  const row = cell.getData();
  return el('button', {
    type: 'button', tabindex: '-1', class: 'open', title: row.method, onclick: () => openRow(row),
  }, ...nameOf(row.method));
}

function differenceCell(row, column) {
  const value = el('span', { class: noisy(row, column.key) ? 'noise' : null },
    difference(row, column.key, column.digits));
  const low = row[column.key + '_low'], high = row[column.key + '_high'];
  if (low === undefined || low === null) return value;
  const bounds = `${signed(low, column.digits)} to ${signed(high, column.digits)}`;
  return el('span', {}, value, ' ', el('span', { class: 'bounds', text: bounds }));
}

function valueCell(cell, column) {
  const row = cell.getData(), value = row[column.key];
  if (column.kind === 'text') {
    const bad = column.key === 'status' && value !== 'done';
    return el('span', { class: bad ? 'bad' : null, title: value, text: value });
  }
  if (column.kind === 'p' && value !== null && value < 0.001) return new Text('<0.001');
  if (column.kind === 'difference' && value !== null) return differenceCell(row, column);
  return new Text(plain(value, column.digits));
}

// The ends of an interval are not columns to see, but of the CSV file.
function boundsOf(column, names) {
  return [column.key + '_low', column.key + '_high'].filter((name) => names.includes(name)).map(
    (field) => ({
      field,
      title: `${column.label}, ${field.endsWith('low') ? 'low' : 'high'}`,
      visible: false,
      download() { return this.getColumn(column.key).isVisible(); },
    }),
  );
}

// Methods first: that column stays in sight. A narrow screen has room for one more: a result.
function columnsOf(view) {
  const { columns, names } = data.tables[view];
  const rank = ({ key }) => (key === 'method' ? 0 : narrow.matches && key === 'R@1' ? 1 : 2);
  return [...columns].sort((a, b) => rank(a) - rank(b)).flatMap((column) => {
    const options = column.key === 'method'
      ? { frozen: true, formatter: methodCell, maxInitialWidth: narrow.matches ? 130 : 260 }
      : { formatter: (cell) => valueCell(cell, column), maxInitialWidth: 320 };
    return [columnOf(column.key, column.label, { ...column, options }), ...boundsOf(column, names)];
  });
}

async function showRows() {
  await allRows?.built;
  allRows?.destroy();
  allRows = makeTable('rows', columnsOf(rowsView.value), rowsOf(rowsView.value));
  return allRows.built;
}

// A list of choices whose value is in the address.
function choice(list, name, show) {
  if ([...list.options].some((option) => option.value === address.read(name))) {
    list.value = address.read(name);
  }
  list.addEventListener('change', () => {
    address.write(name, list.selectedIndex ? list.value : '');
    show();
  });
}

function buildMethods() {
  return makeTable('methods', columnsOf('method'), rowsOf('method')).built;
}

function buildRows() {
  if (!data.cells.length) rowsView.options[0].remove(); // left out where there are very many
  choice(rowsView, 'rows.of', showRows);
  return showRows();
}
