# needs: sqlite3
sqlite3 data.db "create table t(a integer primary key, b text); begin"
i=1; while [ $i -le 40 ]; do echo "insert into t(b) values('row $i');"; i=$((i + 1)); done | sqlite3 data.db
sqlite3 data.db "select count(*), max(b) from t; delete from t where a % 3 = 0; vacuum; select sum(a) from t"
(sqlite3 data.db "begin exclusive; insert into t(b) values('held'); select 'in'; commit;") & wait
sqlite3 data.db "pragma integrity_check; select b from t where a > 40"
