"""Script of the report page: draws the stored figures with Plotly in the colours of the theme."""

from typing import Final

__all__ = ["SCRIPT"]

SCRIPT: Final = r"""
(function () {
'use strict';
const root = document.documentElement;
const specs = JSON.parse(document.getElementById('figures').textContent);
const dark = window.matchMedia('(prefers-color-scheme: dark)');
let theme = dark.matches ? 'dark' : 'light';
root.dataset.theme = theme;

const token = (name) => getComputedStyle(root).getPropertyValue('--' + name).trim();
const each = (selector, act) => document.querySelectorAll(selector).forEach(act);

// '@name' in a figure is a colour of the theme.
function paint(v) {
  if (typeof v === 'string') return /^@[a-z][a-z0-9-]*$/.test(v) ? token(v.slice(1)) || v : v;
  if (Array.isArray(v)) return v.map(paint);
  if (!v || typeof v !== 'object' || 'bdata' in v) return v;
  return Object.fromEntries(Object.entries(v).map(([k, one]) => [k, paint(one)]));
}

function dressed(spec, width) {
  const layout = paint(spec.layout), small = width < 480;
  const ink = token('ink'), quiet = token('quiet'), rule = token('rule');
  const font = 'system-ui,-apple-system,"Segoe UI",Roboto,"Noto Sans",sans-serif';
  Object.assign(layout, {
    paper_bgcolor: 'rgba(0,0,0,0)', plot_bgcolor: 'rgba(0,0,0,0)', autosize: true,
    font: {family: font, size: small ? 12 : 13, color: ink},
    hoverlabel: {bgcolor: token('surface'), bordercolor: rule, font: {color: ink, size: 13}},
  });
  for (const name of ['xaxis', 'yaxis']) {
    if (!layout[name]) continue;
    const title = {font: {size: small ? 12 : 13, color: quiet}, standoff: 8, ...layout[name].title};
    layout[name] = {
      gridcolor: rule, zerolinecolor: quiet, zerolinewidth: 1, linecolor: rule, zeroline: false,
      tickfont: {color: quiet, size: small ? 11 : 12}, ...layout[name], title,
    };
  }
  if (layout.scene) {
    layout.scene.bgcolor = 'rgba(0,0,0,0)';
    if (small) layout.height = Math.min(layout.height, 420);
  } else {
    layout.dragmode = false;  // a finger that scrolls the page must not zoom a figure
    if (small) layout.margin = {...layout.margin, l: 46, r: 8};
  }
  return layout;
}

function draw(id) {
  const el = document.getElementById(id), spec = specs[id];
  const config = {responsive: true, displaylogo: false, displayModeBar: false, scrollZoom: false};
  try {
    Plotly.react(el, paint(spec.data), dressed(spec, el.clientWidth), config);
  } catch (error) {
    el.textContent = 'This figure could not be drawn here: ' + error.message;
  }
}

function layers() {
  const el = document.getElementById('regions');
  if (!el || !el.data) return;
  each('[data-layer]', (button) => {
    const on = button.getAttribute('aria-pressed') === 'true';
    const which = el.data.map((t, i) => (t.meta === button.dataset.layer ? i : -1)).filter((i) => i >= 0);
    if (which.length) Plotly.restyle(el, {visible: on}, which);
  });
}

function all() { Object.keys(specs).forEach(draw); layers(); }
function turn(to) { theme = to; root.dataset.theme = to; all(); }

each('[data-layer]', (button) => button.addEventListener('click', () => {
  button.setAttribute('aria-pressed', String(button.getAttribute('aria-pressed') !== 'true'));
  layers();
}));
each('[data-view]', (button) => button.addEventListener('click', () => {
  const scene = specs.regions.layout.scene, ranges = specs.regions.views[button.dataset.view], update = {};
  for (const name in ranges) {
    update['scene.' + name + '.range'] = ranges[name];
    scene[name].range = ranges[name];
  }
  Plotly.relayout('regions', update);
}));
dark.addEventListener('change', (event) => turn(event.matches ? 'dark' : 'light'));
document.getElementById('theme').addEventListener('click', () => turn(theme === 'dark' ? 'light' : 'dark'));
all();
let wait;
addEventListener('resize', () => { clearTimeout(wait); wait = setTimeout(all, 200); });
})();
"""
