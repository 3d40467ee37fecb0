# Draw again, in this folder:  gnuplot exit_histogram_april.gp
reset
data = './exit_histogram_april.dat'
set encoding utf8
set datafile missing 'NaN'
set border 3 linecolor '#444444' linewidth 0.8
set tics nomirror out scale 0.6 textcolor '#222222'
set grid xtics ytics linetype 1 linewidth 0.5 linecolor '#E3E3E3'

set terminal pngcairo noenhanced font 'DejaVu Sans,10' size 1600,1590 fontscale 2 linewidth 2 pointscale 2 background '#FFFFFF'
set output './exit_histogram_april.png'

unset key
set boxwidth 0.85
set style fill solid 0.85 noborder
set multiplot
set label 1 'Exit steps of tokens' at screen 0.0175,0.9748 left front font 'DejaVu Sans Bold,11' textcolor '#111111'
set label 2 'pocket-april · f32 · state like-init · seed 0 · window 256 · stride 256' at screen 0.0175,0.9509 left front font ',8.5' textcolor '#555555'
set label 3 '81 915 tokens. Grey: never fired, ran to the limit. Replayed on a teacher-forced recording with full-depth caches.' at screen 0.0175,0.0189 left front font ',8.5' textcolor '#555555'

set lmargin at screen 0.0825
set rmargin at screen 0.3608
set tmargin at screen 0.9069
set bmargin at screen 0.7608
set label 80 'kl<0.0005' at graph 0.5,graph 1 center offset 0,0.8 front font ',9' textcolor '#222222'
set yrange [0:103.09646829030092]
set ytics ('0' 0, '20' 20, '40' 40, '60' 60, '80' 80, '100' 100)
set label 81 'tokens, %' at screen 0.0250,graph 0.5 center rotate front
set xrange [0.3:20.9]
set xtics ('' 1, '' 2, '' 4, '' 6, '' 8, '' 10, '' 12, '' 14, '' 16, '' 20)
set xlabel '' offset 0,0.4
set label 82 'mean 6.54 steps' at graph 0.97,graph 0.9 right front font ',8.5' textcolor '#555555'
plot data index 0 using 1:($3 == 0 ? $2 : 1/0) with boxes linecolor rgb '#0072B2', '' index 0 using 1:($3 == 1 ? $2 : 1/0) with boxes linecolor rgb '#9A9A9A'
unset label

set lmargin at screen 0.3808
set rmargin at screen 0.6592
set tmargin at screen 0.9069
set bmargin at screen 0.7608
set label 80 'latent-diff<0.03' at graph 0.5,graph 1 center offset 0,0.8 front font ',9' textcolor '#222222'
set yrange [0:103.09646829030092]
set ytics ('' 0, '' 20, '' 40, '' 60, '' 80, '' 100)
set xrange [0.3:20.9]
set xtics ('' 1, '' 2, '' 4, '' 6, '' 8, '' 10, '' 12, '' 14, '' 16, '' 20)
set xlabel '' offset 0,0.4
set label 82 'mean 6.12 steps' at graph 0.97,graph 0.9 right front font ',8.5' textcolor '#555555'
plot data index 1 using 1:($3 == 0 ? $2 : 1/0) with boxes linecolor rgb '#D55E00', '' index 1 using 1:($3 == 1 ? $2 : 1/0) with boxes linecolor rgb '#9A9A9A'
unset label

set lmargin at screen 0.6792
set rmargin at screen 0.9575
set tmargin at screen 0.9069
set bmargin at screen 0.7608
set label 80 'entropy-diff<0.001' at graph 0.5,graph 1 center offset 0,0.8 front font ',9' textcolor '#222222'
set label 83 'prose.txt' at graph 1.04,graph 0.5 center rotate by -90 front font ',9'
set yrange [0:103.09646829030092]
set ytics ('' 0, '' 20, '' 40, '' 60, '' 80, '' 100)
set xrange [0.3:20.9]
set xtics ('' 1, '' 2, '' 4, '' 6, '' 8, '' 10, '' 12, '' 14, '' 16, '' 20)
set xlabel '' offset 0,0.4
set label 82 'mean 11.2 steps' at graph 0.97,graph 0.9 right front font ',8.5' textcolor '#555555'
plot data index 2 using 1:($3 == 0 ? $2 : 1/0) with boxes linecolor rgb '#009E73', '' index 2 using 1:($3 == 1 ? $2 : 1/0) with boxes linecolor rgb '#9A9A9A'
unset label

set lmargin at screen 0.0825
set rmargin at screen 0.3608
set tmargin at screen 0.7406
set bmargin at screen 0.5945
set yrange [0:103.09646829030092]
set ytics ('0' 0, '20' 20, '40' 40, '60' 60, '80' 80, '100' 100)
set label 81 'tokens, %' at screen 0.0250,graph 0.5 center rotate front
set xrange [0.3:20.9]
set xtics ('' 1, '' 2, '' 4, '' 6, '' 8, '' 10, '' 12, '' 14, '' 16, '' 20)
set xlabel '' offset 0,0.4
set label 82 'mean 6.89 steps' at graph 0.97,graph 0.9 right front font ',8.5' textcolor '#555555'
plot data index 3 using 1:($3 == 0 ? $2 : 1/0) with boxes linecolor rgb '#0072B2', '' index 3 using 1:($3 == 1 ? $2 : 1/0) with boxes linecolor rgb '#9A9A9A'
unset label

set lmargin at screen 0.3808
set rmargin at screen 0.6592
set tmargin at screen 0.7406
set bmargin at screen 0.5945
set yrange [0:103.09646829030092]
set ytics ('' 0, '' 20, '' 40, '' 60, '' 80, '' 100)
set xrange [0.3:20.9]
set xtics ('' 1, '' 2, '' 4, '' 6, '' 8, '' 10, '' 12, '' 14, '' 16, '' 20)
set xlabel '' offset 0,0.4
set label 82 'mean 6.14 steps' at graph 0.97,graph 0.9 right front font ',8.5' textcolor '#555555'
plot data index 4 using 1:($3 == 0 ? $2 : 1/0) with boxes linecolor rgb '#D55E00', '' index 4 using 1:($3 == 1 ? $2 : 1/0) with boxes linecolor rgb '#9A9A9A'
unset label

set lmargin at screen 0.6792
set rmargin at screen 0.9575
set tmargin at screen 0.7406
set bmargin at screen 0.5945
set label 83 'code.txt' at graph 1.04,graph 0.5 center rotate by -90 front font ',9'
set yrange [0:103.09646829030092]
set ytics ('' 0, '' 20, '' 40, '' 60, '' 80, '' 100)
set xrange [0.3:20.9]
set xtics ('' 1, '' 2, '' 4, '' 6, '' 8, '' 10, '' 12, '' 14, '' 16, '' 20)
set xlabel '' offset 0,0.4
set label 82 'mean 11.6 steps' at graph 0.97,graph 0.9 right front font ',8.5' textcolor '#555555'
plot data index 5 using 1:($3 == 0 ? $2 : 1/0) with boxes linecolor rgb '#009E73', '' index 5 using 1:($3 == 1 ? $2 : 1/0) with boxes linecolor rgb '#9A9A9A'
unset label

set lmargin at screen 0.0825
set rmargin at screen 0.3608
set tmargin at screen 0.5743
set bmargin at screen 0.4282
set yrange [0:103.09646829030092]
set ytics ('0' 0, '20' 20, '40' 40, '60' 60, '80' 80, '100' 100)
set label 81 'tokens, %' at screen 0.0250,graph 0.5 center rotate front
set xrange [0.3:20.9]
set xtics ('' 1, '' 2, '' 4, '' 6, '' 8, '' 10, '' 12, '' 14, '' 16, '' 20)
set xlabel '' offset 0,0.4
set label 82 'mean 5.26 steps' at graph 0.97,graph 0.9 right front font ',8.5' textcolor '#555555'
plot data index 6 using 1:($3 == 0 ? $2 : 1/0) with boxes linecolor rgb '#0072B2', '' index 6 using 1:($3 == 1 ? $2 : 1/0) with boxes linecolor rgb '#9A9A9A'
unset label

set lmargin at screen 0.3808
set rmargin at screen 0.6592
set tmargin at screen 0.5743
set bmargin at screen 0.4282
set yrange [0:103.09646829030092]
set ytics ('' 0, '' 20, '' 40, '' 60, '' 80, '' 100)
set xrange [0.3:20.9]
set xtics ('' 1, '' 2, '' 4, '' 6, '' 8, '' 10, '' 12, '' 14, '' 16, '' 20)
set xlabel '' offset 0,0.4
set label 82 'mean 6.15 steps' at graph 0.97,graph 0.9 right front font ',8.5' textcolor '#555555'
plot data index 7 using 1:($3 == 0 ? $2 : 1/0) with boxes linecolor rgb '#D55E00', '' index 7 using 1:($3 == 1 ? $2 : 1/0) with boxes linecolor rgb '#9A9A9A'
unset label

set lmargin at screen 0.6792
set rmargin at screen 0.9575
set tmargin at screen 0.5743
set bmargin at screen 0.4282
set label 83 'arithmetic.txt' at graph 1.04,graph 0.5 center rotate by -90 front font ',9'
set yrange [0:103.09646829030092]
set ytics ('' 0, '' 20, '' 40, '' 60, '' 80, '' 100)
set xrange [0.3:20.9]
set xtics ('' 1, '' 2, '' 4, '' 6, '' 8, '' 10, '' 12, '' 14, '' 16, '' 20)
set xlabel '' offset 0,0.4
set label 82 'mean 9.53 steps' at graph 0.97,graph 0.9 right front font ',8.5' textcolor '#555555'
plot data index 8 using 1:($3 == 0 ? $2 : 1/0) with boxes linecolor rgb '#009E73', '' index 8 using 1:($3 == 1 ? $2 : 1/0) with boxes linecolor rgb '#9A9A9A'
unset label

set lmargin at screen 0.0825
set rmargin at screen 0.3608
set tmargin at screen 0.4081
set bmargin at screen 0.2619
set yrange [0:103.09646829030092]
set ytics ('0' 0, '20' 20, '40' 40, '60' 60, '80' 80, '100' 100)
set label 81 'tokens, %' at screen 0.0250,graph 0.5 center rotate front
set xrange [0.3:20.9]
set xtics ('' 1, '' 2, '' 4, '' 6, '' 8, '' 10, '' 12, '' 14, '' 16, '' 20)
set xlabel '' offset 0,0.4
set label 82 'mean 6.65 steps' at graph 0.97,graph 0.9 right front font ',8.5' textcolor '#555555'
plot data index 9 using 1:($3 == 0 ? $2 : 1/0) with boxes linecolor rgb '#0072B2', '' index 9 using 1:($3 == 1 ? $2 : 1/0) with boxes linecolor rgb '#9A9A9A'
unset label

set lmargin at screen 0.3808
set rmargin at screen 0.6592
set tmargin at screen 0.4081
set bmargin at screen 0.2619
set yrange [0:103.09646829030092]
set ytics ('' 0, '' 20, '' 40, '' 60, '' 80, '' 100)
set xrange [0.3:20.9]
set xtics ('' 1, '' 2, '' 4, '' 6, '' 8, '' 10, '' 12, '' 14, '' 16, '' 20)
set xlabel '' offset 0,0.4
set label 82 'mean 6.13 steps' at graph 0.97,graph 0.9 right front font ',8.5' textcolor '#555555'
plot data index 10 using 1:($3 == 0 ? $2 : 1/0) with boxes linecolor rgb '#D55E00', '' index 10 using 1:($3 == 1 ? $2 : 1/0) with boxes linecolor rgb '#9A9A9A'
unset label

set lmargin at screen 0.6792
set rmargin at screen 0.9575
set tmargin at screen 0.4081
set bmargin at screen 0.2619
set label 83 'theorems.txt' at graph 1.04,graph 0.5 center rotate by -90 front font ',9'
set yrange [0:103.09646829030092]
set ytics ('' 0, '' 20, '' 40, '' 60, '' 80, '' 100)
set xrange [0.3:20.9]
set xtics ('' 1, '' 2, '' 4, '' 6, '' 8, '' 10, '' 12, '' 14, '' 16, '' 20)
set xlabel '' offset 0,0.4
set label 82 'mean 11.3 steps' at graph 0.97,graph 0.9 right front font ',8.5' textcolor '#555555'
plot data index 11 using 1:($3 == 0 ? $2 : 1/0) with boxes linecolor rgb '#009E73', '' index 11 using 1:($3 == 1 ? $2 : 1/0) with boxes linecolor rgb '#9A9A9A'
unset label

set lmargin at screen 0.0825
set rmargin at screen 0.3608
set tmargin at screen 0.2418
set bmargin at screen 0.0956
set yrange [0:103.09646829030092]
set ytics ('0' 0, '20' 20, '40' 40, '60' 60, '80' 80, '100' 100)
set label 81 'tokens, %' at screen 0.0250,graph 0.5 center rotate front
set xrange [0.3:20.9]
set xtics ('1' 1, '2' 2, '4' 4, '6' 6, '8' 8, '10' 10, '12' 12, '14' 14, '16' 16, 'none' 20)
set xlabel 'exit step' offset 0,0.4
set label 82 'mean 3.87 steps' at graph 0.97,graph 0.9 right front font ',8.5' textcolor '#555555'
plot data index 12 using 1:($3 == 0 ? $2 : 1/0) with boxes linecolor rgb '#0072B2', '' index 12 using 1:($3 == 1 ? $2 : 1/0) with boxes linecolor rgb '#9A9A9A'
unset label

set lmargin at screen 0.3808
set rmargin at screen 0.6592
set tmargin at screen 0.2418
set bmargin at screen 0.0956
set yrange [0:103.09646829030092]
set ytics ('' 0, '' 20, '' 40, '' 60, '' 80, '' 100)
set xrange [0.3:20.9]
set xtics ('1' 1, '2' 2, '4' 4, '6' 6, '8' 8, '10' 10, '12' 12, '14' 14, '16' 16, 'none' 20)
set xlabel 'exit step' offset 0,0.4
set label 82 'mean 6.31 steps' at graph 0.97,graph 0.9 right front font ',8.5' textcolor '#555555'
plot data index 13 using 1:($3 == 0 ? $2 : 1/0) with boxes linecolor rgb '#D55E00', '' index 13 using 1:($3 == 1 ? $2 : 1/0) with boxes linecolor rgb '#9A9A9A'
unset label

set lmargin at screen 0.6792
set rmargin at screen 0.9575
set tmargin at screen 0.2418
set bmargin at screen 0.0956
set label 83 'tasks.txt' at graph 1.04,graph 0.5 center rotate by -90 front font ',9'
set yrange [0:103.09646829030092]
set ytics ('' 0, '' 20, '' 40, '' 60, '' 80, '' 100)
set xrange [0.3:20.9]
set xtics ('1' 1, '2' 2, '4' 4, '6' 6, '8' 8, '10' 10, '12' 12, '14' 14, '16' 16, 'none' 20)
set xlabel 'exit step' offset 0,0.4
set label 82 'mean 7.17 steps' at graph 0.97,graph 0.9 right front font ',8.5' textcolor '#555555'
plot data index 14 using 1:($3 == 0 ? $2 : 1/0) with boxes linecolor rgb '#009E73', '' index 14 using 1:($3 == 1 ? $2 : 1/0) with boxes linecolor rgb '#9A9A9A'
unset label
unset multiplot

unset output
