// Which rows: the kind of row, and lists of choices. Nothing ticked means everything.
const FACETS = ['task', 'benchmark', 'backbone', 'shift', 'method', 'severity', 'stream', 'suite'];
const ALWAYS = 5; // the first ones stand there even where there is one choice
const VIEW_NAMES = { benchmark: 'benchmark', shift: 'shift', cell: 'cell' };

function choicesOf(facet) {
  if (facet === 'method') return data.methods.map((number) => data.strings[number]);
  const found = new Set(rowsOf('shift').map((row) => row[facet]));
  const values = [...found].filter((value) => value !== undefined && value !== null);
  return facet === 'severity' ? values.sort((a, b) => a - b) : values;
}

function passes(row) {
  for (const [facet, chosen] of state.filters) {
    if (chosen.size && !(facet in row && chosen.has(row[facet]))) return false;
  }
  return true;
}

function ofShift(facet) { return facet === 'shift' || facet === 'severity'; }

function choose(facet, value, on) {
  const chosen = state.filters.get(facet) || new Set();
  if (on) chosen.add(value); else chosen.delete(value);
  state.filters.set(facet, chosen);
  // A row for a whole benchmark has no single shift: go down to the rows that have.
  if (ofShift(facet) && chosen.size && state.view === 'benchmark') setView('shift');
  else refresh();
}

function setView(view) {
  state.view = view;
  state.sort = null;
  state.all = false;
  if (view === 'benchmark') for (const facet of FACETS.filter(ofShift)) state.filters.delete(facet);
  refresh();
}

function filterOf(facet) {
  const values = choicesOf(facet);
  if (FACETS.indexOf(facet) >= ALWAYS && values.length < 2) return [];
  const box = el('div', { class: 'choices', role: 'group', 'aria-label': facet });
  for (const value of values) {
    const tick = el('input', { type: 'checkbox' });
    tick.addEventListener('change', () => choose(facet, value, tick.checked));
    tick.facetValue = value;
    box.append(el('label', {}, tick, ' ' + (value === '' ? '(not stored)' : value)));
  }
  const clear = el('button', {
    type: 'button', text: 'All', onclick: () => { state.filters.delete(facet); refresh(); },
  });
  box.append(clear);
  const summary = el('summary');
  const filter = el('details', { class: 'filter', 'data-facet': facet }, summary, box);
  filter.addEventListener('keydown', (event) => {
    if (event.key === 'Escape' && filter.open) { filter.open = false; summary.focus(); }
  });
  return [filter];
}

function showFilters() {
  for (const filter of document.querySelectorAll('.filter')) {
    const facet = filter.dataset.facet, chosen = state.filters.get(facet) || new Set();
    for (const tick of filter.querySelectorAll('input')) tick.checked = chosen.has(tick.facetValue);
    const text = chosen.size ? [...chosen].join(', ') : 'all';
    filter.querySelector('summary').textContent = `${facet}: ${text}`;
    filter.classList.toggle('used', chosen.size > 0);
  }
  for (const radio of document.querySelectorAll('#views input')) {
    radio.checked = radio.value === state.view;
  }
}

function buildFilters() {
  const views = document.getElementById('views');
  for (const [view, name] of Object.entries(VIEW_NAMES)) {
    const radio = el('input', { type: 'radio', name: 'view', value: view });
    radio.addEventListener('change', () => setView(view));
    views.append(el('label', {}, radio, ' ' + name));
  }
  document.getElementById('filters').append(...FACETS.flatMap(filterOf), el('button', {
    type: 'button', id: 'clear', text: 'Clear filters',
    onclick: () => { state.filters.clear(); refresh(); },
  }));
  document.addEventListener('click', (event) => {
    for (const filter of document.querySelectorAll('.filter[open]')) {
      if (!filter.contains(event.target)) filter.open = false;
    }
  });
}
