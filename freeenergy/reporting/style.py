"""Style sheet of the report page, light and dark, from 390 pixels up: one constant, nothing fetched."""

from typing import Final

__all__ = ["STYLE"]

STYLE: Final = """
:root{color-scheme:light;--bg:#f6f3ee;--surface:#fffdfa;--sunk:#f0ebe3;--ink:#231f1b;--quiet:#6a6259;
  --rule:#e0d8cc;--s1:#2467a8;--s2:#c65a11;--s3:#0f766e;--s4:#8a3ffc;--mm:#76869a;--qm:#d9822b;
  --core:#9b2c5f;--ribbon:#c9cfd8;--pocket:#8d9aab;--s1-fill:#2467a82e;--s2-fill:#c65a112e;
  --s3-fill:#0f766e2e;--s4-fill:#8a3ffc2e;--qm-fill:#d9822b2e;--core-fill:#9b2c5f2e;--band:#231f1b14;
  --heat0:#f0ebe3;--heat1:#cfe0ea;--heat2:#5f9bc4;--heat3:#174a7c;--heat-ink:#fff;--pass:#14653a;
  --pass-bg:#dcf2e3;--warn:#7a4a00;--warn-bg:#fdeccb;--fail:#a31a16;--fail-bg:#fde1de;
  --shadow:0 1px 2px #0000000d,0 8px 24px #4b3a2412}
:root[data-theme=dark]{color-scheme:dark;--bg:#15171a;--surface:#1e2125;--sunk:#272b30;--ink:#ece8e1;
  --quiet:#a59e94;--rule:#353a41;--s1:#6fb1f0;--s2:#f59a56;--s3:#4cc4b4;--s4:#b79bff;--mm:#8fa0b5;
  --qm:#f0a04b;--core:#e26ca0;--ribbon:#5b6673;--pocket:#8795a8;--s1-fill:#6fb1f038;--s2-fill:#f59a5638;
  --s3-fill:#4cc4b438;--s4-fill:#b79bff38;--qm-fill:#f0a04b38;--core-fill:#e26ca038;--band:#ffffff14;
  --heat0:#272b30;--heat1:#2c4257;--heat2:#3f7fb3;--heat3:#a9d4f7;--heat-ink:#08131d;--pass:#7fdba1;
  --pass-bg:#173825;--warn:#f3c463;--warn-bg:#3d2f0e;--fail:#ff9a93;--fail-bg:#46191a;--shadow:none}
*{box-sizing:border-box}
html{scroll-behavior:smooth;-webkit-text-size-adjust:100%}
body{margin:0;background:var(--bg);color:var(--ink);font:16px/1.55 system-ui,-apple-system,"Segoe UI",
  Roboto,Ubuntu,Cantarell,"Noto Sans",sans-serif;overflow-wrap:anywhere}
main,header.top,footer{max-width:1120px;margin:0 auto;padding:0 20px}
header.top{padding-top:36px;padding-bottom:8px}
.brand{display:flex;align-items:center;gap:10px;color:var(--quiet);font-size:.86rem;letter-spacing:.04em}
.brand svg{flex:none}
.brand button{margin-left:auto;white-space:nowrap}
h1{font-size:clamp(1.6rem,4.2vw,2.35rem);line-height:1.15;margin:18px 0 6px;letter-spacing:-.015em;
  text-wrap:balance}
h2{font-size:1.28rem;letter-spacing:-.01em;margin:0 0 4px}
h3{font-size:1rem;margin:0 0 6px}
.lead{color:var(--quiet);margin:0 0 22px;max-width:70ch}
nav{position:sticky;top:0;z-index:5;background:color-mix(in srgb,var(--bg) 88%,transparent);
  backdrop-filter:blur(8px);border-bottom:1px solid var(--rule)}
nav div{max-width:1120px;margin:0 auto;padding:8px 20px;display:flex;flex-wrap:wrap;gap:2px 18px}
nav a{color:var(--quiet);text-decoration:none;font-size:.88rem;padding:3px 0}
nav a:hover{color:var(--ink);text-decoration:underline}
section{margin:34px 0;scroll-margin-top:60px}
.card{background:var(--surface);border:1px solid var(--rule);border-radius:14px;box-shadow:var(--shadow);
  padding:20px;min-width:0}
.hero{display:grid;grid-template-columns:minmax(0,5fr) minmax(0,6fr);gap:28px;align-items:start;
  padding:26px;border-left:6px solid var(--level)}
.hero.pass{--level:var(--pass)}
.hero.warn{--level:var(--warn)}
.hero.fail{--level:var(--fail)}
.big{font-size:clamp(2.3rem,7vw,3.5rem);font-weight:650;letter-spacing:-.03em;line-height:1.05;
  font-variant-numeric:tabular-nums;margin:6px 0 2px}
.big small{font-size:.42em;font-weight:500;letter-spacing:0;color:var(--quiet);white-space:nowrap}
.grid{display:grid;grid-template-columns:repeat(2,minmax(0,1fr));gap:18px}
.below{margin-top:18px}
tbody th{min-width:9.5em}
table.slim td,table.slim th{padding-top:7px;padding-bottom:7px;padding-right:8px}
table.slim tbody th{min-width:0}
.quiet{color:var(--quiet)}
p{margin:.4em 0}
.note{color:var(--quiet);font-size:.92rem;max-width:78ch;margin:2px 0 14px}
.badge{display:inline-flex;gap:6px;align-items:center;border-radius:999px;padding:2px 11px;
  font-size:.8rem;font-weight:700;letter-spacing:.04em;white-space:nowrap}
.badge.pass{background:var(--pass-bg);color:var(--pass)}
.badge.warn{background:var(--warn-bg);color:var(--warn)}
.badge.fail{background:var(--fail-bg);color:var(--fail)}
ul.reasons{margin:6px 0 0;padding-left:1.1em;font-size:.9rem}
ul.reasons li{margin:3px 0}
details{font-size:.9rem;margin-top:4px}
summary{cursor:pointer;color:var(--quiet)}
table{width:100%;border-collapse:collapse;font-size:.95rem}
caption{text-align:left;color:var(--quiet);font-size:.9rem;padding-bottom:8px}
th{text-align:left;font-weight:600;color:var(--quiet);font-size:.82rem;
  border-bottom:1px solid var(--rule);padding:6px 12px 6px 0;vertical-align:bottom}
td{border-bottom:1px solid var(--rule);padding:10px 12px 10px 0;vertical-align:top}
tr:last-child td,tr:last-child>th{border-bottom:0}
tbody th{color:var(--ink);font-size:.95rem;padding:10px 12px 10px 0;vertical-align:top}
.num{font-variant-numeric:tabular-nums;white-space:nowrap}
td.num,th.num{text-align:right}
tr.total>*{font-weight:650}
tr.total .quiet,tr.total ul,tr.total details{font-weight:400}
.parts{display:block;color:var(--quiet);font-size:.82rem;font-weight:400}
figure{margin:0}
figcaption{color:var(--quiet);font-size:.88rem;margin-top:8px}
.plot{width:100%;min-width:0}
.view{position:relative;border-radius:10px;overflow:hidden;background:var(--sunk)}
.controls{display:flex;flex-wrap:wrap;gap:8px;margin:0 0 12px}
button{font:inherit;font-size:.86rem;color:var(--ink);background:var(--sunk);border:1px solid var(--rule);
  border-radius:999px;padding:5px 13px;min-height:34px;cursor:pointer}
button[aria-pressed=false]{color:var(--quiet);text-decoration:line-through;background:transparent}
button:focus-visible,a:focus-visible,summary:focus-visible{outline:2px solid var(--s1);outline-offset:2px}
button i{display:inline-block;width:10px;height:10px;border-radius:50%;margin-right:7px}
dl{display:grid;grid-template-columns:minmax(9em,auto) minmax(0,1fr);gap:6px 18px;margin:0;font-size:.94rem}
dt{color:var(--quiet)}
dd{margin:0}
.named{margin:0;padding:0;list-style:none}
.named li{padding:9px 0;border-bottom:1px solid var(--rule)}
.named li:last-child{border:0}
.named b{display:block}
footer{color:var(--quiet);font-size:.86rem;padding:10px 20px 48px}
@media(max-width:760px){
  .hero,.grid{grid-template-columns:minmax(0,1fr)}
  .hero{padding:20px;gap:14px}
  main,header.top,footer{padding-left:14px;padding-right:14px}
  nav{position:static}
  nav div{padding:7px 14px;gap:2px 16px}
  nav a{white-space:nowrap;padding:5px 0}
  section{scroll-margin-top:10px}
  .card{padding:15px}
  section{margin:26px 0}
  table.stack thead{display:none}
  table.stack caption{display:block}
  table.stack,table.stack tbody,table.stack tr,table.stack td,table.stack tbody th{display:block;width:100%}
  table.stack tr{border-bottom:1px solid var(--rule);padding:12px 0}
  table.stack tr:last-child{border-bottom:0}
  table.stack td,table.stack tbody th{border:0;padding:2px 0;text-align:left}
  table.stack td[data-name]{display:flex;justify-content:space-between;gap:14px}
  table.stack td[data-name]::before{content:attr(data-name);color:var(--quiet);flex:none;font-weight:400}
  dl{grid-template-columns:minmax(0,1fr);gap:0}
  dd{margin-bottom:8px}
}
@media print{
  nav,button{display:none}
  .card{break-inside:avoid;box-shadow:none}
}
@media(prefers-reduced-motion:reduce){
  html{scroll-behavior:auto}
}
"""
