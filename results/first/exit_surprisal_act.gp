# Draw again, in this folder:  gnuplot exit_surprisal_act.gp
reset
data = './exit_surprisal_act.dat'
set encoding utf8
set datafile missing 'NaN'
set border 3 linecolor '#444444' linewidth 0.8
set tics nomirror out scale 0.6 textcolor '#222222'
set grid xtics ytics linetype 1 linewidth 0.5 linecolor '#E3E3E3'

set terminal pngcairo noenhanced font 'DejaVu Sans,10' size 2068,760 fontscale 2 linewidth 2 pointscale 2 background '#FFFFFF'
set output './exit_surprisal_act.png'

set multiplot
set label 1 'Which tokens take more steps' at screen 0.0135,0.9474 left front font 'DejaVu Sans Bold,11' textcolor '#111111'
set label 2 'pocket-act · prose.txt · f32 · seed 0 · window 256 · stride 256' at screen 0.0135,0.8974 left front font ',8.5' textcolor '#555555'
set label 3 '16 383 tokens in bins of about 1365. Line: mean exit step, those that never left counted at their limit; band: two standard errors. Replayed on a teacher-forced' at screen 0.0135,0.0763 left front font ',8.5' textcolor '#555555'
set label 4 'recording with full-depth caches.' at screen 0.0135,0.0395 left front font ',8.5' textcolor '#555555'

set lmargin at screen 0.0638
set rmargin at screen 0.2931
set tmargin at screen 0.8526
set bmargin at screen 0.2368
unset key
set yrange [2.5402848645160527:6.195832932197204]
set ytics ('3' 3, '4' 4, '5' 5, '6' 6)
set label 81 'mean exit step' at screen 0.0193,graph 0.5 center rotate front
unset logscale x
set xrange [0.204441502830094:10.83700215594202]
set xtics ('2' 2, '4' 4, '6' 6, '8' 8, '10' 10)
set xlabel 'surprisal at full depth, nats' offset 0,0.4
plot \
  data index 0 using 1:($3-$4):($3+$4) with filledcurves fillcolor rgb '#0072B2' fillstyle transparent solid 0.16 noborder notitle, \
  data index 0 using 1:3 with linespoints linecolor rgb '#0072B2' linewidth 1.7 pointtype 7 pointsize 0.5 notitle, \
  data index 0 using 1:($5-$6):($5+$6) with filledcurves fillcolor rgb '#D55E00' fillstyle transparent solid 0.16 noborder notitle, \
  data index 0 using 1:5 with linespoints linecolor rgb '#D55E00' linewidth 1.7 pointtype 5 pointsize 0.5 notitle, \
  data index 0 using 1:($7-$8):($7+$8) with filledcurves fillcolor rgb '#009E73' fillstyle transparent solid 0.16 noborder notitle, \
  data index 0 using 1:7 with linespoints linecolor rgb '#009E73' linewidth 1.7 pointtype 9 pointsize 0.5 notitle, \
  data index 0 using 1:($9-$10):($9+$10) with filledcurves fillcolor rgb '#CC79A7' fillstyle transparent solid 0.16 noborder notitle, \
  data index 0 using 1:9 with linespoints linecolor rgb '#CC79A7' linewidth 1.7 pointtype 13 pointsize 0.5 notitle, \
  data index 0 using 1:($11-$12):($11+$12) with filledcurves fillcolor rgb '#E69F00' fillstyle transparent solid 0.16 noborder notitle, \
  data index 0 using 1:11 with linespoints linecolor rgb '#E69F00' linewidth 1.7 pointtype 11 pointsize 0.5 notitle
unset label

set lmargin at screen 0.3086
set rmargin at screen 0.5379
set tmargin at screen 0.8526
set bmargin at screen 0.2368
unset key
set yrange [2.5402848645160527:6.195832932197204]
set ytics ('' 3, '' 4, '' 5, '' 6)
unset logscale x
set xrange [-3.7795642458100556:262.77230167597764]
set xtics ('0' 0, '50' 50, '100' 100, '150' 150, '200' 200, '250' 250)
set xlabel 'place in the window' offset 0,0.4
plot \
  data index 1 using 1:($3-$4):($3+$4) with filledcurves fillcolor rgb '#0072B2' fillstyle transparent solid 0.16 noborder notitle, \
  data index 1 using 1:3 with linespoints linecolor rgb '#0072B2' linewidth 1.7 pointtype 7 pointsize 0.5 notitle, \
  data index 1 using 1:($5-$6):($5+$6) with filledcurves fillcolor rgb '#D55E00' fillstyle transparent solid 0.16 noborder notitle, \
  data index 1 using 1:5 with linespoints linecolor rgb '#D55E00' linewidth 1.7 pointtype 5 pointsize 0.5 notitle, \
  data index 1 using 1:($7-$8):($7+$8) with filledcurves fillcolor rgb '#009E73' fillstyle transparent solid 0.16 noborder notitle, \
  data index 1 using 1:7 with linespoints linecolor rgb '#009E73' linewidth 1.7 pointtype 9 pointsize 0.5 notitle, \
  data index 1 using 1:($9-$10):($9+$10) with filledcurves fillcolor rgb '#CC79A7' fillstyle transparent solid 0.16 noborder notitle, \
  data index 1 using 1:9 with linespoints linecolor rgb '#CC79A7' linewidth 1.7 pointtype 13 pointsize 0.5 notitle, \
  data index 1 using 1:($11-$12):($11+$12) with filledcurves fillcolor rgb '#E69F00' fillstyle transparent solid 0.16 noborder notitle, \
  data index 1 using 1:11 with linespoints linecolor rgb '#E69F00' linewidth 1.7 pointtype 11 pointsize 0.5 notitle
unset label

set lmargin at screen 0.5534
set rmargin at screen 0.7827
set tmargin at screen 0.8526
set bmargin at screen 0.2368
set key at screen 0.7982,screen 0.6789 left top vertical Left reverse samplen 2.9 spacing 1.2 noautotitle font ',9' textcolor '#222222' title 'rule' left
set yrange [2.5402848645160527:6.195832932197204]
set ytics ('' 3, '' 4, '' 5, '' 6)
set logscale x
set xrange [1.3102223568963667:908.9793623445421]
set xtics ('3' 3, '10' 10, '30' 30, '100' 100, '300' 300)
set xlabel 'times the next token is seen in the text' offset 0,0.4
plot \
  data index 2 using 1:($3-$4):($3+$4) with filledcurves fillcolor rgb '#0072B2' fillstyle transparent solid 0.16 noborder notitle, \
  data index 2 using 1:3 with linespoints linecolor rgb '#0072B2' linewidth 1.7 pointtype 7 pointsize 0.5 title 'kl<0.0005', \
  data index 2 using 1:($5-$6):($5+$6) with filledcurves fillcolor rgb '#D55E00' fillstyle transparent solid 0.16 noborder notitle, \
  data index 2 using 1:5 with linespoints linecolor rgb '#D55E00' linewidth 1.7 pointtype 5 pointsize 0.5 title 'latent-diff<0.03', \
  data index 2 using 1:($7-$8):($7+$8) with filledcurves fillcolor rgb '#009E73' fillstyle transparent solid 0.16 noborder notitle, \
  data index 2 using 1:7 with linespoints linecolor rgb '#009E73' linewidth 1.7 pointtype 9 pointsize 0.5 title 'entropy-diff<0.001', \
  data index 2 using 1:($9-$10):($9+$10) with filledcurves fillcolor rgb '#CC79A7' fillstyle transparent solid 0.16 noborder notitle, \
  data index 2 using 1:9 with linespoints linecolor rgb '#CC79A7' linewidth 1.7 pointtype 13 pointsize 0.5 title 'argmax-stability>=5', \
  data index 2 using 1:($11-$12):($11+$12) with filledcurves fillcolor rgb '#E69F00' fillstyle transparent solid 0.16 noborder notitle, \
  data index 2 using 1:11 with linespoints linecolor rgb '#E69F00' linewidth 1.7 pointtype 11 pointsize 0.5 title 'own halting'
unset label
unset multiplot

unset output
