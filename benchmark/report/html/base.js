// Data, state and small helpers. Text from data goes into the page through textContent only.
const data = JSON.parse(document.getElementById('data').textContent);
const state = { view: 'benchmark', filters: new Map(), sort: null, all: false };
const MINUS = '\u2212', NONE = '\u2013';

function el(tag, attributes = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name === 'text') node.textContent = value;
    else if (name === 'onclick') node.addEventListener('click', value);
    else if (value === true) node.setAttribute(name, '');
    else if (value !== false && value !== null) node.setAttribute(name, String(value));
  }
  node.append(...children);
  return node;
}

// Rows become objects once: texts looked up, columns by name.
function unpack(table) {
  return table.rows.map((values, index) => {
    const row = { at: index, members: table.members[index], head: table.heads[index] };
    table.names.forEach((name, place) => {
      const value = values[place];
      row[name] = table.kinds[place] === 'text' && value !== null ? data.strings[value] : value;
    });
    return row;
  });
}

const unpacked = new Map();

function rowsOf(view) {
  if (!unpacked.has(view)) unpacked.set(view, unpack(data.tables[view]));
  return unpacked.get(view);
}

function plain(value, digits) {
  if (value === null || value === undefined) return NONE;
  const text = Math.abs(value).toFixed(digits);
  return value < 0 && Number(text) !== 0 ? MINUS + text : text;
}

// Text that may be broken after an underscore.
function breakable(text) {
  return text.split(/(?<=_)/).flatMap((part, at) => (at ? [el('wbr'), part] : [part]));
}

function signed(value, digits = 1) {
  const text = plain(value, digits);
  return value > 0 && Number(text) !== 0 ? '+' + text : text;
}

// Whether a difference is within noise: decided with its interval, not here.
function noisy(row, key) {
  return key === 'R@1_difference' && row.significant === 0;
}

function difference(row, key, digits = 1) {
  const text = signed(row[key], digits);
  return row[key] !== null && noisy(row, key) ? '(' + text + ')' : text;
}

function cellRow(at) { return rowsOf('cell')[at]; }

function shiftName(row) {
  return row.shift === 'none' ? 'none' : row.shift + ' ' + row.severity;
}
