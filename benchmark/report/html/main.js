// Notes, theme, and the first drawing.
function buildNotes() {
  const box = document.getElementById('notes');
  for (const note of data.notes) box.append(el('p', { text: note }));
  if (!data.warnings.length) return;
  const list = el('ul');
  for (const text of data.warnings) list.append(el('li', { text }));
  const count = data.warnings.length;
  box.append(el('details', {}, el('summary', {
    text: `Before you trust the numbers: ${count} ${count === 1 ? 'remark' : 'remarks'}`,
  }), list));
}

function setTheme(theme) {
  document.documentElement.dataset.theme = theme;
  document.getElementById('theme').textContent = theme === 'dark' ? 'Light colours' : 'Dark colours';
}

function buildTheme() {
  const dark = matchMedia('(prefers-color-scheme: dark)');
  setTheme(dark.matches ? 'dark' : 'light');
  let chosen = false;
  dark.addEventListener('change', () => { if (!chosen) setTheme(dark.matches ? 'dark' : 'light'); });
  document.getElementById('theme').addEventListener('click', () => {
    chosen = true;
    setTheme(document.documentElement.dataset.theme === 'dark' ? 'light' : 'dark');
  });
}

document.getElementById('skip').addEventListener('click', () => {
  document.querySelector('#methods .tabulator-tableholder').focus();
});
// Another view's address, pasted over this one.
addEventListener('hashchange', () => location.reload());

buildTheme();
buildNotes();
Promise.all([buildMethods(), buildMatrix(), buildRows()]).then(() => {
  openFromAddress();
  performance.mark('ready');
});
