"""The style of the HTML page: light and dark, wide and narrow, screen and paper. No I/O."""

STYLE = """
:root {
  color-scheme: light dark;
  --paper: #ffffff; --ink: #1c2128; --faint: #57606a; --line: #d0d7de; --band: #f6f8fa;
  --series0: #0a5fb4; --series1: #b04a00; --series2: #6a3fb5;
}
@media (prefers-color-scheme: dark) {
  :root {
    --paper: #12161c; --ink: #e6edf3; --faint: #a3adb8; --line: #3a424d; --band: #1b2129;
    --series0: #6cb6ff; --series1: #ffa657; --series2: #c8a6ff;
  }
}
* { box-sizing: border-box; }
body { margin: 0; background: var(--paper); color: var(--ink); font: 16px/1.5 system-ui, sans-serif; }
main { max-width: 74rem; margin: 0 auto; padding: 1.5rem 1rem 4rem; overflow-wrap: anywhere; }
h1 { font-size: 1.6rem; line-height: 1.25; margin: 0 0 .5rem; }
h2 { font-size: 1.2rem; margin: 2.2rem 0 .2rem; }
h2 + p, .summary, figcaption { color: var(--faint); }
h2 + p { margin: 0 0 .6rem; }
.verdict { max-width: 46rem; border-left: 4px solid var(--series0); padding-left: 1rem; font-size: 1.05rem; }
.note { border-left: 4px solid var(--series1); padding-left: 1rem; }
.legend { display: flex; flex-wrap: wrap; gap: .3rem 1.5rem; list-style: none; margin: 1.5rem 0 .5rem; padding: 0; }
.legend li::before { content: ""; display: inline-block; width: .9em; height: .9em; margin-right: .5em; border-radius: 2px; }
.key0::before { background: var(--series0); } .key1::before { background: var(--series1); }
.key2::before { background: var(--series2); }
.plots { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 22rem), 1fr)); gap: 1rem 2rem; }
figure { margin: 0 0 1rem; max-width: 34rem; }
figcaption { margin-bottom: .4rem; }
svg { display: block; width: 100%; height: auto; font: 12px system-ui, sans-serif; }
svg text { fill: var(--ink); }
.series0 { fill: var(--series0); } .series1 { fill: var(--series1); } .series2 { fill: var(--series2); }
.line { fill: none; stroke-width: 2; }
.line.series0 { stroke: var(--series0); } .line.series1 { stroke: var(--series1); stroke-dasharray: 6 3; }
.line.series2 { stroke: var(--series2); stroke-dasharray: 2 3; }
.grid { stroke: var(--line); fill: none; }
.whisker { stroke: var(--ink); fill: none; }
table { width: 100%; border-collapse: collapse; table-layout: fixed; font-variant-numeric: tabular-nums; }
th, td { text-align: left; vertical-align: top; padding: .35rem .6rem; border-bottom: 1px solid var(--line); }
thead td { width: 24%; }
tbody th { font-weight: 500; }
tbody tr:nth-child(odd) { background: var(--band); }
.unknown { color: var(--faint); font-style: italic; }
.of { display: none; }
@media (max-width: 40rem) {
  table, tbody, tr, tbody th, tbody td { display: block; width: 100%; }
  thead { position: absolute; width: 1px; height: 1px; overflow: hidden; clip-path: inset(50%); }
  tbody tr { padding: .5rem .6rem; border-bottom: 1px solid var(--line); }
  th, td { border: 0; padding: .1rem 0; }
  tbody th { font-weight: 600; }
  td { display: grid !important; grid-template-columns: 6.5rem 1fr; gap: .5rem; }
  .of { display: inline; color: var(--faint); font-style: normal; }
}
@media print {
  :root { --paper: #fff; --ink: #000; --faint: #444; --line: #999; --band: #fff;
    --series0: #0a5fb4; --series1: #b04a00; --series2: #6a3fb5; }
  body { font-size: 10pt; } main { max-width: none; padding: 0; }
  figure, tr { break-inside: avoid; } h2 { break-after: avoid; }
}
"""
