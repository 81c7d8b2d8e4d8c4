# needs: sh sed sort uniq wc
count() { printf '%s\n' "$@" | sort | uniq -c | sed 's/^ *//'; }
set -- pear apple pear fig apple pear
count "$@"
total=0
for i in $(seq 1 400); do total=$((total + i * i % 7)); done
echo "total $total"
cat >poem <<'X'
roses are red
violets are blue
X
while read -r first rest; do echo "$rest: $first"; done <poem | tee copy | wc -l
trap 'echo caught; exit 9' USR1
(sleep 0.2; kill -USR1 $$) &
i=0; while :; do i=$((i + 1)); done
