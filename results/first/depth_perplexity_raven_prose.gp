# Draw again, in this folder:  gnuplot depth_perplexity_raven_prose.gp
reset
data = './depth_perplexity_raven_prose.dat'
set encoding utf8
set datafile missing 'NaN'
set border 3 linecolor '#444444' linewidth 0.8
set tics nomirror out scale 0.6 textcolor '#222222'
set grid xtics ytics linetype 1 linewidth 0.5 linecolor '#E3E3E3'

do for [picture = 1:2] {
if (picture == 1) {
set terminal pngcairo noenhanced font 'DejaVu Sans,10' size 1240,900 fontscale 2 linewidth 2 pointscale 2 background '#FFFFFF'
set output './depth_perplexity_raven_prose.png'
}
if (picture == 2) {
set terminal svg noenhanced font 'DejaVu Sans,10' size 620,450 fontscale 1.333 background '#FFFFFF'
set output './depth_perplexity_raven_prose.svg'
}

set label 1 'Perplexity by depth' at screen 0.0226,0.9556 left front font 'DejaVu Sans Bold,11' textcolor '#111111'
set label 2 'pocket-raven · prose.txt · f32 · state like-init · seed 0 · window 256 · stride 256' at screen 0.0226,0.9133 left front font ',8.5' textcolor '#555555'
set label 3 '16 383 tokens a point. Shaded or barred: 95 % interval (percentile bootstrap over chunks).' at screen 0.0226,0.0333 left front font ',8.5' textcolor '#555555'
set tmargin at screen 0.8800
set bmargin at screen 0.1689
set lmargin at screen 0.1258
set rmargin at screen 0.9581
unset key
# Depths are drawn at their log2; depth 0, which has none, at -1.
place(d) = d > 0 ? log(d) / log(2) : -1
on_scale(d) = d > 0 ? place(d) : NaN
off_scale(d) = d > 0 ? NaN : place(d)
set xrange [-0.16:4.16]
set xtics ('1' 0, '2' 1, '4' 2, '8' 3, '16' 4)
set logscale y
set yrange [107.27067297901057:146.02494270486565]
set ytics ('110' 110, '120' 120, '130' 130, '140' 140)
set xlabel 'depth (recurrences, log₂ scale)' offset 0,0.3
set label 81 'perplexity (log scale)' at screen 0.0323,graph 0.5 center rotate front

plot \
  data index 0 using (on_scale($1)):3:4 with filledcurves fillcolor rgb '#0072B2' fillstyle transparent solid 0.18 noborder notitle, \
  data index 0 using (on_scale($1)):2 with linespoints linecolor rgb '#0072B2' linewidth 1.6 dashtype 1 pointtype 7 pointsize 0.6 notitle
}

unset output
