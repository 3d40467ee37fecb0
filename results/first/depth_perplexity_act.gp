# Draw again, in this folder:  gnuplot depth_perplexity_act.gp
reset
data = './depth_perplexity_act.dat'
set encoding utf8
set datafile missing 'NaN'
set border 3 linecolor '#444444' linewidth 0.8
set tics nomirror out scale 0.6 textcolor '#222222'
set grid xtics ytics linetype 1 linewidth 0.5 linecolor '#E3E3E3'

set terminal svg noenhanced font 'DejaVu Sans,10' size 758,450 fontscale 1.333 background '#FFFFFF'
set output './depth_perplexity_act.svg'

set label 1 'Perplexity by depth' at screen 0.0185,0.9556 left front font 'DejaVu Sans Bold,11' textcolor '#111111'
set label 2 'pocket-act · f32 · seed 0 · window 256 · stride 256' at screen 0.0185,0.9133 left front font ',8.5' textcolor '#555555'
set label 3 '16 383 tokens a point. Shaded or barred: 95 % interval (percentile bootstrap over chunks). What stops by itself' at screen 0.0185,0.0644 left front font ',8.5' textcolor '#555555'
set label 4 'stands at its mean depth.' at screen 0.0185,0.0333 left front font ',8.5' textcolor '#555555'
set tmargin at screen 0.8800
set bmargin at screen 0.2000
set lmargin at screen 0.1029
set rmargin at screen 0.7517
set key at screen 0.7728,screen 0.6533 left top vertical Left reverse samplen 2.9 spacing 1.2 noautotitle font ',9' textcolor '#222222' title 'text' left
# Depths are drawn at their log2; depth 0, which has none, at -1.
place(d) = d > 0 ? log(d) / log(2) : -1
on_scale(d) = d > 0 ? place(d) : NaN
off_scale(d) = d > 0 ? NaN : place(d)
set xrange [-0.10339850002884625:2.6883610007500023]
set xtics ('1' 0, '2' 1, '4' 2)
set logscale y
set yrange [2.055850650483629:483.106963189235]
set ytics ('3' 3, '10' 10, '30' 30, '100' 100, '300' 300)
set xlabel 'depth (recurrences, log₂ scale)' offset 0,0.3
set label 81 'perplexity (log scale)' at screen 0.0264,graph 0.5 center rotate front

plot \
  data index 0 using (on_scale($1)):3:4 with filledcurves fillcolor rgb '#0072B2' fillstyle transparent solid 0.14 noborder notitle, \
  data index 1 using (on_scale($1)):3:4 with filledcurves fillcolor rgb '#D55E00' fillstyle transparent solid 0.14 noborder notitle, \
  data index 2 using (on_scale($1)):3:4 with filledcurves fillcolor rgb '#009E73' fillstyle transparent solid 0.14 noborder notitle, \
  data index 3 using (on_scale($1)):3:4 with filledcurves fillcolor rgb '#CC79A7' fillstyle transparent solid 0.14 noborder notitle, \
  data index 4 using (on_scale($1)):3:4 with filledcurves fillcolor rgb '#E69F00' fillstyle transparent solid 0.14 noborder notitle, \
  data index 3 using (on_scale($1)):2 with linespoints linecolor rgb '#CC79A7' linewidth 1.6 dashtype 1 pointtype 13 pointsize 0.6 title 'theorems.txt', \
  data index 1 using (on_scale($1)):2 with linespoints linecolor rgb '#D55E00' linewidth 1.6 dashtype 1 pointtype 5 pointsize 0.6 title 'code.txt', \
  data index 0 using (on_scale($1)):2 with linespoints linecolor rgb '#0072B2' linewidth 1.6 dashtype 1 pointtype 7 pointsize 0.6 title 'prose.txt', \
  data index 2 using (on_scale($1)):2 with linespoints linecolor rgb '#009E73' linewidth 1.6 dashtype 1 pointtype 9 pointsize 0.6 title 'arithmetic.txt', \
  data index 4 using (on_scale($1)):2 with linespoints linecolor rgb '#E69F00' linewidth 1.6 dashtype 1 pointtype 11 pointsize 0.6 title 'tasks.txt', \
  data index 5 using (place($1)):3:(0):($4-$3) with vectors nohead linecolor rgb '#0072B2' linewidth 1.4 notitle, \
  data index 5 using (place($1)):2 with points linecolor rgb '#0072B2' linewidth 1.6 pointtype 7 pointsize 1.0 notitle, \
  data index 6 using (place($1)):3:(0):($4-$3) with vectors nohead linecolor rgb '#D55E00' linewidth 1.4 notitle, \
  data index 6 using (place($1)):2 with points linecolor rgb '#D55E00' linewidth 1.6 pointtype 5 pointsize 1.0 notitle, \
  data index 7 using (place($1)):3:(0):($4-$3) with vectors nohead linecolor rgb '#009E73' linewidth 1.4 notitle, \
  data index 7 using (place($1)):2 with points linecolor rgb '#009E73' linewidth 1.6 pointtype 9 pointsize 1.0 notitle, \
  data index 8 using (place($1)):3:(0):($4-$3) with vectors nohead linecolor rgb '#CC79A7' linewidth 1.4 notitle, \
  data index 8 using (place($1)):2 with points linecolor rgb '#CC79A7' linewidth 1.6 pointtype 13 pointsize 1.0 notitle, \
  data index 9 using (place($1)):3:(0):($4-$3) with vectors nohead linecolor rgb '#E69F00' linewidth 1.4 notitle, \
  data index 9 using (place($1)):2 with points linecolor rgb '#E69F00' linewidth 1.6 pointtype 11 pointsize 1.0 notitle

unset output
