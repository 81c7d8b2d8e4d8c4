# needs: perl gawk bc dc lua5.4 m4
perl -e 'my %h; $h{$_ % 17}++ for 1..50000; print join(" ", map {"$_=$h{$_}"} sort {$a<=>$b} keys %h), "\n"; print `echo from a child`'
seq 1 3000 | gawk '{s[$1 % 5] += $1} END {for (k = 0; k < 5; k++) print k, s[k]; "date -u -d @0 +%Y" | getline y; print y}'
echo 'scale=60; 4*a(1)' | bc -l
echo '2 200 ^ 97 % p' | dc
lua5.4 -e 'local t = {} for i = 1, 200000 do t[i % 1000] = (t[i % 1000] or 0) + i end print(t[7], #t, string.rep("ab", 3))'
printf 'define(`twice'\'', `$1$1'\'')twice(`x'\'')\n' | m4
