// Data, the address, and small helpers. Text from data goes into the page through textContent only.
const data = JSON.parse(document.getElementById('data').textContent);
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

// What is shown stands behind the "#" of the address, so that a view can be sent.
const address = {
  all: new URLSearchParams(location.hash.slice(1)),
  read(name) { return this.all.get(name) || ''; },
  write(name, value) {
    if (value === this.read(name)) return;
    if (value) this.all.set(name, value); else this.all.delete(name);
    const text = String(this.all);
    history.replaceState(null, '', text ? '#' + text : location.pathname + location.search);
  },
};

// What a row knows besides its columns, whose names may be any text.
const OWN = Symbol('own');

// Rows become objects once: texts looked up, columns by name.
function unpack(view, table) {
  return table.rows.map((values, index) => {
    const row = { view, members: table.members[index], head: table.heads[index] };
    const texts = [];
    table.names.forEach((name, place) => {
      const value = values[place];
      row[name] = table.kinds[place] === 'text' ? data.strings[value] : value;
      if (table.kinds[place] === 'text') texts.push(row[name].toLowerCase());
    });
    row[OWN] = { texts: texts.join('\n') };
    return row;
  });
}

const unpacked = new Map();

function rowsOf(view) {
  if (!unpacked.has(view)) unpacked.set(view, unpack(view, data.tables[view]));
  return unpacked.get(view);
}

// Numbers come rounded; here they get their sign and their zeros.
function plain(value, digits) {
  if (value === null || value === undefined) return NONE;
  const text = Math.abs(value).toFixed(digits);
  return value < 0 ? MINUS + text : text;
}

function signed(value, digits = 1) {
  const text = plain(value, digits);
  return value > 0 ? '+' + text : text;
}

// Whether a difference is within noise: decided with its interval, not here.
function noisy(row, key) {
  return key === 'R@1_difference' && row.significant === 0;
}

function difference(row, key, digits = 1) {
  const text = signed(row[key], digits);
  return noisy(row, key) ? '(' + text + ')' : text;
}

// Text that may be broken after an underscore or a hyphen, and before a bracket.
function breakable(text) {
  return text.split(/(?<=[_-])|(?=\[)/).flatMap((part, at) => (at ? [el('wbr'), part] : [part]));
}

const colours = new Map(data.methods.map((at, place) => [data.strings[at], data.colours[place]]));

// A method's name behind its colour in the figures.
function nameOf(method) {
  const dot = el('span', { class: 'dot', 'aria-hidden': 'true' });
  dot.style.backgroundColor = colours.get(method) || 'transparent';
  return [dot, method];
}

function shiftName(row) {
  return row.shift === 'none' ? 'none' : row.shift + ' ' + row.severity;
}
