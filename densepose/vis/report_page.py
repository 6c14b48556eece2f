"""The page of a report: style sheet, template and the script that enlarges a picture."""

from __future__ import annotations

STYLE = """
:root {
  color-scheme: light dark;
  --paper: #f6f7f9; --card: #ffffff; --ink: #1b1f27; --soft: #5c6675; --line: #dfe3ea;
  --accent: #2f5fd0; --stripe: #f4f6fa;
  --c0: #2f5fd0; --c1: #d1592a; --c2: #1f8f6b; --c3: #a23fb0; --c4: #b58500; --c5: #c2345f;
  --c6: #2a8ca8; --c7: #6b7280;
}
@media (prefers-color-scheme: dark) {
  :root {
    --paper: #0f1319; --card: #181e27; --ink: #e8ebf0; --soft: #9aa5b5; --line: #2b3442;
    --accent: #8fb0ff; --stripe: #1d242f;
    --c0: #7fa5ff; --c1: #ff9a6b; --c2: #53d0a4; --c3: #dd8ae8; --c4: #e6bd4a; --c5: #ff86a6;
    --c6: #6fd0ea; --c7: #a8b1bf;
  }
}
* { box-sizing: border-box; }
html { scroll-behavior: smooth; -webkit-text-size-adjust: 100%; }
body {
  margin: 0; background: var(--paper); color: var(--ink);
  font: 16px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, "Noto Sans", sans-serif;
}
main, header { max-width: 1120px; margin: 0 auto; padding: 0 20px; }
header { padding-top: 36px; }
h1 { font-size: clamp(1.5rem, 4vw, 2.1rem); line-height: 1.2; margin: 0 0 8px;
  letter-spacing: -.01em; }
h2 { font-size: 1.25rem; margin: 44px 0 14px; letter-spacing: -.005em; }
h3 { font-size: .98rem; margin: 0 0 8px; font-weight: 600; }
.summary { margin: 0; color: var(--soft); max-width: 46em; }
nav { display: flex; flex-wrap: wrap; gap: 4px 18px; margin-top: 16px; font-size: .92rem; }
a { color: var(--accent); text-decoration: none; }
a:hover { text-decoration: underline; }
.card { background: var(--card); border: 1px solid var(--line); border-radius: 12px;
  padding: 16px; }
.tiles { display: grid; gap: 12px; grid-template-columns: repeat(auto-fit, minmax(150px, 1fr));
  margin-top: 26px; }
.tiles .card { padding: 12px 16px; }
.tiles b { display: block; font-size: 1.6rem; line-height: 1.25; font-weight: 650;
  font-variant-numeric: tabular-nums; }
.tiles span { color: var(--soft); font-size: .86rem; }
.curves { display: grid; gap: 16px;
  grid-template-columns: repeat(auto-fit, minmax(min(100%, 420px), 1fr)); }
.chart { display: block; width: 100%; height: auto; overflow: visible; }
.chart .grid { stroke: var(--line); stroke-width: 1; }
.chart .axis { stroke: var(--soft); stroke-width: 1; }
.chart .tick { fill: var(--soft); font-size: 14px; font-variant-numeric: tabular-nums; }
.chart .line { fill: none; stroke: var(--c); stroke-width: 2.4; stroke-linejoin: round;
  stroke-linecap: round; }
.chart .raw { fill: none; stroke: var(--c); stroke-width: 1; opacity: .3; }
.chart .dot { fill: var(--c); }
.legend { display: flex; flex-wrap: wrap; gap: 2px 16px; margin: 8px 0 0; padding: 0;
  list-style: none; font-size: .84rem; }
.legend li::before { content: ""; display: inline-block; width: 14px; height: 4px;
  border-radius: 2px; background: var(--c); margin-right: 6px; vertical-align: middle; }
.legend span { color: var(--soft); font-variant-numeric: tabular-nums; }
.tables { display: flex; flex-wrap: wrap; gap: 16px; }
.table { overflow-x: auto; flex: 1 1 auto; max-width: 100%; }
table { border-collapse: collapse; min-width: min(100%, 360px); font-size: .92rem; }
th, td { padding: 6px 12px; text-align: right; white-space: nowrap;
  border-bottom: 1px solid var(--line); font-variant-numeric: tabular-nums; }
th { color: var(--soft); font-weight: 600; }
th:first-child, td:first-child { text-align: left; position: sticky; left: 0;
  background: var(--card); }
tbody tr:nth-child(even) td { background: var(--stripe); }
tbody tr:last-child td { border-bottom: 0; }
.note { color: var(--soft); font-size: .86rem; margin: 10px 0 0; }
.row { margin-bottom: 16px; }
.pictures { display: grid; gap: 10px;
  grid-template-columns: repeat(auto-fit, minmax(min(46%, 200px), 1fr)); }
figure { margin: 0; }
figure img { display: block; width: 100%; height: auto; border-radius: 8px;
  background: var(--stripe); cursor: zoom-in; }
figcaption { color: var(--soft); font-size: .84rem; margin-top: 4px; }
dl { display: grid; grid-template-columns: max-content 1fr; gap: 6px 22px; margin: 0; }
dt { color: var(--soft); }
dd { margin: 0; overflow-wrap: anywhere; font-family: ui-monospace, SFMono-Regular, Menlo, Consolas,
  "DejaVu Sans Mono", monospace; font-size: .88rem; }
footer { color: var(--soft); font-size: .84rem; text-align: center; padding: 44px 20px 32px; }
dialog { border: 0; padding: 0; background: transparent; max-width: 96vw; max-height: 96vh;
  cursor: zoom-out; }
dialog::backdrop { background: rgba(8, 10, 14, .86); }
dialog img { display: block; width: min(96vw, 1100px); max-height: 92vh; object-fit: contain;
  image-rendering: auto; }
@media (max-width: 560px) {
  dl { grid-template-columns: 1fr; gap: 0; } dd { margin-bottom: 10px; }
  main, header { padding-left: 14px; padding-right: 14px; } .card { padding: 12px; }
  th, td { padding: 6px 8px; }
}
@media print { nav { display: none; } .card { break-inside: avoid; } }
""" + "\n".join(f".series-{k} {{ --c: var(--c{k % 8}); }}" for k in range(24))

SCRIPT = """
const dialog = document.querySelector("dialog");
document.querySelectorAll("figure img").forEach((img) => img.addEventListener("click", () => {
  dialog.firstElementChild.src = img.src;
  dialog.firstElementChild.alt = img.alt;
  dialog.showModal();
}));
dialog.addEventListener("click", () => dialog.close());
"""

TEMPLATE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{{ title }}</title>
<style>{{ style }}</style>
</head>
<body>
<header>
<h1>{{ title }}</h1>
{% if summary %}<p class="summary">{{ summary }}</p>{% endif %}
<nav aria-label="Sections">
{% if curves %}<a href="#curves">Curves</a>{% endif %}
{% if tables %}<a href="#results">Results</a>{% endif %}
{% if image_rows %}<a href="#pictures">Pictures</a>{% endif %}
{% if facts %}<a href="#facts">How it was made</a>{% endif %}
</nav>
</header>
<main>
{% if highlights %}
<section class="tiles" aria-label="Key figures">
{% for label, value in highlights %}<div class="card">
<b>{{ value }}</b><span>{{ label }}</span></div>
{% endfor %}</section>
{% endif %}
{% if curves %}
<h2 id="curves">Curves</h2>
<section class="curves">
{% for curve in curves %}<div class="card">
<h3>{{ curve.title }}</h3>
{{ curve.svg }}
<ul class="legend">
{% for name, last in curve.legend %}<li class="series-{{ loop.index0 }}">{{ name }}
<span>{{ last }}</span></li>
{% endfor %}</ul>
</div>
{% endfor %}</section>
{% endif %}
{% if tables %}
<h2 id="results">Results</h2>
<div class="tables">
{% for table in tables %}<section class="card table">
<h3>{{ table.title }}</h3>
<table>
<thead><tr>{% for name in table.header %}<th scope="col">{{ name }}</th>{% endfor %}</tr></thead>
<tbody>
{% for row in table.rows %}<tr>{% for cell in row %}<td>{{ cell }}</td>{% endfor %}</tr>
{% endfor %}</tbody>
</table>
{% if table.note %}<p class="note">{{ table.note }}</p>{% endif %}
</section>
{% endfor %}</div>
{% endif %}
{% if image_rows %}
<h2 id="pictures">Pictures</h2>
{% for row in image_rows %}<section class="card row">
{% if row.caption %}<h3>{{ row.caption }}</h3>{% endif %}
<div class="pictures">
{% for picture in row.pictures %}<figure><img loading="lazy" src="{{ picture.data }}"
 width="{{ picture.width }}" height="{{ picture.height }}"
 alt="{{ row.caption }}: {{ picture.title }}">
<figcaption>{{ picture.title }}</figcaption></figure>
{% endfor %}</div>
</section>
{% endfor %}
{% endif %}
{% if facts %}
<h2 id="facts">How it was made</h2>
<section class="card"><dl>
{% for label, text in facts %}<dt>{{ label }}</dt><dd>{{ text }}</dd>
{% endfor %}</dl></section>
{% endif %}
</main>
<footer>{{ written }}</footer>
<dialog><img alt="" src="data:,"></dialog>
<script>{{ script }}</script>
</body>
</html>
"""
