"""How the page of `seqdigits.inspection.inspect` looks, in light and in dark, on a wide screen and on a phone."""

from __future__ import annotations

from seqdigits.visualization.charts import COLORS

_SPLITS = "".join(f"--{split}:rgb({r},{g},{b});" for split, (r, g, b) in COLORS.items())

STYLE = (
    ":root{" + _SPLITS + "--ground:#f4f5f7;--card:#fff;--text:#1b1f24;--muted:#5b6470;--line:#e2e5ea;"
    "--good:#12855b;--warn:#b26a00;--bad:#c5303a;--true:#00c846;--shade:0 1px 2px rgb(20 30 50/.06),0 4px 16px rgb(20 30 50/.05)}"
    "@media (prefers-color-scheme:dark){:root{--ground:#0f1216;--card:#181c22;--text:#e9ebee;--muted:#98a2ae;"
    "--line:#2a3038;--good:#3ccf96;--warn:#f0ae4a;--bad:#ff7a80;--shade:none}}"
    """
*{box-sizing:border-box}
body{margin:0;background:var(--ground);color:var(--text);font:16px/1.5 system-ui,-apple-system,"Segoe UI",Roboto,sans-serif}
main{max-width:1120px;margin:0 auto;padding:2.5rem 1.25rem 4rem}
h1{font-size:clamp(1.9rem,5vw,2.8rem);line-height:1.1;margin:.1em 0 .3em;letter-spacing:-.02em;overflow-wrap:anywhere}
h2{font-size:1.3rem;margin:0 0 .3rem;letter-spacing:-.01em}
h3{font-size:1rem;margin:1.8rem 0 .6rem}
p{margin:.2rem 0 .7rem}
.eyebrow{margin:0;text-transform:uppercase;letter-spacing:.12em;font-size:.75rem;font-weight:600;color:var(--muted)}
.lead{font-size:1.15rem}
.muted{color:var(--muted);font-size:.9rem}
.license{border-left:4px solid var(--warn);padding:.1rem 0 .1rem .8rem;font-size:.9rem}
section,.tile{background:var(--card);border:1px solid var(--line);border-radius:14px;box-shadow:var(--shade)}
section{padding:1.4rem 1.5rem;margin-top:1.25rem}
section.bad{border-color:var(--bad)}
.tiles{display:grid;grid-template-columns:repeat(auto-fit,minmax(170px,1fr));gap:1rem;margin-top:1.4rem}
.tile{padding:1rem 1.25rem;border-top:4px solid var(--c)}
.tile h2{font-size:.95rem;color:var(--c)}
.tile p{margin:0}
.big{font-size:1.9rem;font-weight:650;line-height:1.2;font-variant-numeric:tabular-nums}
.train{--c:var(--train)}.validation{--c:var(--validation)}.test{--c:var(--test)}
.dot::before{content:"";display:inline-block;width:.7em;height:.7em;border-radius:50%;background:var(--c);margin-right:.45em}
.remarks{list-style:none;margin:.6rem 0 0;padding:0}
.remarks li{padding:.28rem 0 .28rem 1.9rem;position:relative}
.remarks li::before{position:absolute;left:0;width:1.25rem;height:1.25rem;top:.42rem;border-radius:50%;font-size:.78rem;
font-weight:700;line-height:1.25rem;text-align:center;color:var(--card);background:var(--muted);content:"i"}
.remarks .good::before{content:"✓";background:var(--good)}
.remarks .warn::before{content:"!";background:var(--warn)}
.remarks .bad::before{content:"×";background:var(--bad)}
figure{margin:0}
.gallery{display:grid;grid-template-columns:repeat(auto-fill,minmax(min(var(--tile),44%),1fr));gap:14px 12px;align-items:start}
.frame{position:relative;border-radius:5px;background:rgb(128 128 128/.12);outline:1px solid rgb(128 128 128/.22);outline-offset:-1px}
.frame img{display:block;width:100%;height:100%;border-radius:inherit}
.frame svg{position:absolute;inset:0;width:100%;height:100%;overflow:visible}
.blocky img,.map img{image-rendering:pixelated}
rect{fill:none;stroke:var(--true);stroke-width:1.5;vector-effect:non-scaling-stroke}
.example figcaption{font-size:.82rem;line-height:1.3;margin-top:4px;font-variant-numeric:tabular-nums;overflow-wrap:anywhere}
.roomy .gallery{gap:24px}
.roomy figcaption{margin-top:14px}
.example figcaption span{color:var(--muted);margin-left:.25em}
.two,.three,.thirds{display:grid;gap:1.4rem 1.8rem;align-items:start}
.two{grid-template-columns:repeat(auto-fit,minmax(min(22rem,100%),1fr))}
.three{grid-template-columns:repeat(auto-fit,minmax(min(18rem,100%),1fr))}
.thirds{grid-template-columns:repeat(3,1fr);gap:1rem}
.two>*,.three>*,.thirds>*{min-width:0}
.map{max-width:26rem}
.map figcaption{margin-top:.35rem;font-size:.9rem}
.map .frame{overflow:hidden}
.chart figcaption{font-weight:600;font-size:.95rem;margin-bottom:1.3rem}
.chart small{font-weight:400;color:var(--muted);margin-left:.6em}
h3+.two{margin-top:1.2rem}
.after{margin-top:1.8rem}
.plot{position:relative;height:170px;border-bottom:1px solid var(--muted)}
.line{position:absolute;left:0;right:0;border-bottom:1px solid var(--line);font-size:.7rem;line-height:1.25;color:var(--muted)}
.bars,.names{display:flex;gap:clamp(2px,1%,8px);padding-left:2.2rem}
.bars{position:absolute;inset:0}
.plot svg{position:absolute;left:2.2rem;width:calc(100% - 2.2rem);height:100%}
.plot path{fill:color-mix(in srgb,var(--c) 14%,transparent);stroke:var(--c);stroke-width:1.6;vector-effect:non-scaling-stroke}
.group{flex:1;height:100%;display:flex;align-items:flex-end;justify-content:center;gap:1px}
.group i{flex:1;max-width:20px;background:var(--c);border-radius:2px 2px 0 0}
.names span{flex:1;text-align:center;font-size:.85rem;padding-top:.2rem}
.ticks{display:flex;justify-content:space-between;font-size:.8rem;color:var(--muted);padding:.2rem 0 0 2.2rem}
.legend{display:flex;flex-wrap:wrap;gap:.2rem 1.1rem;margin:.5rem 0 0;padding-left:2.2rem;font-size:.85rem;color:var(--muted)}
.scroll{overflow-x:auto;margin:.8rem 0}
table{border-collapse:collapse;width:100%;font-size:.9rem;font-variant-numeric:tabular-nums}
th,td{padding:.38rem .6rem;border-bottom:1px solid var(--line);text-align:left;vertical-align:top}
thead th{color:var(--muted);font-weight:600;font-size:.82rem;white-space:nowrap}
tbody th{font-weight:500}
.n{text-align:right;white-space:nowrap}
.zero{color:var(--muted)}
#checks td:not(.zero),#copies td:not(.zero){font-weight:700}
#checks .n{width:6.6rem}
caption{text-align:left;font-size:.9rem;padding-bottom:.3rem}
.heat{font-size:.8rem}
.heat th,.heat td{padding:.3rem .15rem;text-align:center}
.heat td[style]{background:color-mix(in srgb,var(--c) calc(var(--s)*60%),var(--card))}
.heat .n{text-align:right;color:var(--muted)}
.config{width:auto}
.config th,.config td{padding:.15rem .9rem .15rem 0;border:0;font:.82rem/1.5 ui-monospace,SFMono-Regular,Menlo,monospace}
.config tr:not(.changed){color:var(--muted)}
.changed th,.changed td{font-weight:700}
pre{background:var(--ground);border-radius:8px;padding:.8rem 1rem;white-space:pre-wrap;overflow-wrap:anywhere;
font:.85rem/1.5 ui-monospace,SFMono-Regular,Menlo,monospace}
summary{cursor:pointer;font-size:.9rem;color:var(--muted);margin:.6rem 0}
@media (max-width:600px){th,td{padding:.35rem}thead th{white-space:normal}.gallery{grid-template-columns:repeat(auto-fill,minmax(min(calc(var(--tile)*.7),44%),1fr))}
#checks .n{width:auto}main{padding:1.5rem .75rem 3rem}section{padding:1.1rem 1rem}.tiles{grid-template-columns:1fr;gap:.6rem}
.tile{display:grid;grid-template-columns:1fr auto;gap:0 1rem;padding:.7rem 1rem}.tile .big{grid-area:1/2;font-size:1.4rem}
.tile .muted{grid-column:1/-1}}
@media print{section{break-inside:avoid}}
"""
)
