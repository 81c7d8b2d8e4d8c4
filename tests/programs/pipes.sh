# needs: sh seq tr head sort xargs mkfifo
seq 1 50000 | sort -rn | head -n 3
yes word | head -n 20000 | tr a-z A-Z | sort -u
mkfifo there back
tr 0-9 a-j <there >back & seq 1 5 >there & cat back; wait
seq 1 60 | xargs -P 4 -n 7 sh -c 'echo $# $1' sh | sort -n
(exit 3) | (exit 4); echo "status $?"
